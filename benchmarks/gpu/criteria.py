"""The criteria, judged from a record: met, not met, or not measured."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmarks.gpu.cells import CRITERION_SIDE

Verdict = Literal["met", "not met", "not measured"]

CHAMPION, RIVAL = "wavepaint", "lama"
LEAST_TO_EAGER, LEAST_TO_RIVAL, LEAST_OF_ROOF, LEAST_PSNR_DB = 10.0, 1.22, 0.5, 50.0

Rate = Callable[[dict[str, Any]], float | None]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One criterion.

    Attributes:
        wanted: What is to be reached.
        verdict: Whether it was.
        found: What was measured, in words; why nothing was, where nothing was.
    """

    wanted: str
    verdict: Verdict
    found: str


@dataclass(frozen=True)
class _Best:
    """The best batch of a model in an engine: batch, images a second, and the cell's id."""

    batch: int
    rate: float
    id: str


def with_copies(result: dict[str, Any]) -> float | None:
    """Return images a second with copies to the device and back; None if not measured."""
    return result["with_copies"]["images_per_s"] if result.get("with_copies") else None


def alone(result: dict[str, Any]) -> float | None:
    """Return images a second of the computing alone; None if not measured."""
    return result["compute"]["images_per_s"] if result.get("compute") else None


def read_cells(content: dict[str, Any]) -> Iterator[tuple[str, list[str], dict[str, Any]]]:
    """Yield id, parts of the id and result of every cell of a race."""
    for task_id, result in content["results"].items():
        parts = task_id.split("/")
        if len(parts) == 7:
            yield task_id, parts, result


def judge(content: dict[str, Any]) -> list[Criterion]:
    """Judge a record's content. A dry run proves nothing, whatever it holds.

    Throughput is judged on computing alone, back to back: who serves many images copies one batch while another is
    computed. The ratio with copies, of one batch after another, stands beside it.
    """
    if content["dry"]:
        return [
            Criterion(wanted=wanted, verdict="not measured", found="a dry run: the card has not been seen")
            for wanted in (_TO_EAGER, _TO_RIVAL, _OF_ROOF, _PSNR)
        ]
    engine = _find_engine(content)
    found = [_to_eager(content, engine), _to_rival(content, engine), _of_roof(content, engine), _psnr(content, engine)]
    if engine is None or engine.startswith("tensorrt"):
        return found
    warning = f"not TensorRT: the fastest that ran is {engine}; "
    return [one if one.verdict == "not measured" else replace(one, found=warning + one.found) for one in found]


_SIZE = f"{CRITERION_SIDE}x{CRITERION_SIDE}"
_TO_EAGER = (
    f"FP16 engine of the fused WavePaint 4x4x128 at {_SIZE}: at least {LEAST_TO_EAGER:g} times the images a second of "
    "LaMa in PyTorch eager float32"
)
_TO_RIVAL = f"the same: at least {LEAST_TO_RIVAL:g} times LaMa's in the same engine and precision"
_OF_ROOF = f"the same: at least {LEAST_OF_ROOF:.0%} of the roofline, layer by layer, at the best batch"
_PSNR = f"the same: PSNR inside the hole against PyTorch float32 at least {LEAST_PSNR_DB:g} dB"


def _cells(content: dict[str, Any], model: str, engine: str, precision: str, launch: str) -> Iterator[Any]:
    """Yield the cells of a model with float32 edges at the criterion's size whose times count.

    That an engine's output is right is part of what it shall reach. PyTorch in float32 is what others are measured by:
    its times count also where an algorithm that it chose rounds more than float32 should, which is told.
    """
    for task_id, parts, result in read_cells(content):
        is_wanted = parts[:4] == [engine, precision, model, str(CRITERION_SIDE)] and parts[5:] == [launch, "float32"]
        if is_wanted and result["status"] == "done":
            accuracy = result["accuracy"]
            is_measure = engine == "pytorch" and precision != "float16" and accuracy["psnr_hole_db"] is not None
            if accuracy["passed"] or is_measure:
                yield task_id, int(parts[4][1:]), result


def best(
    content: dict[str, Any], model: str, engine: str, rate: Rate, precision: str = "float16", launch: str = "graph"
) -> _Best | None:
    """Return the best batch of a model; see :func:`_cells` for what counts."""
    found = [
        _Best(batch, value, task_id)
        for task_id, batch, result in _cells(content, model, engine, precision, launch)
        if (value := rate(result)) is not None
    ]
    return max(found, key=lambda one: one.rate, default=None)


def list_launches(engine: str) -> str:
    """Return the launch by which an engine is judged: as a graph where it has one."""
    return "plain" if engine == "ort-cuda" else "graph"


def _find_engine(content: dict[str, Any]) -> str | None:
    """Return the engine that computes the fused network fastest in half precision, where none tells, with copies."""
    engines = {parts[0] for _, parts, _ in read_cells(content) if parts[1] == "float16"}
    for rate in (alone, with_copies):
        rated = {
            engine: found.rate
            for engine in sorted(engines)
            if (found := best(content, CHAMPION, engine, rate, launch=list_launches(engine)))
        }
        if rated:
            return max(rated, key=lambda engine: rated[engine])
    return None


def _compare(
    content: dict[str, Any], wanted: str, engine: str | None, other: Callable[[Rate], _Best | None], least: float
) -> Criterion:
    """Judge a ratio of images a second, each at its best batch: computing alone, with the ratio with copies told."""
    verdict: Verdict = "not measured"
    told: list[str] = []
    for rate, what in ((alone, "computing alone"), (with_copies, "with copies")):
        own = best(content, CHAMPION, engine, rate, launch=list_launches(engine)) if engine else None
        rival = other(rate)
        if own and rival:
            ratio = own.rate / rival.rate
            if rate is alone:
                verdict = "met" if ratio >= least else "not met"
            told.append(
                f"{ratio:.2f} times {what}: {own.rate:.0f} images/s ({own.id}) to {rival.rate:.0f} ({rival.id})"
                + ("" if _is_same_run(content, own.id, rival.id) else ", of different runs")
                + _doubt(content, rival.id)
            )
    if verdict == "not measured":
        told.insert(0, "computing alone was not timed in one of the two")
    return Criterion(wanted=wanted, verdict=verdict, found="; ".join(told))


def _doubt(content: dict[str, Any], task_id: str) -> str:
    """Say it where a cell's output is not what it should be and its times count all the same."""
    accuracy = content["results"][task_id]["accuracy"]
    if accuracy["passed"]:
        return ""
    changed = "" if accuracy["known_identical"] else " and changed known pixels"
    return f", whose output had only {accuracy['psnr_hole_db']:.1f} dB{changed}"


def _is_same_run(content: dict[str, Any], *ids: str) -> bool:
    return len({content["results"][task_id]["run"] for task_id in ids}) == 1


def _to_eager(content: dict[str, Any], engine: str | None) -> Criterion:
    """Judge by PyTorch in exact float32; tell the ratio to PyTorch as it is set by default too."""

    def rival(precision: str) -> Callable[[Rate], _Best | None]:
        return lambda rate: best(content, RIVAL, "pytorch", rate, precision, "plain")

    judged = _compare(content, _TO_EAGER, engine, rival("float32"), LEAST_TO_EAGER)
    beside = _compare(content, _TO_EAGER, engine, rival("defaults"), LEAST_TO_EAGER)
    if beside.verdict == "not measured":
        return judged
    return replace(judged, found=f"{judged.found}. To PyTorch's defaults, TF32 in convolutions: {beside.found}")


def _to_rival(content: dict[str, Any], engine: str | None) -> Criterion:
    def rival(rate: Rate) -> _Best | None:
        return best(content, RIVAL, engine, rate, launch=list_launches(engine)) if engine else None

    return _compare(content, _TO_RIVAL, engine, rival, LEAST_TO_RIVAL)


def find_ceilings(content: dict[str, Any]) -> tuple[float | None, float | None]:
    """Return the higher of the two arithmetic ceilings in GMAC/s, and copying in GB/s; None where not measured."""
    results = content["results"]
    rates = [results.get(f"ceiling/{name}", {}).get("gmac_per_s") for name in ("matrix", "convolution")]
    measured = [rate for rate in rates if rate]
    return max(measured, default=None), results.get("ceiling/copy", {}).get("gb_per_s")


def roof_shares(
    content: dict[str, Any], model: str, side: int, batch: int, rate: float
) -> tuple[float | None, float | None]:
    """Return what shares of two roofs a number of images a second is.

    The plain roof is the highest arithmetic measured, for the whole network. The layered one lets each layer reach its
    own roof, arithmetic or memory, whichever is lower, and all between the layers be free: every layer reads its inputs
    and writes its outputs once, and its weights once a batch. S. Williams et al., "Roofline" (2009).
    """
    work = content["work"].get(f"{model}/{side}")
    gmac_per_s, gb_per_s = find_ceilings(content)
    if work is None or gmac_per_s is None:
        return None, None
    plain = rate * work["gmac"] / gmac_per_s
    if gb_per_s is None:
        return plain, None
    seconds = sum(
        max(macs / 1e9 / gmac_per_s, (num_bytes + weight_bytes / batch) / 1e9 / gb_per_s)
        for macs, num_bytes, weight_bytes in work["layers"]
    )
    return plain, rate * seconds


def _of_roof(content: dict[str, Any], engine: str | None) -> Criterion:
    """Judge by the roof of the layers, which is what the network can reach layer by layer; tell the plain one too."""
    found = best(content, CHAMPION, engine, alone, launch=list_launches(engine)) if engine else None
    plain, layered = roof_shares(content, CHAMPION, CRITERION_SIDE, found.batch, found.rate) if found else (None, None)
    if found is None or plain is None or layered is None:
        return Criterion(wanted=_OF_ROOF, verdict="not measured", found="no computing alone, or no ceiling, was timed")
    told = (
        f"{layered:.0%} of the roof of its layers, each bound by arithmetic or memory, at batch {found.batch} "
        f"({found.rate:.0f} images/s, {found.id}), which is judged; {plain:.0%} of the plain roof, the peak arithmetic "
        "for the whole"
    )
    return Criterion(wanted=_OF_ROOF, verdict="met" if layered >= LEAST_OF_ROOF else "not met", found=told)


def _psnr(content: dict[str, Any], engine: str | None) -> Criterion:
    found = [
        (result["accuracy"]["psnr_hole_db"], task_id)
        for task_id, parts, result in read_cells(content)
        if parts[0] == engine
        and parts[1:4] == ["float16", CHAMPION, str(CRITERION_SIDE)]
        and result["status"] == "done"
    ]
    if not found:
        return Criterion(wanted=_PSNR, verdict="not measured", found="no cell of an FP16 engine ran")
    if any(psnr is None for psnr, _ in found):
        bad = next(task_id for psnr, task_id in found if psnr is None)
        return Criterion(wanted=_PSNR, verdict="not met", found=f"{bad} gave values that are not finite")
    lowest, task_id = min(found)
    verdict: Verdict = "met" if lowest >= LEAST_PSNR_DB else "not met"
    return Criterion(
        wanted=_PSNR, verdict=verdict, found=f"at least {lowest:.1f} dB over {len(found)} cells, lowest in {task_id}"
    )
