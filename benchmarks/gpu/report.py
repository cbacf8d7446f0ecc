"""A record for people: criteria first, then what was measured, and what was not, in Markdown and two pictures."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.cells import Cell, list_heats
from benchmarks.gpu.criteria import alone, judge, read_cells, roof_shares, with_copies
from wavepaint.atomic import write_file
from wavepaint.optional import require

NAME, RATES_PLOT, ROOF_PLOT = "gpu-proof.md", "rates.png", "roof.png"

_DRY = (
    "**The card has not been seen.** This is a dry run on a machine without a GPU: it exercises everything but the "
    "card with tiny models on the CPU, so that its figures say that the script works, and nothing about speed."
)


def make_markdown(content: dict[str, Any], plots: Sequence[str] = ()) -> str:
    """Return the report of a record's content; ``plots`` are file names beside it."""
    lines = ["# Proof on a GPU", ""]
    if content["dry"]:
        lines += [_DRY, ""]
    lines += [*_describe_runs(content), "", "## Criteria", "", *_criteria(content)]
    lines += ["", "## Engines", "", *_engines(content)]
    lines += ["", "## Half precision in PyTorch", "", *_numerics(content)]
    lines += ["", "## Ceilings", "", *_ceilings(content)]
    lines += ["", "## Race", "", *_race(content)]
    for plot in plots:
        lines += ["", f"![{plot}]({plot})"]
    lines += ["", "## What failed, and what was not run", "", *_problems(content)]
    notes = {task_id: result["note"] for task_id, result in content["results"].items() if result.get("note")}
    if notes:
        lines += ["", "## Notes", "", *(f"- {reason} ({_shorten(ids)})" for reason, ids in _group(notes).items())]
    lines += ["", "## How", "", _HOW]
    return "\n".join(lines) + "\n"


_HOW = """Every cell is checked before it is timed: the first images of a batch and the last, photographs among them,
against the unfused network in PyTorch float32 (TF32 off) on the same device inside the hole; all of them for NaN and
infinity, and outside the hole bit for bit. Signal to noise is over the variance of the reference inside the hole: the
baselines' weights are random, and random networks fill with little contrast, which flatters their PSNR.

Cells of one size and batch are timed in alternating rounds. With copies: wall clock from the host's memory to the
host's memory, one batch after another, by one thread and through pinned memory (ONNX Runtime: from ordinary memory, as
it does it). Computing alone: CUDA events on tensors that lie on the device; the percentiles are of single runs, the
launch in them, and images a second are at the median of runs that are enqueued back to back, 20 ms at a time. ONNX
Runtime is timed with copies only. The criteria on throughput are judged on computing alone, since a session with
several lanes copies one batch while it computes another; the ratio with copies stands beside.

PyTorch in `float32` is exact: TF32 is off. `defaults` is what PyTorch does unless it is told otherwise: convolutions
round to TF32, other products do not. In `tf32` all do.

Device memory of engines and captured graphs is what the open cell takes beyond what was taken before, as the driver
tells it: weights, scratch memory, inputs and outputs. Of PyTorch without graphs it is the peak of one run in PyTorch's
own store: weights, and all that lives at once between the layers.

The plain roof is the highest rate of multiply-accumulates measured (matrix product or chain of convolutions) over those
of the fused network. The roof of the layers, by which the criterion is judged, lets each convolution and matrix product
be bound by arithmetic or by memory, whichever is slower, and everything between them be free: each reads its inputs and
writes its outputs once for every image, and reads its weights once for a batch. FP16 engines are plans of exactly the
shape that is timed, from graphs in which the sizes are numbers."""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return ["Not measured."]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in row) + " |" for row in rows]


def _describe_runs(content: dict[str, Any]) -> Iterator[str]:
    gpus = content["results"].get("engine/pytorch", {}).get("gpus") or []
    told = ", ".join(f"{gpu['name']} ({gpu['compute_capability']}, {gpu['memory_mb']} MiB)" for gpu in gpus)
    for number, run in enumerate(content["runs"], 1):
        machine = run["machine"]
        yield (
            f"Run {number}: {run['date']}, GPU: {told or 'none'}, {machine['processor']}, {machine['cores']} cores, "
            f"Python {machine['python']}, WavePaint {run['wavepaint']}. Command: `{run['command']}`"
        )


def _criteria(content: dict[str, Any]) -> list[str]:
    return _table(
        ("criterion", "verdict", "measured"), [(one.wanted, f"**{one.verdict}**", one.found) for one in judge(content)]
    )


def _of_kind(content: dict[str, Any], kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (task_id.split("/", 1)[1], result)
        for task_id, result in content["results"].items()
        if task_id.startswith(f"{kind}/")
    ]


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _engines(content: dict[str, Any]) -> list[str]:
    rows = []
    for name, result in _of_kind(content, "engine"):
        verdict = "works" if result["status"] == "done" else result.get("problem", "")
        versions = result.get("label") or " ".join(
            str(result[key]) for key in ("version", "cuda", "cudnn", "compute_capability") if result.get(key)
        )
        accuracy = result.get("accuracy") or {}
        if accuracy and not accuracy["passed"]:
            verdict = "runs, and its output is wrong"
        ready = _number(result.get("open_and_first_run_s"))
        rows.append((name, verdict, versions, ready, _number(accuracy.get("psnr_hole_db"))))
    return _table(("engine", "", "version", "s to the first result", "dB inside the hole"), rows)


def _numerics(content: dict[str, Any]) -> list[str]:
    rows = []
    for model, result in _of_kind(content, "numerics"):
        if result["status"] != "done":
            rows.append((model, result["status"], result.get("problem", ""), "", "", "", "", ""))
            continue
        for form, found in result.items():
            if isinstance(found, dict):
                rows.append((model, form, *_accuracy(found), found["case"]))
    header = (
        "model",
        "form",
        "dB in the hole",
        "signal to noise dB",
        "largest error",
        "not finite",
        "known",
        "worst of",
    )
    return _table(header, rows)


def _accuracy(found: dict[str, Any]) -> tuple[str, ...]:
    error = found["max_error"]
    return (
        _number(found["psnr_hole_db"]),
        _number(found["snr_hole_db"]),
        "" if error is None else f"{error:.1e}",
        str(found["num_not_finite"]),
        "identical" if found["known_identical"] else "**changed**",
    )


def _ceilings(content: dict[str, Any]) -> list[str]:
    rows = []
    for name, result in _of_kind(content, "ceiling"):
        if result["status"] != "done":
            rows.append((name, result.get("problem", ""), ""))
            continue
        rates = [f"{result[key]:.0f} {unit}" for key, unit in _CEILING_UNITS.items() if result.get(key)]
        rows.append((name, ", ".join(rates), f"{result.get('what', '')} {result.get('dtype', '')}".strip()))
    return _table(("ceiling", "best", "of"), rows)


_CEILING_UNITS = {
    "gmac_per_s": "GMAC/s",
    "gb_per_s": "GB/s on the device, read and written",
    "to_device_gb_per_s": "GB/s from pinned memory",
    "to_host_gb_per_s": "GB/s to pinned memory",
}


def _race(content: dict[str, Any]) -> list[str]:
    rows = []
    for _, (engine, precision, model, side, batch, launch, io_dtype), result in read_cells(content):
        if result["status"] != "done":
            continue
        copies, computing = result["with_copies"], result["compute"]
        rate = alone(result) if precision == "float16" else None
        shares = roof_shares(content, model, int(side), int(batch[1:]), rate) if rate else (None, None)
        accuracy = result["accuracy"]
        rows.append(
            (
                f"{engine} {precision}", model, f"{side}", batch[1:], launch, io_dtype,
                *(_number(copies[f"p{n}_ms"], 3) if copies else "" for n in (50, 90, 99)),
                _number(with_copies(result)),
                *(_number(computing[f"p{n}_ms"], 3) if computing else "" for n in (50, 90, 99)),
                _number(alone(result)),
                *("" if share is None else f"{share:.0%}" for share in shares),
                _number(result["device_mb"], 0) if not content["dry"] else "",
                _number(accuracy["psnr_hole_db"]) + ("" if accuracy["passed"] else " **failed**"),
                _number(accuracy["snr_hole_db"]),
            )
        )  # fmt: skip
    rows.sort(key=lambda row: (int(row[2]), int(row[3]), row[0], row[1], row[4], row[5]))
    header = (
        "engine", "model", "side", "batch", "launch", "edges", "p50 ms", "p90", "p99", "images/s", "alone p50 ms",
        "p90", "p99", "images/s", "of plain roof", "of layers' roof", "device MiB", "dB", "signal to noise dB",
    )  # fmt: skip
    return _table(header, rows)


def _problems(content: dict[str, Any]) -> list[str]:
    """Group what was not measured by its reason."""
    problems = {}
    for task_id, result in content["results"].items():
        if result["status"] != "done":
            where = f" ({result['where']})" if result.get("where") else ""
            problems[task_id] = f"{result['status']}: {result.get('problem', '').removeprefix('not run: ')}{where}"
    lines = [f"- {reason} ({_shorten(ids)})" for reason, ids in _group(problems).items()]
    lines += [f"- {run['stopped']}" for run in content["runs"] if run.get("stopped")]
    return [*lines, *(_describe_plan() if content["dry"] else ())] or ["Nothing."]


def _group(reasons: dict[str, str]) -> dict[str, list[str]]:
    """Return the ids of each reason."""
    groups: dict[str, list[str]] = {}
    for task_id, reason in reasons.items():
        groups.setdefault(reason, []).append(task_id)
    return groups


def _shorten(ids: Sequence[str]) -> str:
    return ", ".join(f"`{one}`" for one in ids[:4]) + (f" and {len(ids) - 4} more" if len(ids) > 4 else "")


def _describe_plan() -> list[str]:
    """Say what a run on a GPU measures, of which a dry run measured nothing."""
    tasks = [task for heat in list_heats(dry=False) for task in heat.tasks]
    cells = [task for task in tasks if isinstance(task, Cell)]

    def held(name: str) -> str:
        return ", ".join(str(value) for value in dict.fromkeys(getattr(cell, name) for cell in cells))

    return [
        f"- not run: all {len(tasks) - len(cells)} probes and {len(cells)} cells of the proof itself (`--list`): "
        f"engines {held('engine')}; models {held('model')}; sides {held('side')}; batches {held('batch')}; with and "
        "without CUDA graphs, float and byte edges"
    ]


def count_states(content: dict[str, Any]) -> str:
    """Return how many tasks are in which state, in words."""
    counts = Counter(result["status"] for result in content["results"].values())
    return ", ".join(f"{counts[state]} {state}" for state in ("done", "failed", "not run"))


def write_report(folder: Path, content: dict[str, Any]) -> list[Path]:
    """Write the report and, where there is something to draw and matplotlib to draw it, the pictures."""
    plots = write_plots(folder, content)
    path = folder / NAME
    with write_file(path, overwrite=True) as temporary:
        temporary.write_text(make_markdown(content, [plot.name for plot in plots]), "utf-8")
    return [path, *plots]


def write_plots(folder: Path, content: dict[str, Any]) -> list[Path]:
    """Draw images a second over the batch for each engine and size, and shares of the roof; return what was drawn."""
    try:
        require("matplotlib", extra="plot")
    except Exception:  # a report without pictures is better than none
        return []
    from matplotlib.figure import Figure

    written = []
    for name, rate, label, scale in (
        (RATES_PLOT, with_copies, "images a second, with copies", "log"),
        (ROOF_PLOT, None, "share of the layers' roof, computing alone", "linear"),
    ):
        curves = _curves(content, rate)
        sides = sorted({side for side, _ in curves})
        if not sides:
            continue
        figure = Figure(figsize=(5.5 * len(sides), 4.5), layout="constrained")
        for axes, side in zip(figure.subplots(1, len(sides), squeeze=False)[0], sides, strict=True):
            for (_, title), points in sorted((key, value) for key, value in curves.items() if key[0] == side):
                axes.plot(*zip(*sorted(points), strict=True), marker="o", label=title)
            axes.set_xscale("log", base=2)
            axes.set_yscale(scale)
            axes.set_title(f"{side}x{side}" + (" (dry run on a CPU, tiny models)" if content["dry"] else ""))
            axes.set_xlabel("batch")
            axes.set_ylabel(label)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=6)
        with write_file(folder / name, overwrite=True) as temporary:
            figure.savefig(temporary, dpi=110, format="png")
        written.append(folder / name)
    return written


def _curves(content: dict[str, Any], rate: Any) -> dict[tuple[int, str], list[tuple[int, float]]]:
    """Return (batch, value) by side and curve, of cells with float32 edges that passed their check."""
    curves: dict[tuple[int, str], list[tuple[int, float]]] = {}
    for _, (engine, precision, model, side, batch, launch, io_dtype), result in read_cells(content):
        if result["status"] != "done" or not result["accuracy"]["passed"] or io_dtype != "float32":
            continue
        if rate is not None:
            value = rate(result)
        else:
            found = alone(result) if precision == "float16" else None
            value = roof_shares(content, model, int(side), int(batch[1:]), found)[1] if found else None
        if value is not None:
            key = (int(side), f"{model}, {engine} {precision}" + (", graph" if launch == "graph" else ""))
            curves.setdefault(key, []).append((int(batch[1:]), value))
    return curves
