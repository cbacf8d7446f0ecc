"""What is measured, in which order: single probes, and cells that race each other in heats.

The order is that of what is worth knowing most, since time on a GPU host is short: which engines work, whether half
precision holds, what the card can do at its best, then the cells that the criteria are judged by, then all others.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from wavepaint.contract import IoDtype

Launch = Literal["graph", "plain"]
"""Whether kernels are launched as one CUDA graph or one by one."""

FULL_MODELS = ("wavepaint", "lama", "default", "wavepaint-large", "big-lama")
DRY_MODELS = ("tiny-wavepaint", "tiny-lama")

CRITERION_SIDE = 256
RIVALS = ("wavepaint", "lama")
CRITERION_BATCHES = (8, 1, 32, 64, 16, 4, 2)
SIDES = (256, 512, 1024, 96)

ENGINES = ("pytorch", "tensorrt-rtx", "tensorrt", "ort-cuda", "torch-compile")
DRY_ENGINES = ("pytorch", "torch-compile", "ort-cpu", "tensorrt-rtx", "tensorrt", "ort-cuda", "failure")
"""``failure`` fails on purpose: once by an error, once by the death of the process."""

NEEDS_GPU = ("tensorrt-rtx", "tensorrt", "ort-cuda")
CEILINGS = ("matrix", "convolution", "copy")


@dataclass(frozen=True)
class Probe:
    """One thing that is found out by itself: an engine, a model's numerics, a ceiling."""

    kind: Literal["engine", "numerics", "ceiling"]
    name: str

    @property
    def id(self) -> str:
        """Its name for ``--only`` and in the record."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class Cell:
    """One entry of a race.

    Attributes:
        engine: One of :data:`ENGINES` or :data:`DRY_ENGINES`.
        precision: "float16", "float32" (exact), "defaults" (float32 as PyTorch has it unless it is told otherwise:
            convolutions round to TF32's ten bits, other products do not) or "tf32" (all of them round).
        model: Name of a model.
        side: Height and width in pixels.
        batch: Images a call.
        launch: See :data:`Launch`.
        io_dtype: Kind of inputs and outputs.
    """

    engine: str
    precision: str
    model: str
    side: int
    batch: int
    launch: Launch = "graph"
    io_dtype: IoDtype = "float32"

    @property
    def id(self) -> str:
        """Its name for ``--only`` and in the record."""
        return f"{self.engine}/{self.precision}/{self.model}/{self.side}/b{self.batch}/{self.launch}/{self.io_dtype}"


Task = Probe | Cell


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where cells run.

    Attributes:
        work: Folder for whole ONNX files and plans.
        prepared: Folder of prepared graphs, if there is one.
        device: "cuda" or "cpu".
    """

    work: Path
    prepared: Path | None
    device: str


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long cells are timed.

    Attributes:
        rounds: Alternating rounds.
        seconds: Of each cell in each round: half with copies, a quarter each computing alone call by call and back to
            back; at least ``min_calls`` of the former two.
        min_calls: Fewest calls of a round.
        deadline: No round begins after it, in seconds of :func:`time.time`.
        known_work: Models and sides whose arithmetic has been counted, as in the record.
    """

    rounds: int
    seconds: float
    min_calls: int
    deadline: float
    known_work: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Heat:
    """Tasks that run together: a probe alone, or the cells of one size and batch, in alternating rounds."""

    title: str
    tasks: tuple[Task, ...]


def list_heats(*, dry: bool) -> list[Heat]:
    """Return every heat, what is worth most first; no cell is in two."""
    heats = _dry_heats() if dry else _full_heats()
    seen: set[str] = set()
    fresh = []
    for heat in heats:
        tasks = tuple(task for task in heat.tasks if task.id not in seen)
        seen |= {task.id for task in tasks}
        if tasks:
            fresh.append(Heat(heat.title, tasks))
    return fresh


def choose(heats: Sequence[Heat], patterns: Sequence[str]) -> list[Heat]:
    """Return the heats with the tasks that match one of the patterns (of the shell's kind); all without patterns."""
    chosen = []
    for heat in heats:
        tasks = tuple(
            task for task in heat.tasks if not patterns or any(fnmatchcase(task.id, pattern) for pattern in patterns)
        )
        if tasks:
            chosen.append(Heat(heat.title, tasks))
    return chosen


def _probes(kind: Literal["engine", "numerics", "ceiling"], names: Sequence[str]) -> Iterator[Heat]:
    for name in names:
        yield Heat(f"{kind} {name}", (Probe(kind, name),))


def _full_heats() -> Iterator[Heat]:
    yield from _probes("engine", ("pytorch", "cuda-graph", "tensorrt", "ort-cuda"))
    yield from _probes("numerics", FULL_MODELS)
    yield from _probes("engine", ("tensorrt-rtx",))
    yield from _probes("ceiling", CEILINGS)
    for batch in CRITERION_BATCHES:
        yield _heat(CRITERION_SIDE, batch, RIVALS, ENGINES[:4])
    yield from _probes("engine", ("torch-compile",))
    yield _heat(CRITERION_SIDE, 8, RIVALS, ("torch-compile",))
    small = ("wavepaint", "lama", "default")
    for batch in (8, 1, 64):  # with and without graphs, with float and byte edges
        yield _heat(CRITERION_SIDE, batch, small, ENGINES[:4], launches=("graph", "plain"), every_edge=True)
    for batch in (64, 1):
        yield _heat(CRITERION_SIDE, batch, RIVALS, ("torch-compile",))
    for batch in (8, 1, 64):
        yield _heat(CRITERION_SIDE, batch, FULL_MODELS, ENGINES[:4])
    for side, batch in itertools.product(SIDES[1:], (8, 1)):
        yield _heat(side, batch, small, ENGINES[:4])
    yield _heat(96, 64, small, ENGINES[:4])
    for side, batch in itertools.product(SIDES[1:], (8, 1, 64)):
        yield _heat(side, batch, FULL_MODELS, ENGINES[:4])
    yield _more_float32()
    for side, batch in itertools.product(SIDES, CRITERION_BATCHES):
        yield _heat(side, batch, FULL_MODELS, ENGINES, launches=("graph", "plain"), every_edge=True)


def _more_float32() -> Heat:
    """PyTorch with TF32 in all products, and float32 in the engines: what each gives away by being exact."""
    tasks = [Cell("pytorch", "tf32", model, CRITERION_SIDE, 8, "plain") for model in RIVALS]
    tasks += [
        Cell(engine, "float32", model, CRITERION_SIDE, 8)
        for engine, model in itertools.product(("tensorrt-rtx", "tensorrt"), RIVALS)
    ]
    return Heat(f"{CRITERION_SIDE} pixels, batch 8: TF32 and float32 engines", tuple(tasks))


def _heat(
    side: int,
    batch: int,
    models: Sequence[str],
    engines: Sequence[str],
    *,
    launches: Sequence[Launch] = ("graph",),
    every_edge: bool = False,
) -> Heat:
    """Return a race of float16 in engines, and eager PyTorch in float32, as people run a network that they download.

    At the criterion's size float32 is there twice: exact, and with the products that PyTorch rounds by default.
    """
    tasks = []
    for engine, model in itertools.product(engines, models):
        if engine == "pytorch":
            tasks.append(Cell("pytorch", "float32", model, side, batch, "plain"))
            if side == CRITERION_SIDE and model in RIVALS:
                tasks.append(Cell("pytorch", "defaults", model, side, batch, "plain"))
        for launch in ("plain",) if engine in ("ort-cuda", "ort-cpu") else launches:
            io_dtype: tuple[IoDtype, ...] = ("float32", "uint8") if every_edge else ("float32",)
            tasks += [Cell(engine, "float16", model, side, batch, launch, kind) for kind in io_dtype]
    return Heat(f"{side} pixels, batch {batch}", tuple(tasks))


def _dry_heats() -> Iterator[Heat]:
    yield from _probes("engine", ("pytorch", "cuda-graph", "torch-compile", "tensorrt", "tensorrt-rtx", "ort-cuda"))
    yield from _probes("numerics", DRY_MODELS)
    yield from _probes("ceiling", CEILINGS)
    yield Heat(
        "failures on purpose",
        (
            Cell("failure", "float16", "an-error", 32, 1, "plain"),
            Cell("failure", "float16", "a-death", 32, 1, "plain"),
            Cell("pytorch", "float32", "tiny-lama", 32, 1, "plain"),
        ),
    )
    executions: tuple[Launch, ...] = ("graph", "plain")
    yield _heat(32, 2, DRY_MODELS, ("pytorch", "torch-compile"), launches=executions, every_edge=True)
    # LaMa's export alone would take as long as all the rest.
    engines = [engine for engine in DRY_ENGINES if engine not in ("failure", "pytorch", "torch-compile")]
    yield _heat(32, 2, DRY_MODELS[:1], engines, launches=executions, every_edge=True)
    yield _heat(64, 1, (DRY_MODELS[0], "default"), ("pytorch", "ort-cpu"), launches=("plain",))
