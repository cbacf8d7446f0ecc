"""wp doctor: describe this machine, show which engines work, and what the others lack."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click

from wavepaint import __version__
from wavepaint.cli.completion import FOLDER
from wavepaint.cli.grouped_help import GroupedCommand
from wavepaint.contract import Task, default_bundle_folder, read_bundle
from wavepaint.errors import printable
from wavepaint.optional import make_install_command
from wavepaint.runtime.doctor import SIDE, EngineCheck, check_choice, check_engines, describe_system, find_conflicts


def _print_verdict(choice: EngineCheck, task: Task, bundle: Path | None) -> None:
    name = task.command if bundle is None else f"{task.command} --bundle {printable(bundle)}"
    if choice.problem:
        click.echo(f"{name} does not work here: {choice.problem}")
    else:
        click.echo(
            f"{name} works here. It runs {choice.label} in {choice.precision}: {SIDE}x{SIDE} pixels take "
            f"{choice.latency_ms:.0f} ms."
        )


def _print_engines(checks: list[EngineCheck]) -> None:
    """Print a line for each engine and precision, and one for all engines that have the same problem."""
    working = {check.engine for check in checks if not check.problem}
    problems: dict[str, list[str]] = {}
    for check in checks:
        name = f"{check.engine:12} {check.precision:9}"
        if not check.problem:
            click.echo(f"{name} works: {SIDE}x{SIDE} in {check.latency_ms:.1f} ms ({check.label})")
        else:
            problems.setdefault(check.problem, []).append(name if check.engine in working else check.engine)
    for problem, names in problems.items():
        click.echo(f"{', '.join(names):12} {'does' if len(names) == 1 else 'do'} not work: {problem}")


def _print_system(system: dict[str, Any]) -> None:
    memory = f", {system['memory_mb'] / 1024:.1f} GiB of memory" if system["memory_mb"] else ""
    gpus = [f"{gpu['name']} ({gpu['compute_capability']}, {gpu['memory_mb'] / 1024:.0f} GiB)" for gpu in system["gpus"]]
    driver = f"driver for CUDA {system['cuda_driver']}" if system["cuda_driver"] else "no NVIDIA driver"
    rows = [
        ("wavepaint", f"{__version__}, Python {system['python']} ({system['executable']})"),
        ("system", system["platform"]),
        ("processor", f"{system['processor']}, {system['cores']} usable cores{memory}"),
        ("", f"has {', '.join(system['features'])}" if system["features"] else "features unknown"),
        ("GPU", f"{'; '.join(gpus) or 'no NVIDIA GPU'}, {driver}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in system["packages"].items()) or "no engine"),
    ]
    for label, text in rows:
        click.echo(f"{label:10} {text}")


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp doctor", "See which engines work here, and how to get the others:"),
        ("wp doctor bundles/mine", "Try a model of your own in every engine:"),
        ("wp doctor --json > machine.json", "Keep the report, for a bug report:"),
    ],
)
@click.argument("bundle", type=FOLDER, required=False)
@click.option(
    "--threads", type=click.IntRange(min=1), metavar="NUMBER", help="CPU threads. Default: each engine's choice."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(bundle: Path | None, threads: int | None, as_json: bool) -> None:
    """Describe this machine, and run BUNDLE once in every engine.

    BUNDLE is a model folder; by default the one that ships with the package. The exit status is 1 if no engine works.
    """
    loaded = read_bundle(bundle or default_bundle_folder())
    system, conflicts = describe_system(), find_conflicts()
    choice, checks = check_choice(loaded, threads=threads), check_engines(loaded, threads=threads)
    if as_json:
        engines = [dataclasses.asdict(check) for check in checks]
        content = {"system": system, "conflicts": conflicts, "auto": dataclasses.asdict(choice), "engines": engines}
        click.echo(json.dumps(content, indent=2))
    else:
        _print_verdict(choice, loaded.task, bundle)
        for conflict in conflicts:
            click.echo(f"PROBLEM: {conflict}")
        click.echo()
        _print_engines(checks)
        click.echo()
        _print_system(system)
    if not any(check.latency_ms is not None for check in checks):
        click.echo(f"error: no engine works. Install one with: {make_install_command('cpu')}", err=True)
        sys.exit(1)
