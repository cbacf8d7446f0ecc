"""A race as a picture: images a second of every model in every engine, and against quality where that was measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wavepaint.atomic import write_file
from wavepaint.bench.cells import Result
from wavepaint.optional import require


def write_plot(path: Path, results: Sequence[Result], *, overwrite: bool) -> None:
    """Draw images a second, with a whisker to the p90 latency, and, if there are photos' scores, against PSNR.

    Raises:
        EngineError: matplotlib is not installed.
        OutputError: The file exists already, or cannot be written.
    """
    require("matplotlib", extra="plot")
    from matplotlib.figure import Figure

    timed = [r for r in results if r.images_per_s and r.p50_ms and r.p90_ms]
    scored = [r for r in timed if r.hole_psnr_db is not None]
    groups = list(dict.fromkeys((r.engine, r.precision, r.height, r.batch) for r in timed))
    colours = {model: f"C{index}" for index, model in enumerate(dict.fromkeys(r.model for r in timed))}
    widths = [2 + 1.6 * len(groups), 5.0] if scored else [2 + 1.6 * len(groups)]
    figure = Figure(figsize=(sum(widths), 4.5), layout="constrained")
    panels = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    _draw_throughput(panels[0], timed, groups, colours)
    if scored:
        _draw_quality(panels[1], scored, colours)
    with write_file(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, dpi=120, format=path.suffix.lstrip(".") or "png")


def _draw_throughput(axes: Any, timed: Sequence[Result], groups: list[Any], colours: dict[str, str]) -> None:
    width = 0.8 / max(len(colours), 1)
    for index, (model, colour) in enumerate(colours.items()):
        own = [r for r in timed if r.model == model]
        places = [groups.index((r.engine, r.precision, r.height, r.batch)) + (index + 0.5) * width - 0.4 for r in own]
        rates = [r.images_per_s or 0.0 for r in own]
        slow = [rate - r.batch / (r.p90_ms or 1) * 1e3 for r, rate in zip(own, rates, strict=True)]
        whiskers = [slow, [0.0] * len(own)]
        axes.bar(places, rates, width * 0.95, yerr=whiskers, capsize=2, label=model, color=colour)
    axes.set_xticks(range(len(groups)), [f"{e}\n{p}\n{s}x{s}, {b}" for e, p, s, b in groups], fontsize=8)
    axes.set_ylabel("images a second (whisker: p90 latency)")
    axes.set_yscale("log")
    axes.legend()
    axes.grid(axis="y", alpha=0.3)


def _draw_quality(axes: Any, scored: Sequence[Result], colours: dict[str, str]) -> None:
    sizes = sorted({r.height for r in scored})
    for r in scored:
        marker = "osD^v"[sizes.index(r.height) % 5]
        axes.plot(r.images_per_s, r.hole_psnr_db, marker, color=colours[r.model])
        label = f"{r.model}, {r.engine} {r.precision}, {r.height}"
        place = (r.images_per_s, r.hole_psnr_db)
        # Slanted, since one model stands at one height in every engine.
        axes.annotate(label, place, xytext=(3, 3), textcoords="offset points", fontsize=6, rotation=45)
    axes.set_xscale("log")
    axes.set_xlabel("images a second")
    axes.set_ylabel("PSNR inside the hole, dB")
    axes.margins(0.3)
    axes.grid(alpha=0.3)
