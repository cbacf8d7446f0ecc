"""The report of the ablation: one tidy CSV, a Markdown page beside the papers' figures, and plots."""

import csv
import io
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wavepaint.atomic import write_file
from wavepaint.bench.ablation_studies import PAPER_EPOCH_IMAGES, STUDIES, Row, Study
from wavepaint.bench.report import make_markdown_table
from wavepaint.optional import require

Record = Mapping[str, Any]
"""One line of the CSV: a training, and its quality on one set of holes."""

COLUMNS = (
    "study", "row", "seed", "architecture", "hyper_parameters", "train_masks", "test_holes", "hole_side",
    "million_parameters", "steps", "num_images", "l1", "l2", "psnr_db", "ssim", "psnr_hole_db", "ssim_hole",
    "images_per_s", "epoch_s", "peak_memory_mb", "problem",
)  # fmt: skip
"""Columns of the CSV. ``l1`` and ``l2`` are over the whole image, in levels of 255, as the paper's seem to be; PSNR and
SSIM are over the whole image, or inside the hole."""

_QUALITY = {"l1": ".3f", "l2": ".2f", "psnr_db": ".2f", "ssim": ".4f"}
_TITLES = {
    "l1": "L1", "l2": "L2", "psnr_db": "PSNR", "ssim": "SSIM", "psnr_hole_db": "PSNR in the hole",
    "blocks_per_module": "blocks", "final_dim": "dimension", "num_modules": "modules", "level": "levels",
    "input_reduction": "input reduction",
}  # fmt: skip
_DEFAULTS = {"input_reduction": True, "wavelet": "haar"}
NOTHING = "not measured"

Records = Mapping[tuple[str, str], Sequence[Record]]
"""The lines by study and row."""


def write_csv(path: Path, records: Sequence[Record]) -> None:
    """Write the lines, and replace an earlier file."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(records)
    with write_file(path, overwrite=True) as temporary:
        temporary.write_text(stream.getvalue(), "utf-8")


def group_records(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """Return the lines by study and row."""
    grouped: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        grouped.setdefault((record["study"], record["row"]), []).append(record)
    return grouped


def format_mean(lines: Sequence[Record], column: str, form: str) -> str:
    """Return the mean over seeds, with the standard deviation if there are several."""
    values = [float(line[column]) for line in lines if line.get(column) not in (None, "")]
    if not values:
        return NOTHING
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{form}}{spread}"


def make_page(report: Mapping[str, Any], names: Sequence[str], records: Sequence[Record]) -> str:
    """Return the Markdown page.

    Args:
        report: Facts of the run: ``date``, ``command``, ``machine``, ``budget``, ``num_photos``, ``seeds``, ``jobs``,
            ``device``.
        names: The studies, in the order of the page.
        records: The lines of the CSV.
    """
    machine, budget = report["machine"], report["budget"]
    grouped = group_records(records)
    shrunk = f"**All widths are divided by {budget['shrink']}.** " if budget["shrink"] > 1 else ""
    seeds = "one seed" if report["seeds"] == 1 else f"{report['seeds']} seeds (mean ± standard deviation)"
    lines = [
        "# The papers' ablations on this machine",
        "",
        f"{report['date'][:10]}, {machine['processor']}, {machine['cores']} cores, {report['device']}. "
        f"Command: `{report['command']}`",
        "",
        f"{shrunk}Every row trains from random weights on the same {report['num_photos']} photos at "
        f"{budget['size']}x{budget['size']}, split by name into training, validation and test photos (80 : 10 : 10), "
        f"for {budget['steps']} steps of {budget['batch_size']} images, with {seeds}. The paper trains for up to 100 "
        f"epochs of {PAPER_EPOCH_IMAGES:,} images of STL-10. Loss (SSIM and MAE at 3 : 1) and AdamW are the paper's; "
        "the learning rate falls along a cosine. The weights with the best PSNR in validation are tested once.",
        "",
        "L1 and L2 are means over the whole image in levels of 255, and L2 is squared. The paper does not define its "
        "own; its L2 and PSNR agree with that reading. Compare the order of the rows, not the values: data and budget "
        "differ.",
    ]
    if report["jobs"] > 1:
        lines += [
            "",
            f"{report['jobs']} trainings ran at the same time, so their images/s cannot be compared. Those that "
            "measure only cost ran alone.",
        ]
    for name in names:
        study = STUDIES[name]
        lines += ["", f"## {study.title}", "", study.question, ""]
        lines += _describe_study(name, study, grouped)
    problems = dict.fromkeys(f"- {r['study']}, {r['row']}: {r['problem']}" for r in records if r.get("problem"))
    if problems:
        lines += ["", "## Rows without a result", "", *problems]
    return "\n".join(lines) + "\n"


def _describe_study(name: str, study: Study, grouped: Records) -> list[str]:
    if study.by_hole_size:
        return _make_hole_size_part(name, study, grouped)
    if all(row.is_timed_only for row in study.rows):
        return _make_cost_part(name, study, grouped)
    return _make_quality_part(name, study, grouped)


def _get_lines(grouped: Records, name: str, row: Row, *, side: int | None = None) -> list[Record]:
    """Return a row's lines for the holes it trained on, or for those of one side."""
    lines = grouped.get((name, row.name), [])
    return [line for line in lines if line.get("hole_side") in ((None, "") if side is None else (side,))]


def _make_quality_part(name: str, study: Study, grouped: Records) -> list[str]:
    papers = [column for column in _QUALITY if any(column in row.paper for row in study.rows)]
    varied = [_TITLES.get(column, column) for column in study.varied]
    measured = [_TITLES[column] for column in (*_QUALITY, "psnr_hole_db")]
    theirs = [f"paper's {_TITLES[column]}" for column in papers]
    table = [["row", *varied, "M parameters", *measured, *theirs, "images/s", "peak MB"]]
    for row in study.rows:
        own = _get_lines(grouped, name, row)
        shape = _DEFAULTS | dict(row.hyper_parameters)
        table.append(
            [
                row.name,
                *(_format_setting(shape[column]) for column in study.varied),
                format_mean(own[:1], "million_parameters", ".2f"),
                *(format_mean(own, column, form) for column, form in _QUALITY.items()),
                format_mean(own, "psnr_hole_db", ".2f"),
                *(f"{row.paper[column]:.3f}" for column in papers),
                format_mean(own, "images_per_s", ".1f"),
                format_mean(own, "peak_memory_mb", ".0f"),
            ]
        )
    return [*make_markdown_table(table), *(_compare_order(name, study, grouped, papers) if papers else [])]


def _format_setting(value: object) -> str:
    return {True: "done", False: "not done"}[value] if isinstance(value, bool) else str(value)


def _compare_order(name: str, study: Study, grouped: Records, papers: Sequence[str]) -> list[str]:
    """Say how many pairs of rows have the paper's order, by PSNR if the paper has it, else by SSIM."""
    column = "psnr_db" if "psnr_db" in papers else "ssim"
    found = []
    for row in study.rows:
        mean = _get_mean(_get_lines(grouped, name, row), column)
        if mean is not None:
            found.append((row.paper[column], mean))
    pairs = list(itertools.combinations(found, 2))
    if not pairs:
        return []
    agreeing = sum((a[0] - b[0]) * (a[1] - b[1]) > 0 for a, b in pairs)
    return ["", f"By {_TITLES[column]}, {agreeing} of {len(pairs)} pairs of rows are in the paper's order."]


def _list_sides(name: str, grouped: Records) -> list[int]:
    sides = {line.get("hole_side") for (study, _), lines in grouped.items() if study == name for line in lines}
    return sorted(int(side) for side in sides if side not in (None, ""))


def _make_hole_size_part(name: str, study: Study, grouped: Records) -> list[str]:
    sides = _list_sides(name, grouped)
    lines: list[str] = []
    for column, form in (("psnr_hole_db", ".2f"), ("ssim_hole", ".3f")):
        table = [["trained on", *(f"{side}x{side}" for side in sides)]]
        for row in study.rows:
            own = (_get_lines(grouped, name, row, side=side) for side in sides)
            table.append([row.name, *(format_mean(each, column, form) for each in own)])
        title = "PSNR in dB" if column == "psnr_hole_db" else "SSIM"
        lines += [
            f"{title} inside one square hole of that many pixels, at random places:",
            "",
            *make_markdown_table(table),
        ]
        lines.append("")
    return [*lines, f"![Quality against hole size]({name}.png)"] if sides else lines[:-1]


def _make_cost_part(name: str, study: Study, grouped: Records) -> list[str]:
    papers = {row.name: row.paper.get("epoch_s") for row in study.rows}
    lines = {row.name: _get_lines(grouped, name, row) for row in study.rows}
    table = [["network", "M parameters", "images/s", "s per epoch", "of LaMa's", "peak MB", "paper's s per epoch",
              "of LaMa's"]]  # fmt: skip
    rival = _get_mean(lines["LaMa"], "epoch_s")
    for row in study.rows:
        own, paper = lines[row.name], papers[row.name]
        seconds, paper_rival = _get_mean(own, "epoch_s"), papers["LaMa"]
        table.append(
            [
                row.name,
                format_mean(own[:1], "million_parameters", ".2f"),
                format_mean(own, "images_per_s", ".2f"),
                format_mean(own, "epoch_s", ",.0f"),
                f"{seconds / rival:.2f}" if seconds and rival else NOTHING,
                format_mean(own, "peak_memory_mb", ",.0f"),
                f"{paper:,}" if paper else "",
                f"{paper / paper_rival:.2f}" if paper and paper_rival else "",
            ]
        )
    note = (
        f"An epoch has {PAPER_EPOCH_IMAGES:,} images; its seconds are extrapolated from the median epoch of a short "
        "run, loading included. Peak memory is that of the process on a CPU, with PyTorch and the photos, and that of "
        "the tensors on a GPU. The paper trained on one NVIDIA 1080 and gives no memory."
    )
    return [*make_markdown_table(table), "", note]


def _get_mean(lines: Sequence[Record], column: str) -> float | None:
    values = [float(line[column]) for line in lines if line.get(column) not in (None, "")]
    return statistics.fmean(values) if values else None


def plot_hole_sizes(path: Path, name: str, records: Sequence[Record]) -> None:
    """Plot PSNR and SSIM inside the hole against its side, one line for each row, and replace an earlier file.

    Raises:
        EngineError: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    require("matplotlib", extra="plot")
    from matplotlib.figure import Figure

    grouped = group_records(records)
    sides = _list_sides(name, grouped)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, column, title in zip(
        figure.subplots(1, 2),
        ("psnr_hole_db", "ssim_hole"),
        ("PSNR inside the hole, dB", "SSIM inside the hole"),
        strict=True,
    ):
        for row in STUDIES[name].rows:
            means = [_get_mean(_get_lines(grouped, name, row, side=side), column) for side in sides]
            points = [(side, mean) for side, mean in zip(sides, means, strict=True) if mean is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=row.name)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sides, [str(side) for side in sides])
        axes.minorticks_off()
        axes.set_xlabel("side of the square hole, pixels")
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside upper center", ncols=3, title="trained on", fontsize=9)
    with write_file(path, overwrite=True) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
