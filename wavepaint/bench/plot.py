"""Plot the results: images/s of every model in every engine, and quality over images/s if quality was measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wavepaint.atomic import write_file
from wavepaint.bench.cells import Result
from wavepaint.errors import OutputError
from wavepaint.optional import require


def check_plot(path: Path) -> None:
    """Refuse a path that :func:`write_plot` cannot write, before any work is done.

    Raises:
        EngineError: matplotlib is not installed.
        OutputError: matplotlib writes no files of that suffix.
    """
    require("matplotlib", extra="plot")
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    if path.suffix and path.suffix.lstrip(".").lower() not in kinds:
        raise OutputError(f"{path}: a plot can be {', '.join(sorted(kinds))}, not {path.suffix}. Use .png.")


def write_plot(path: Path, results: Sequence[Result], *, overwrite: bool) -> None:
    """Draw images/s with a whisker to the p90 latency, and PSNR over images/s if quality was measured.

    Each size and batch has its own row, because only their cells compete.

    Raises:
        EngineError: matplotlib is not installed.
        OutputError: The file exists, or cannot be written.
    """
    require("matplotlib", extra="plot")
    from matplotlib.figure import Figure

    timed = [r for r in results if r.images_per_s and r.p50_ms and r.p90_ms]
    contests = list(dict.fromkeys((r.height, r.batch) for r in timed))
    colours = {model: f"C{index}" for index, model in enumerate(dict.fromkeys(r.model for r in timed))}
    has_quality = any(r.hole_psnr_db is not None for r in timed)
    num_executions = max(
        (len(_list_executions([r for r in timed if (r.height, r.batch) == c])) for c in contests), default=1
    )
    widths = [2 + 1.1 * num_executions, 4.5] if has_quality else [2 + 1.1 * num_executions]
    num_rows = max(len(contests), 1)
    figure = Figure(figsize=(sum(widths), 0.6 + 3.2 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, len(widths), squeeze=False, width_ratios=widths)
    for row, contest in zip(panels, contests, strict=False):
        own = [r for r in timed if (r.height, r.batch) == contest]
        _draw_throughput(row[0], own, colours)
        row[0].set_title(f"{contest[0]}x{contest[0]}, batch {contest[1]}", fontsize=9)
        if has_quality:
            _draw_quality(row[1], [r for r in own if r.hole_psnr_db is not None], colours)
    if contests:
        handles, labels = _collect_legend(panels[:, 0])
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    with write_file(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, dpi=120, format=path.suffix.lstrip(".") or "png")


def _list_executions(results: Sequence[Result]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((r.engine, r.precision) for r in results))


def _collect_legend(panels: Any) -> tuple[list[Any], list[str]]:
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    return list(entries.values()), list(entries)


def _draw_throughput(axes: Any, timed: Sequence[Result], colours: dict[str, str]) -> None:
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    executions = _list_executions(timed)
    width = 0.8 / max(len([r for r in timed if (r.engine, r.precision) == execution]) for execution in executions)
    for model, colour in colours.items():
        own = [r for r in timed if r.model == model]
        if not own:
            continue
        places, rates, slow = [], [], []
        for r in own:
            execution = (r.engine, r.precision)
            rivals = [other for other in timed if (other.engine, other.precision) == execution]
            places.append(executions.index(execution) + (rivals.index(r) + 0.5 - len(rivals) / 2) * width)
            rates.append(r.images_per_s or 0.0)
            slow.append(rates[-1] - r.batch / (r.p90_ms or 1) * 1e3)
        whiskers = [slow, [0.0] * len(own)]
        axes.bar(places, rates, width * 0.95, yerr=whiskers, capsize=2, label=model, color=colour)
    axes.set_xticks(range(len(executions)), [f"{engine}\n{precision}" for engine, precision in executions], fontsize=8)
    axes.set_ylabel("images/s\n(whisker: p90 latency)")
    axes.set_yscale("log")
    # Plain numbers; by default they are powers of ten.
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    axes.tick_params(axis="y", which="both", labelsize=8)
    axes.grid(axis="y", alpha=0.3)


def _draw_quality(axes: Any, scored: Sequence[Result], colours: dict[str, str]) -> None:
    for r in scored:
        axes.plot(r.images_per_s, r.hole_psnr_db, "o", color=colours[r.model])
        place = (r.images_per_s, r.hole_psnr_db)
        # Slanted, because a model has nearly the same PSNR in every engine, and level labels would overlap.
        axes.annotate(
            f"{r.engine} {r.precision}", place, xytext=(3, 3), textcoords="offset points", fontsize=6, rotation=45
        )
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter("")  # minor labels overlap within one decade
    axes.set_xlabel("images/s")
    axes.set_ylabel("PSNR inside the hole, dB")
    axes.margins(0.35)
    axes.grid(alpha=0.3)
