"""Run the race against other programs: one task after another, all contenders of a task in alternating rounds."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from wavepaint.bench.peer_inputs import HOLES, SIZES, Pair, iterate_pixels
from wavepaint.bench.peer_process import Limits, Measurement, Program, run_command
from wavepaint.bench.peer_weights import RELEASED
from wavepaint.bench.peers import REFERENCE, Contender, fill_in, make_program_command
from wavepaint.metrics.image_quality import psnr

WHOLE, COLD, FOLDER = "512", "cold", "folder"
TASKS = (WHOLE, *(f"{size}-{hole}" for size in SIZES for hole in HOLES), FOLDER, COLD)
"""Names of the tasks: a photo of 512x512 pixels as a whole, large photos with one hole, a folder, a cold start."""

TITLES = {
    WHOLE: "512x512, the whole photo",
    **{f"{size}-{hole}": f"{size[:-2]} megapixels, {hole} hole" for size in SIZES for hole in HOLES},
    FOLDER: "a folder of photos",
    COLD: "512x512 after a cold start",
}
FOLDER_LIMIT = 10
"""A folder may take this many times the limit of one photo."""
AS_SMALL = "as with the small hole: it computes the whole photo"


@dataclass(kw_only=True)
class Cell:
    """One contender in one task.

    Attributes:
        task: The task's name.
        contender: The contender's name.
        seconds: Wall-clock time of each timed fill, from file to file; of the whole folder in that task.
        cpu_seconds: Processor time of the same.
        num_photos: Photos in each timed fill.
        loading_s: Time until the program was open.
        peak_mb: Peak memory of the process and its children since its start.
        problem: Why there are no times.
        label: What runs the model.
        difference: Largest difference in the hole from the reference with the same weights, in levels of 255.
        num_changed: Known pixels that the program changed.
        psnr_db: PSNR inside the holes against the photo, for trained weights.
    """

    task: str
    contender: str
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    num_photos: int = 1
    loading_s: float | None = None
    peak_mb: float = 0.0
    problem: str = ""
    label: str = ""
    difference: int | None = None
    num_changed: int | None = None
    psnr_db: float | None = None

    @property
    def median_s(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def median_cpu_s(self) -> float | None:
        return statistics.median(self.cpu_seconds) if self.cpu_seconds else None

    def add(self, measured: Measurement) -> None:
        """Add a timed fill; a failed one removes all times."""
        self.problem = measured.problem
        if measured.problem:
            self.seconds.clear()
            self.cpu_seconds.clear()
        elif measured.seconds is not None and measured.cpu_seconds is not None:
            self.seconds.append(measured.seconds)
            self.cpu_seconds.append(measured.cpu_seconds)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the race needs besides its inputs.

    Attributes:
        pythons: Interpreter by peer.
        script: ``benchmarks/peer_program.py``.
        environment: Environment variables of the programs.
        limits: The limits of each job.
        rounds: Alternating rounds.
        slow_s: A contender whose first fill takes longer is timed only once, by that fill.
        results: Folder for the fills and the programs' output.
        on_progress: Receives a status line.
    """

    pythons: Mapping[str, Path]
    script: Path
    environment: Mapping[str, str]
    limits: Limits
    rounds: int
    slow_s: float
    results: Path
    on_progress: Callable[[str], None] = lambda text: None

    def make_folder(self, task: str, contender: Contender) -> Path:
        """Return the folder of a contender's fills."""
        folder = self.results / task / "".join(c if c.isalnum() else "-" for c in contender.name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def get_python(self, contender: Contender) -> Path:
        return self.pythons.get(contender.peer, Path("python"))


def race_open(task: str, contenders: Sequence[Contender], pairs: Sequence[Pair], setup: Setup) -> list[Cell]:
    """Time programs that stay open, from file to file. The first fills of each are not timed, unless one is slow.

    Args:
        task: The task's name.
        contenders: The contenders.
        pairs: Photos; every round takes the next one.
        setup: The rest.
    """
    cells, rivals = [], []
    with ExitStack() as stack:
        for contender in contenders:
            cell = Cell(task=task, contender=contender.name)
            cells.append(cell)
            if contender.is_whole and task.endswith(("-medium", "-large")):
                cell.problem = AS_SMALL
                continue
            setup.on_progress(f"{task}: opening {contender.name}")
            folder = setup.make_folder(task, contender)
            program = Program(
                make_program_command(contender, setup.pythons.get(contender.peer), setup.script),
                setup.environment, setup.limits, folder / "log.txt",
            )  # fmt: skip
            stack.callback(program.close)
            cell.problem, cell.label, cell.loading_s = (
                program.loading.problem, program.loading.label, program.loading.seconds,
            )  # fmt: skip
            goes_on = not cell.problem and _warm_up(cell, program, pairs, folder, contender, setup)
            cell.peak_mb = program.peak_mb
            if goes_on:
                rivals.append((cell, program, folder, contender))
            else:
                program.close()  # its memory is for the others
        for number in range(setup.rounds):
            setup.on_progress(f"{task}: round {number + 1} of {setup.rounds}")
            for cell, program, folder, contender in rivals:
                if not cell.problem:
                    pair = pairs[number % len(pairs)]
                    cell.add(program.fill(pair.image, pair.mask, _name_result(folder, pair, contender)))
                    cell.peak_mb = program.peak_mb
    return cells


def _warm_up(
    cell: Cell, program: Program, pairs: Sequence[Pair], folder: Path, contender: Contender, setup: Setup
) -> bool:
    """Fill every photo once, and at least two; return whether the rounds follow.

    PyTorch optimizes a TorchScript file in its second run. The first slow fill is the only timed one.
    """
    for pair in pairs:
        measured = program.fill(pair.image, pair.mask, _name_result(folder, pair, contender))
        is_slow = (measured.seconds or 0.0) > setup.slow_s
        if measured.problem or (is_slow and not cell.seconds):
            cell.add(measured)
        if measured.problem:
            return False
    if len(pairs) == 1 and not cell.seconds:
        program.fill(pairs[0].image, pairs[0].mask, _name_result(folder, pairs[0], contender))
    return not cell.seconds


def _name_result(folder: Path, pair: Pair, contender: Contender) -> Path:
    return folder / f"{pair.image.stem}{pair.image.suffix if pair.image.suffix == '.png' else contender.suffix}"


def race_commands(
    task: str, contenders: Sequence[Contender], pair: Pair, setup: Setup, *, num_photos: int = 1
) -> list[Cell]:
    """Time whole commands, from their start to their end: one photo after a cold start, or a folder.

    A first run of each, which is not timed unless it is slow, fills the caches of the system. A contender without a
    command for folders is kept open instead, and its time includes the loading.

    Args:
        task: The task's name.
        contenders: The contenders.
        pair: The photo and the mask, or their folders.
        setup: The rest.
        num_photos: Photos in the folder.
    """
    cells = [Cell(task=task, contender=contender.name, num_photos=num_photos) for contender in contenders]
    finished: set[str] = set()
    for number in range(setup.rounds + 1):
        for cell, contender in zip(cells, contenders, strict=True):
            if cell.contender in finished:
                continue
            setup.on_progress(f"{task}: {contender.name}, run {number} of {setup.rounds}")
            measured, peak_mb = _run_once(contender, task, pair, setup)
            cell.peak_mb = max(cell.peak_mb, peak_mb)
            is_slow = (measured.seconds or 0.0) > setup.slow_s
            if number or is_slow or measured.problem:
                cell.add(measured)
            if is_slow or measured.problem:
                finished.add(cell.contender)
    return cells


def _run_once(contender: Contender, task: str, pair: Pair, setup: Setup) -> tuple[Measurement, float]:
    folder = setup.make_folder(task, contender)
    command = contender.many if task == FOLDER else contender.single
    if not command:
        return _loop_over_folder(contender, pair, folder, setup)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    if task == COLD:
        out = out / pair.image.name
    whole = fill_in(command, setup.get_python(contender), pair.image, pair.mask, out)
    limits = setup.limits
    if task == FOLDER:
        limits = replace(limits, seconds=limits.seconds * FOLDER_LIMIT)
    return run_command(whole, setup.environment, limits, folder / "log.txt")


def _loop_over_folder(contender: Contender, pair: Pair, folder: Path, setup: Setup) -> tuple[Measurement, float]:
    """Do what a user's own loop over a folder does: load once, then fill photo after photo."""
    command = make_program_command(contender, setup.pythons.get(contender.peer), setup.script)
    program = Program(command, setup.environment, setup.limits, folder / "log.txt")
    try:
        parts, seconds, cpu_seconds = [program.loading], 0.0, 0.0
        for image in sorted(pair.image.iterdir()):
            if parts[-1].problem:
                break
            parts.append(
                program.fill(image, pair.mask / f"{image.stem}.png", folder / f"{image.stem}{contender.suffix}")
            )
        if parts[-1].problem:
            return parts[-1], program.peak_mb
        seconds = sum(part.seconds or 0.0 for part in parts)
        cpu_seconds = sum(part.cpu_seconds or 0.0 for part in parts)
        return Measurement(seconds=seconds, cpu_seconds=cpu_seconds), program.peak_mb
    finally:
        program.close()


def compare_fills(cells: Sequence[Cell], contenders: Sequence[Contender], pairs: Sequence[Pair], setup: Setup) -> None:
    """Add to the cells of the task of whole photos what the fills show: differences, changed pixels, PSNR."""
    photos = list(iterate_pixels([pair.image for pair in pairs]))
    holes = [mask[..., 0] > 0 for mask in iterate_pixels([pair.mask for pair in pairs])]
    by_name = {contender.name: contender for contender in contenders}

    def read(name: str) -> list[Any] | None:
        paths = [_name_result(setup.make_folder(WHOLE, by_name[name]), pair, by_name[name]) for pair in pairs]
        return list(iterate_pixels(paths)) if all(path.exists() for path in paths) else None

    reference = read(REFERENCE) if REFERENCE in by_name else None
    for cell in cells:
        fills = read(cell.contender)
        if cell.problem or fills is None:
            continue
        height, width = holes[0].shape
        fills = [fill[:height, :width] for fill in fills]
        cell.num_changed = sum(
            int((fill != photo).any(2)[~hole].sum()) for fill, photo, hole in zip(fills, photos, holes, strict=True)
        )
        model = by_name[cell.contender].model
        if model != RELEASED:
            both = zip(fills, photos, holes, strict=True)
            cell.psnr_db = float(np.mean([psnr(fill[hole] / 255, photo[hole] / 255) for fill, photo, hole in both]))
        elif reference is not None:
            both = zip(fills, reference, holes, strict=True)
            gaps = [np.abs(fill[hole].astype(int) - other[:height, :width][hole]) for fill, other, hole in both]
            cell.difference = int(max(gap.max() for gap in gaps))
