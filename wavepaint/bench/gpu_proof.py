"""The GPU proof: the cells to measure, most important first, and the criteria they must meet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from wavepaint.bench.cells import PYTORCH, TF32, TORCH_ENGINES, TORCH_ON_GPU, Cell, Result, list_cells
from wavepaint.bench.entrants import DEFAULT, Entrant
from wavepaint.bench.race import CHANGES_KNOWN_PIXELS, NOT_FINITE

Verdict = Literal["met", "not met", "not measured"]

CHAMPION, RIVAL = "wavepaint", "lama"
MODELS = (CHAMPION, RIVAL, DEFAULT)
SIDE = 256
SIZES, BATCHES = (SIDE, 512, 1024), (16, 1, 4)
ENGINES = (PYTORCH, "tensorrt-rtx", "tensorrt", "ort-cuda", *TORCH_ENGINES[1:])
DRY_ENGINES = (*ENGINES, "ort-cpu")

MIN_TO_EAGER, MIN_TO_RIVAL, MIN_OF_ROOF, MIN_PSNR_DB = 10.0, 1.22, 0.5, 50.0


@dataclass(frozen=True)
class Criterion:
    """A criterion, its verdict, and the measurement behind it or the reason why there is none."""

    wanted: str
    verdict: Verdict
    found: str


def list_proof_cells(subjects: Sequence[Entrant], *, is_dry: bool) -> list[Cell]:
    """Return the cells of the proof: engines in float16, and eager PyTorch in every precision.

    A dry run has one small size, and ONNX Runtime on the CPU in place of the engines that need a GPU.
    """
    sizes, batches, engines = ((32,), (2,), DRY_ENGINES) if is_dry else (SIZES, BATCHES, ENGINES)
    cells = list_cells(subjects, sizes, batches, engines=engines, torch_configs=TORCH_ON_GPU)
    chosen = [cell for cell in cells if cell.engine == PYTORCH or cell.precision == "float16"]
    return sorted(
        chosen,
        key=lambda cell: (cell.height, batches.index(cell.batch), engines.index(cell.engine), cell.precision),
    )


def judge(results: Sequence[Result], *, is_dry: bool) -> list[Criterion]:
    """Judge the criteria at 256x256, each model at its best batch.

    The engine is the fastest for the paper's WavePaint in float16. Throughput is judged without copies, because a
    server copies one batch while it computes another; the ratio with copies is shown, too.
    """
    if is_dry:
        return [Criterion(wanted, "not measured", "a dry run measures no GPU") for wanted in _WANTED]
    own = [r for r in results if r.model == CHAMPION and r.engine != PYTORCH]
    best = _find_best(own, _compute_rate) or _find_best(own, _full_rate)
    engine = best.engine if best else ""
    eager = [r for r in results if r.model == RIVAL and (r.engine, r.precision) == (PYTORCH, "float32")]
    defaults = [r for r in results if r.model == RIVAL and (r.engine, r.precision) == (PYTORCH, TF32)]
    rivals = [r for r in results if r.model == RIVAL and r.engine == engine]
    own = [r for r in own if r.engine == engine]
    to_eager = _compare(_WANTED[0], own, eager, MIN_TO_EAGER)
    to_defaults = _compare(_WANTED[0], own, defaults, MIN_TO_EAGER).found
    return [
        Criterion(to_eager.wanted, to_eager.verdict, f"{to_eager.found}. To PyTorch's defaults (TF32): {to_defaults}"),
        _compare(_WANTED[1], own, rivals, MIN_TO_RIVAL),
        _judge_roof(own),
        _judge_psnr(own),
        _judge_known_pixels(results),
    ]


_WANTED = (
    f"float16 engine of the fused WavePaint 4x4x128 at {SIDE}x{SIDE}: at least {MIN_TO_EAGER:g} times the images/s of "
    "LaMa in PyTorch eager float32",
    f"the same engine: at least {MIN_TO_RIVAL:g} times the images/s of LaMa",
    f"the same engine: at least {MIN_OF_ROOF:.0%} of the layer-by-layer roofline",
    f"the same engine: PSNR inside the hole against PyTorch float32 of at least {MIN_PSNR_DB:g} dB",
    "every cell: known pixels bit-identical",
)


def _compute_rate(result: Result) -> float | None:
    return result.compute_images_per_s


def _full_rate(result: Result) -> float | None:
    return result.images_per_s


def _find_best(results: Sequence[Result], rate: Callable[[Result], float | None]) -> Result | None:
    """Return the fastest result at the criterion's size; None if none was timed."""
    timed = [r for r in results if r.height == SIDE and rate(r)]
    return max(timed, key=lambda r: rate(r) or 0.0, default=None)


def _compare(wanted: str, own: Sequence[Result], rivals: Sequence[Result], least: float) -> Criterion:
    """Judge the ratio without copies, and show the ratio with copies."""
    verdict: Verdict = "not measured"
    found = []
    for rate, name in ((_compute_rate, "compute only"), (_full_rate, "with copies")):
        ours, theirs = _find_best(own, rate), _find_best(rivals, rate)
        if ours is None or theirs is None:
            found.append(f"{name}: not timed")
            continue
        ratio = (rate(ours) or 0.0) / (rate(theirs) or 1.0)
        if rate is _compute_rate:
            verdict = "met" if ratio >= least else "not met"
        found.append(
            f"{name}: {ratio:.2f} times, {rate(ours):.0f} images/s ({ours.engine}, batch {ours.batch}) to "
            f"{rate(theirs):.0f} ({theirs.engine}, batch {theirs.batch})"
            + ("" if ours.run == theirs.run else ", from different runs")
        )
    return Criterion(wanted, verdict, "; ".join(found))


def _judge_roof(own: Sequence[Result]) -> Criterion:
    best = _find_best(own, _compute_rate)
    if best is None or best.layer_roofline is None:
        return Criterion(_WANTED[2], "not measured", "the compute time or the GPU's roofline was not measured")
    verdict: Verdict = "met" if best.layer_roofline >= MIN_OF_ROOF else "not met"
    return Criterion(
        _WANTED[2],
        verdict,
        f"{best.layer_roofline:.0%} at batch {best.batch} ({best.engine}); {best.roofline or 0:.0%} of the GPU's peak "
        "arithmetic",
    )


def _judge_psnr(own: Sequence[Result]) -> Criterion:
    compared = [r for r in own if r.psnr_db is not None or r.problem == NOT_FINITE]
    if not compared:
        return Criterion(_WANTED[3], "not measured", "no cell ran")
    worst = min(compared, key=lambda r: float("-inf") if r.psnr_db is None else r.psnr_db)
    found = NOT_FINITE if worst.psnr_db is None else f"{worst.psnr_db:.1f} dB"
    verdict: Verdict = "met" if worst.psnr_db is not None and worst.psnr_db >= MIN_PSNR_DB else "not met"
    where = f"{worst.engine} {worst.width}x{worst.height}, batch {worst.batch}"
    return Criterion(_WANTED[3], verdict, f"worst of {len(compared)} cells: {found} ({where})")


def _judge_known_pixels(results: Sequence[Result]) -> Criterion:
    changed = [r for r in results if CHANGES_KNOWN_PIXELS in r.problem]
    num_timed = sum(r.p50_ms is not None for r in results)
    if changed:
        r = changed[0]
        return Criterion(
            _WANTED[4], "not met", f"{r.model} in {r.engine} {r.precision} at {r.width}x{r.height} changes known pixels"
        )
    return Criterion(_WANTED[4], "met" if num_timed else "not measured", f"identical in {num_timed} cells")
