"""Read many hostile files of every family and write a dated report.

    python -m tests.hostile --count 2000 --seed 1 -o benchmarks/results/DATE-hostile

Every file must be accepted, or refused with one line, within :data:`tests.hostile.MAX_SECONDS`. Otherwise the exit
status is 1, and the report names the file by seed and number, so that it can be made again.
"""

import importlib
import json
import re
import sys
import time
import traceback
import warnings
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tests.hostile import try_case
from wavepaint.machine import describe_machine

FAMILIES = ("manifests", "checkpoints", "archives", "lists", "images")

NUM_REASONS = 12
"""Number of refusals that the report lists for each family, the most frequent first."""


def run_family(name: str, seed: int, count: int) -> dict[str, Any]:
    """Read the files of a family and count the outcomes."""
    family = importlib.import_module(f"tests.hostile.{name}")
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    started = time.monotonic()
    with click.progressbar(family.make_cases(seed, count), length=count, label=name, file=sys.stderr) as cases:
        for number, case in enumerate(cases):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    outcome = try_case(case, family.read)
            except Exception as error:  # any other exception is a failure to report
                place = traceback.extract_tb(error.__traceback__)[-1]
                failures.append(f"{number} {case.name}: {type(error).__name__}: {error} ({place.name})")
                continue
            outcomes[_name_kind(outcome)] += 1
    return {
        "family": name,
        "seed": seed,
        "num_files": sum(outcomes.values()) + len(failures),
        "num_accepted": outcomes.pop("accepted", 0),
        "num_refused": sum(outcomes.values()),
        "seconds": round(time.monotonic() - started, 1),
        "reasons": dict(outcomes.most_common(NUM_REASONS)),
        "failures": failures,
    }


def _name_kind(outcome: str) -> str:
    """Return a message without paths, quoted values and numbers, which differ from file to file."""
    kind = re.sub(r"/\S*/", "", outcome)
    kind = re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", kind)
    return re.sub(r"-?\d[\d.,e+]*", "N", kind)[:160]


def make_page(reports: list[dict[str, Any]], command: str) -> str:
    """Return the report as Markdown."""
    rows = [
        f"| {r['family']} | {r['num_files']} | {r['num_accepted']} | {r['num_refused']} | {len(r['failures'])} | "
        f"{r['seconds']} |"
        for r in reports
    ]
    lines = [
        "# Hostile files",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, `{command}`. Every file is made from the seed, read once, and must be accepted "
        "or refused with one line.",
        "",
        "| family | files | accepted | refused | failed | seconds |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    for r in reports:
        lines += ["", f"## {r['family']}", "", "Most frequent refusals:", ""]
        lines += [f"- {number} x {reason}" for reason, number in r["reasons"].items()]
        if r["failures"]:
            lines += ["", "Failures:", "", *(f"- {failure}" for failure in r["failures"])]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--count", default=2000, show_default=True, type=click.IntRange(min=1), help="Files of each family.")
@click.option("--seed", default=1, show_default=True, type=int, help="Seed of the first file.")
@click.option("--families", default=",".join(FAMILIES), show_default=True, help="Families, separated by commas.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for hostile.md and hostile.json.")
def main(count: int, seed: int, families: str, out: Path | None) -> None:
    """Read COUNT hostile files of each family."""
    reports = [run_family(name, seed, count) for name in families.split(",")]
    command = f"python -m tests.hostile --count {count} --seed {seed} --families {families}"
    page = make_page(reports, command)
    click.echo(page)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "hostile.md").write_text(page)
        content = {"command": command, "machine": describe_machine(), "families": reports}
        (out / "hostile.json").write_text(json.dumps(content, indent=2) + "\n")
    sys.exit(any(report["failures"] for report in reports))


if __name__ == "__main__":
    main()
