"""The choice of the cells of ``wp bench``, and of what is left out because this machine lacks something."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field

from wavepaint.bench.cells import ON_CPU, TF32, TORCH_ENGINES, Cell, find_size, list_cells
from wavepaint.bench.entrants import DEFAULT, Entrant, Subject, open_entrant
from wavepaint.bench.gpu_proof import CHAMPION, MODELS, RIVAL, list_proof_cells
from wavepaint.cli.bench_runs import Options, Show
from wavepaint.contract import read_bundle
from wavepaint.errors import ConfigError, EngineError, WavePaintError
from wavepaint.optional import describe_missing, require
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.registry import ENGINES, PRECISIONS, explain_no_model


@dataclass
class Field:
    """What takes part in a race.

    Attributes:
        subjects: The models and methods.
        cells: The cells to time.
        missing: A line for everything that was left out, with the reason and the fix.
    """

    subjects: list[Entrant]
    cells: list[Cell]
    missing: list[str] = field(default_factory=list)


def choose_field(options: Options, show: Show) -> Field:
    """Open the models and list the cells.

    Raises:
        ConfigError: An option names something unknown, or a proof without a GPU.
        EngineError: A model that --models names cannot be opened, or a proof without PyTorch.
        WavePaintError: No cell is left.
    """
    engines = _parse_names(options.engines, (*ENGINES, *TORCH_ENGINES), "--engines")
    precisions = _parse_names(options.precisions, (*PRECISIONS, TF32), "--precisions")
    has_gpu = bool(find_gpus())
    if options.preset is not None and not options.dry_run and not has_gpu:
        raise ConfigError("no NVIDIA driver or GPU was found here (--preset). --dry-run tests everything but the GPU.")
    missing: dict[str, list[str]] = {}
    if options.preset is not None:
        require("torch", extra="train")
    else:
        engines = _leave_out_torch(engines or [*(ENGINES if has_gpu else ON_CPU)], missing)
    subjects = _open_subjects(_list_names(options), show, missing if options.models is None else None)
    if options.preset is not None:
        cells = [
            cell
            for cell in list_proof_cells(subjects, is_dry=options.dry_run)
            if (not engines or cell.engine in engines)
            and (not precisions or cell.precision in precisions)
            and (not options.sizes or cell.height in options.sizes)
            and (not options.batch or cell.batch in options.batch)
        ]
    else:
        sizes = options.sizes or ([256] if options.quick else [256, 512])
        cells = list_cells(subjects, sizes, options.batch or [1], engines=engines, precisions=precisions)
        _note_missing_precisions(cells, subjects, engines, precisions, missing)
        _note_missing_sizes(subjects, sizes, options.batch or [1], missing)
    lines = [f"not timed: {', '.join(names)}: {reason}" for reason, names in missing.items()]
    if not cells:
        problem = "nothing is left to time: no model runs in these engines, precisions, sizes and batches."
        raise WavePaintError(" ".join([problem, *lines]))
    return Field(subjects, cells, lines)


def _parse_names(text: str | None, known: tuple[str, ...], option: str) -> list[str]:
    names = [name.strip() for name in text.split(",")] if text else []
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown {name!r}: expected some of {', '.join(known)} ({option}).")
    return names


def _list_names(options: Options) -> list[str]:
    """Return the names of the models and methods."""
    if options.models:
        return [name.strip() for name in options.models.split(",")]
    bundles = [str(path) for path in options.bundles]
    if options.preset is not None:
        return [DEFAULT] if options.dry_run else [*MODELS, *bundles]
    if bundles and all(read_bundle(path).task.has_classes for path in options.bundles):
        return bundles  # the rivals are inpainting networks
    return [*(bundles or [DEFAULT]), CHAMPION, RIVAL]


def _leave_out_torch(engines: list[str], missing: dict[str, list[str]]) -> list[str]:
    """Return the engines without PyTorch's if it is not installed and others remain."""
    others = [engine for engine in engines if engine not in TORCH_ENGINES]
    if not others or len(others) == len(engines) or importlib.util.find_spec("torch") is not None:
        return engines
    missing[describe_missing("torch", extra="train")] = [engine for engine in engines if engine not in others]
    return others


def _open_subjects(names: list[str], show: Show, missing: dict[str, list[str]] | None) -> list[Entrant]:
    """Open the models. With ``missing``, a model whose engine is missing is noted there and left out."""
    subjects: list[Entrant] = []
    for name in names:
        try:
            subjects.append(open_entrant(name, on_stage=show))
        except EngineError as error:
            if missing is None:
                raise
            missing.setdefault(str(error), []).append(name)
    return subjects


def _note_missing_precisions(
    cells: list[Cell],
    subjects: list[Entrant],
    engines: list[str],
    precisions: Sequence[str],
    missing: dict[str, list[str]],
) -> None:
    """Note which of the models have no cell in a requested precision, and why."""
    names = [name for name in ENGINES if name in engines]
    for subject in (one for one in subjects if names and isinstance(one, Subject)):
        found = {cell.precision for cell in cells if cell.subject is subject}
        for precision in PRECISIONS:
            if precision in precisions and precision not in found:
                missing.setdefault(explain_no_model(subject.bundle, names, precision), []).append(subject.name)


def _note_missing_sizes(
    subjects: list[Entrant], sizes: Sequence[int], batches: Sequence[int], missing: dict[str, list[str]]
) -> None:
    """Note which of the models do not take a size or a batch."""
    for subject in subjects:
        for side in sizes:
            for batch in batches:
                if find_size(subject, side, batch) is None:
                    reason = f"it takes no {side}x{side} pixels in a batch of {batch} (wp info shows its sizes)"
                    missing.setdefault(reason, []).append(subject.name)
