"""What do users of other inpainting programs gain? A race from file to file, with the same LaMa weights.

Each program gets an environment of its own, into which pip installs it as its users do: simple-lama-inpainting,
IOPaint, OpenCV, and this checkout. The weights are a TorchScript file as these programs load it: --weights, or a file
of the same architecture with seeded weights. ``wp export --fp16 --io uint8`` makes a bundle of the same file.

Tasks: 512 (photos of 512x512 pixels as a whole), 2mp, 12mp and 48mp with a small, a medium and a large hole, folder,
and cold (512x512, from the start of the command). wavepaint/bench/peer_inputs.py describes photos and holes.

Environments, weights, photos, fills and measured cells stay in --work; a run that was broken off goes on with the same
command. The report, peers.json, peers.md, peers.png and fills.jpg, goes into a new folder.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from wavepaint.atomic import write_file
from wavepaint.bench.peer_habits import ask, make_questions
from wavepaint.bench.peer_inputs import HOLES, SIZES, Pair, list_photos, make_folder, make_large_photo, make_squares
from wavepaint.bench.peer_process import Limits
from wavepaint.bench.peer_race import (
    COLD,
    FOLDER,
    TASKS,
    WHOLE,
    Cell,
    Setup,
    compare_fills,
    race_commands,
    race_open,
)
from wavepaint.bench.peer_report import describe_installations, draw_fills, make_page, write_plot
from wavepaint.bench.peer_targets import judge_targets
from wavepaint.bench.peer_weights import RELEASED, write_big_lama
from wavepaint.bench.peers import (
    REFERENCE,
    Contender,
    Installation,
    install_peer,
    list_contenders,
    list_peers,
    make_environment,
)
from wavepaint.bench.report import describe_run, write_report
from wavepaint.cli.one_line_errors import OneLineErrors
from wavepaint.cli.progress import print_line
from wavepaint.contract import hash_file
from wavepaint.errors import ConfigError, EngineError

SCRIPT = Path(__file__).with_name("peer_program.py")
CHECKOUT = Path(__file__).parents[1]
PEERS = "simple-lama,iopaint,opencv,wavepaint"
KINDS = {WHOLE: "whole", FOLDER: "folder", COLD: "cold"}
"""Kind of a task; every other one is of kind ``photo``."""


def prepare_weights(weights: Path | None, work: Path) -> tuple[Path, Path, str]:
    """Return the TorchScript file, its bundle, and a sentence about the weights.

    Raises:
        EngineError: PyTorch is not installed, or the export failed.
    """
    path = weights or work / f"{RELEASED}.pt"
    if not path.exists():
        print_line("making a TorchScript file with seeded weights ...")
        write_big_lama(path)
    digest = hash_file(path)
    bundle = work / f"bundle-{digest[:12]}"
    if not bundle.exists():
        print_line(f"wp export {path.name} --fp16 --io uint8 ...")
        command = [sys.executable, "-m", "wavepaint", "export", str(path), "-o", str(bundle), "--name", RELEASED]
        with (work / "export.log").open("w") as log:
            flags = ["--fp16", "--io", "uint8", "--engine", "none"]
            if subprocess.run([*command, *flags], stderr=log, stdout=log, check=False).returncode:
                raise EngineError(f"{path} could not be exported; {work / 'export.log'} says why.")
    kind = "Its weights are seeded, not trained." if weights is None else f"SHA-256 {digest}."
    return path, bundle, f"{path.name}: {path.stat().st_size / 1e6:.0f} MB. {kind}"


def list_fakes() -> list[Contender]:
    """Return the contenders of a dry run: one that copies the photo, and one that fails."""
    copy = ("cp", "{image}", "{out}")
    folder = ("cp", "-r", "{image}", "{out}")
    return [
        Contender(name=REFERENCE, peer="", program=("copy",), single=copy, is_whole=True),
        Contender(name="a copy", peer="", program=("copy",), single=copy, many=folder),
        Contender(name="a failure", peer="", program=("copy", "fail=no paint"), single=("false",), many=("false",)),
    ]


class Record:
    """The measured cells, kept in a file after each task.

    Raises:
        ConfigError: The file exists and is not a record.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.cells, self.habits = path, list[Cell](), list[list[str]]()
        if path.exists():
            try:
                content = json.loads(path.read_text())
                self.cells, self.habits = [Cell(**cell) for cell in content["cells"]], content["habits"]
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(f"{path} is not a record of this race ({error!r}): remove it.") from error

    def forget(self, tasks: Sequence[str], contenders: Sequence[Contender]) -> None:
        """Remove the cells of some tasks and contenders, and the habits."""
        names = {one.name for one in contenders}
        self.cells = [cell for cell in self.cells if cell.task not in tasks or cell.contender not in names]
        self.habits = []

    def list_pending(self, task: str, contenders: Sequence[Contender]) -> list[Contender]:
        """Return the contenders that take part in a task and have no cell yet."""
        done = {cell.contender for cell in self.cells if cell.task == task}
        return [one for one in contenders if KINDS.get(task, "photo") in one.tasks and one.name not in done]

    def add(self, cells: Sequence[Cell]) -> None:
        self.cells += cells
        self.save()

    def save(self) -> None:
        with write_file(self.path, overwrite=True) as temporary:
            content = {"cells": [cell.as_dict() for cell in self.cells], "habits": self.habits}
            temporary.write_text(json.dumps(content, indent=2) + "\n")


def run_task(
    task: str, contenders: list[Contender], photos: Sequence[Path], setup: Setup, num_photos: int
) -> list[Cell]:
    """Make the inputs of a task and time the contenders."""
    folder = setup.results.parent / "inputs"
    folder.mkdir(parents=True, exist_ok=True)
    if task == FOLDER:
        images, masks = make_folder(photos, folder / f"folder-{num_photos}", num_photos)
        return race_commands(task, contenders, Pair(images, masks), setup, num_photos=num_photos)
    if task == COLD:
        return race_commands(task, contenders, make_squares(photos, folder)[0], setup)
    if task == WHOLE:
        pairs = make_squares(photos, folder)
        cells = race_open(task, contenders, pairs, setup)
        compare_fills(cells, contenders, pairs, setup)
        return cells
    size, hole = task.split("-")
    return race_open(task, contenders, [make_large_photo(photos, folder, size, hole)], setup)


def find_fills(contenders: Sequence[Contender], pairs: Sequence[Pair], setup: Setup) -> dict[str, list[Path]]:
    """Return the fills of whole photos by contender, for those that have them."""
    found = {one.name: [setup.make_folder(WHOLE, one) / pair.image.name for pair in pairs] for one in contenders}
    return {name: paths for name, paths in found.items() if all(path.exists() for path in paths)}


def parse_tasks(text: str) -> list[str]:
    """Return the tasks that a list names: names, or sizes and kinds such as ``12mp``.

    Raises:
        click.BadParameter: A name is unknown.
    """
    chosen: list[str] = []
    for name in text.split(","):
        matching = [task for task in TASKS if name.strip() in (task, task.split("-")[0])]
        if not matching:
            raise click.BadParameter(
                f"{name.strip()!r}: expected {', '.join((WHOLE, *SIZES, FOLDER, COLD))}, or a size with a hole such as "
                f"12mp-{next(iter(HOLES))}.",
                param_hint="--tasks",
            )
        chosen += matching
    return [task for task in TASKS if task in chosen]


@click.command(cls=OneLineErrors)
@click.argument("photos", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option(
    "--work", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for all that stays, 15 GB."
)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A big-lama.pt.")
@click.option("--tasks", default=",".join((WHOLE, *SIZES, FOLDER, COLD)), show_default=True, help="Tasks, with commas.")
@click.option(
    "--peers", default="simple-lama,iopaint,opencv,wavepaint", show_default=True, help="Programs, with commas."
)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Alternating rounds.")
@click.option("--num-photos", type=click.IntRange(min=1), default=50, show_default=True, help="Photos in the folder.")
@click.option("--slow", type=float, default=20.0, show_default=True, help="Seconds above which one fill must do.")
@click.option("--limit", type=float, default=240.0, show_default=True, help="Seconds for one photo.")
@click.option("--memory", type=float, default=16.0, show_default=True, help="GB for one program.")
@click.option("--habits/--no-habits", default=True, show_default=True, help="Also look at size, alpha, metadata.")
@click.option("--again", is_flag=True, help="Measure the tasks again.")
@click.option("--dry-run", is_flag=True, help="Race two stand-ins that copy and fail; install nothing.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(
    photos: Path, out: Path, work: Path, weights: Path | None, tasks: str, peers: str, rounds: int, num_photos: int,
    slow: float, limit: float, memory: float, habits: bool, again: bool, dry_run: bool, overwrite: bool,
) -> None:  # fmt: skip
    """Race other inpainting programs on the photos in the folder PHOTOS."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the programs, which are stopped, must not outlive this one
    chosen, found = parse_tasks(tasks), list_photos(photos)
    if not found:
        raise click.BadParameter(f"{photos} has no JPEG or PNG photo.", param_hint="PHOTOS")
    if out.exists() and not overwrite:
        raise click.BadParameter(f"{out} exists. Choose another folder, or pass --overwrite.", param_hint="--out")
    work.mkdir(parents=True, exist_ok=True)
    contenders, described, installations = list_fakes(), {}, dict[str, Installation]()
    sentence, environment = "A dry run.", dict(os.environ)
    if not dry_run:
        known = list_peers(CHECKOUT)
        unknown = [name for name in peers.split(",") if name not in known]
        if unknown:
            raise click.BadParameter(f"{unknown[0]!r}: expected {', '.join(known)}.", param_hint="--peers")
        from wavepaint.runtime.engines.openvino import cpu_precisions

        path, bundle, sentence = prepare_weights(weights, work)
        environment = make_environment(path, work)
        for name in peers.split(","):
            print_line(f"installing {name} ...")
            installations[name] = install_peer(known[name], work / "environments" / name)
        described = describe_installations({name: peer.requirements for name, peer in known.items()}, installations)
        contenders = [one for one in list_contenders(bundle, cpu_precisions()) if one.peer in installations]
    setup = Setup(
        pythons={name: one.python.absolute() for name, one in installations.items()},
        script=SCRIPT,
        environment=environment,
        limits=Limits(seconds=limit, memory_mb=memory * 1e3),
        rounds=rounds,
        slow_s=slow,
        results=work.absolute() / "fills",
        on_progress=print_line,
    )
    record = Record(work / "cells.json")
    if again:
        record.forget(chosen, contenders)
    for task in chosen:
        pending = record.list_pending(task, contenders)
        if pending:
            record.add(run_task(task, pending, [path.absolute() for path in found], setup, num_photos))
    if habits and not record.habits:
        folder = work.absolute() / "inputs" / "habits"
        folder.mkdir(parents=True, exist_ok=True)
        by_peer: dict[str, Contender] = {}
        for one in contenders:
            if one.single:
                by_peer.setdefault(one.peer, one)
        record.habits = ask(list(by_peer.values()), make_questions(found[0], folder), setup)
        record.save()
    write_results(out, record, contenders, setup, sentence, described, found, overwrite=overwrite)


def write_results(
    out: Path,
    record: Record,
    contenders: Sequence[Contender],
    setup: Setup,
    sentence: str,
    installations: dict[str, Any],
    photos: Sequence[Path],
    *,
    overwrite: bool,
) -> None:
    """Write the report of all cells that the record has."""
    names = {one.name: number for number, one in enumerate(contenders)}
    cells = sorted(record.cells, key=lambda cell: (TASKS.index(cell.task), names.get(cell.contender, len(names))))
    report = {
        **describe_run("peers"),
        "weights": sentence,
        "settings": {
            "rounds": setup.rounds,
            "slow_s": setup.slow_s,
            "limit_s": setup.limits.seconds,
            "memory_gb": setup.limits.memory_mb / 1e3,
        },
        "labels": {cell.contender: cell.label for cell in cells if cell.label},
        "installations": installations,
        "habits": record.habits,
        "cells": [cell.as_dict() for cell in cells],
    }
    page = make_page(report, judge_targets(cells))
    pictures = {}
    with suppress(FileNotFoundError):
        pairs = make_squares(photos, setup.results.parent / "inputs")
        drawn = [one for one in contenders if one.model == "" or COLD in one.tasks]  # the other engines look the same
        pictures["fills"] = draw_fills(drawn, find_fills(drawn, pairs, setup), pairs)
    write_report(out, "peers", report, page, overwrite=overwrite, pictures=pictures)
    write_plot(out / "peers.png", cells, overwrite=overwrite)
    click.echo(page)


if __name__ == "__main__":
    main()
