"""Tables, plot and pictures of the race against other programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wavepaint.atomic import write_file
from wavepaint.bench.peer_inputs import Pair, iterate_pixels
from wavepaint.bench.peer_race import COLD, TASKS, TITLES, Cell
from wavepaint.bench.peers import REFERENCE, Contender, Installation
from wavepaint.bench.report import make_markdown_table
from wavepaint.optional import require
from wavepaint.picture_grid import make_grid, mark_hole

_RIVALS = (REFERENCE, "IOPaint")
_PICTURE_SIDE = 256


def make_page(report: Mapping[str, Any], targets: Sequence[Sequence[str]]) -> str:
    """Return the Markdown page of a report; see ``benchmarks/peers.py``.

    Args:
        report: The content of the JSON file.
        targets: A table: what the race should show, and whether it did.
    """
    machine, settings = report["machine"], report["settings"]
    lines = [
        "# The race against other programs",
        "",
        f"{report['date'][:10]}, {machine['processor']}, {machine['cores']} cores. {report['weights']} "
        f"Command: `{report['command']}`",
        "",
        f"All contenders of a task alternate in {settings['rounds']} rounds; figures are medians. A contender whose "
        f"first fill takes more than {settings['slow_s']:g} s is timed by that fill alone; the tables count the "
        f"fills. A program is ended after {settings['limit_s']:g} s for a photo, or at {settings['memory_gb']:g} GB. "
        "Seconds are from file to file in a program that stays open, except in the folder and the cold start, which "
        "are whole commands. Memory is the peak of the process and its children since its start. "
        "Files are in the system's cache.",
        "",
    ]
    lines += ["## Targets", "", *make_markdown_table(targets), "", "## Settings", ""]
    lines += make_markdown_table([["program", "what runs the model"], *report["labels"].items()])
    lines += ["", "## Installed", ""]
    rows = [["environment", "pip install", "MB", "versions"]]
    for name, one in report["installations"].items():
        versions = ", ".join(f"{package} {version}" for package, version in one["versions"].items())
        rows.append([name, " ".join(one["requirements"]), f"{one['num_bytes'] / 1e6:.0f}", versions])
    lines += make_markdown_table(rows)
    cells = [Cell(**cell) for cell in report["cells"]]
    for task in TASKS:
        own = [cell for cell in cells if cell.task == task]
        if own:
            lines += ["", f"## {TITLES[task]}", "", *make_markdown_table(make_rows(own))]
    if report["habits"]:
        lines += ["", "## Habits", "", "One file each, by the program's own command.", ""]
        lines += make_markdown_table(report["habits"])
    return "\n".join(lines) + "\n"


def make_rows(cells: Sequence[Cell]) -> list[list[str]]:
    """Return the table of a task; a contender that was not timed shows its problem instead of times."""
    is_folder = any(cell.num_photos > 1 for cell in cells)
    has_fills = any(cell.num_changed is not None for cell in cells)
    header = ["program", "seconds", "fills", "CPU seconds", "memory MB"]
    header += [f"times as fast as {name}" for name in _RIVALS]
    header += ["images/s"] if is_folder else []
    header += ["largest difference", "changed known pixels", "PSNR in the hole"] if has_fills else []
    rows = [header]
    for cell in cells:
        seconds = cell.median_s
        if seconds is None:
            memory = f"{cell.peak_mb:.0f}" if cell.peak_mb else ""
            rows.append([cell.contender, cell.problem, "", "", memory])
            continue
        row = [cell.contender, format_seconds(seconds), str(len(cell.seconds)), format_seconds(cell.median_cpu_s)]
        row += [f"{cell.peak_mb:.0f}"]
        row += [_format(find_ratio(cell, cells, name), ".2f") for name in _RIVALS]
        row += [f"{cell.num_photos / seconds:.2f}"] if is_folder else []
        if has_fills:
            row += [_format(cell.difference, "d"), _format(cell.num_changed, ","), _format(cell.psnr_db, ".1f")]
        rows.append(row)
    return rows


def find_ratio(cell: Cell, cells: Sequence[Cell], rival: str) -> float | None:
    """Return how many times as fast as a rival a contender is: the median over rounds that both have."""
    for other in cells:
        if other.contender == rival and other is not cell and other.seconds and cell.seconds:
            if len(other.seconds) == len(cell.seconds):
                return float(np.median(np.divide(other.seconds, cell.seconds)))
            return float(np.median(other.seconds) / np.median(cell.seconds))
    return None


def format_seconds(seconds: float | None) -> str:
    """Return seconds with three significant digits."""
    if seconds is None:
        return ""
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.3g}"


def _format(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def draw_fills(contenders: Sequence[Contender], fills: Mapping[str, list[Path]], pairs: Sequence[Pair]) -> Image.Image:
    """Return the photos with their holes and every contender's fills side by side, one row for each photo."""
    photos = list(iterate_pixels([pair.image for pair in pairs]))
    masks = [mask[..., 0] for mask in iterate_pixels([pair.mask for pair in pairs])]
    columns = [[mark_hole(photo, mask) for photo, mask in zip(photos, masks, strict=True)]]
    titles = ["hole"]
    for contender in contenders:
        if contender.name in fills:
            titles.append(contender.name)
            columns.append(list(iterate_pixels(fills[contender.name])))
    shrunk = [[_shrink(image) for image in column] for column in columns]
    return make_grid(list(zip(*shrunk, strict=True)), titles)


def _shrink(image: Any) -> Any:
    size = (_PICTURE_SIDE, _PICTURE_SIDE)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def write_plot(path: Path, cells: Sequence[Cell], *, overwrite: bool) -> None:
    """Draw seconds and peak memory in every task: of the contenders of the cold start, or of all if there is none.

    Raises:
        EngineError: matplotlib is not installed.
        OutputError: The file exists, or cannot be written.
    """
    require("matplotlib", extra="plot")
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    tasks = [task for task in TASKS if any(cell.task == task for cell in cells)]
    main = {cell.contender for cell in cells if cell.task == COLD} or {cell.contender for cell in cells}
    shown = [cell for cell in cells if cell.contender in main]
    names = list(dict.fromkeys(cell.contender for cell in shown))
    figure = Figure(figsize=(11, 0.9 + 0.62 * len(tasks)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, title in ((left, "seconds"), (right, "peak memory, GB")):
        for number, name in enumerate(names):
            values = {cell.task: cell for cell in shown if cell.contender == name}
            places, lengths = [], []
            for row, task in enumerate(tasks):
                cell = values.get(task)
                place = row + (number + 0.5 - len(names) / 2) * 0.8 / len(names)
                value = _get_value(cell, axes is left)
                if value is not None:
                    places.append(place)
                    lengths.append(value)
                if cell is not None and cell.problem and axes is left:
                    axes.text(0.02, place, cell.problem, transform=axes.get_yaxis_transform(), fontsize=6, va="center")
            axes.barh(places, lengths, 0.8 / len(names) * 0.95, label=name, color=f"C{number}")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # by default they are powers of ten
        axes.xaxis.set_minor_formatter("")
        axes.set_xlabel(title)
        axes.margins(y=0.01)
        axes.grid(axis="x", alpha=0.3)
    left.set_yticks(range(len(tasks)), [TITLES[task] for task in tasks], fontsize=8)
    left.invert_yaxis()
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4))
    with write_file(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def _get_value(cell: Cell | None, is_time: bool) -> float | None:
    if cell is None:
        return None
    return cell.median_s if is_time else (cell.peak_mb / 1e3 or None)


def describe_installations(
    requirements: Mapping[str, Sequence[str]], installations: Mapping[str, Installation]
) -> dict[str, Any]:
    """Return the installations as plain values; a checkout's path is shortened to ``.``."""
    return {
        name: {
            "requirements": [
                ("." + text[text.index("[") :]) if text.startswith("/") else text for text in requirements[name]
            ],
            "num_bytes": one.num_bytes,
            "versions": dict(one.versions),
        }
        for name, one in installations.items()
    }
