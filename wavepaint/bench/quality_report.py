"""Report of a comparison of fills: tables, wins, and pictures of fills at random and of the worst."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from wavepaint.bench.classical import Pixels
from wavepaint.bench.fill_scores import FillScores, count_wins, summarise
from wavepaint.bench.report import make_markdown_table
from wavepaint.evaluation.photo_cases import Case
from wavepaint.metrics.repetition import measure_repetition
from wavepaint.picture_grid import make_grid, mark_hole

MAX_ROWS, PICTURE_PIXELS = 10, 27 * 256 * 256
"""Rows of a picture, and pixels of a column."""
PICTURE_SEED = 0
COPY_COLOUR = (255, 0, 0)
METRICS = {
    "psnr_hole_db": ("PSNR in the hole", "{:.2f} dB"),
    "ssim_hole": ("SSIM in the hole", "{:.4f}"),
    "l1_hole": ("L1 in the hole", "{:.4f}"),
    "lpips_hole": ("LPIPS in the hole", "{:.4f}"),
    "lpips_around": ("around it", "{:.4f}"),
    "lpips": ("LPIPS", "{:.4f}"),
    "lines_joined": ("lines joined", "{:.1%}"),
    "lines_continued": ("length continued", "{:.1%}"),
    "repetition": ("repetition", "{:.4f}"),
    "ms_per_image": ("ms", "{:.0f}"),
    "num_photos": ("fills", "{:.0f}"),
}


@dataclass
class Run:
    """Fills of a method and their scores."""

    outputs: list[Pixels] = field(default_factory=list)
    scores: list[FillScores] = field(default_factory=list)
    seconds: float = 0

    def summarise(self) -> dict[str, float]:
        return summarise(self.scores) | {"ms_per_image": self.seconds / len(self.scores) * 1e3}


Results = dict[str, dict[str, Run]]
"""Runs by set and method. The first methods are the bundles."""


def describe_results(results: Results, bundles: Sequence[str]) -> dict[str, Any]:
    """Return the means, the wins of each bundle and the scores of all fills as plain values."""
    wins: dict[str, dict[str, dict[str, float]]] = {bundle: {} for bundle in bundles}
    for bundle, by_set in wins.items():
        for name, runs in results.items():
            shares = {method: count_wins(runs[bundle].scores, run.scores) for method, run in runs.items()}
            by_set[name] = {m: share for m, share in shares.items() if m != bundle and share is not None}
    return {
        "results": {name: {method: run.summarise() for method, run in runs.items()} for name, runs in results.items()},
        "wins": wins,
        "fills": {
            name: {method: [asdict(one) for one in run.scores] for method, run in runs.items()}
            for name, runs in results.items()
        },
    }


def choose_pictures(runs: dict[str, Run], name: str, size: int) -> dict[str, list[int]]:
    """Return the fills to show by the picture's title: at random, and the worst of the first method."""
    number = min(MAX_ROWS, max(PICTURE_PIXELS // size**2, 1))
    scores = next(iter(runs.values())).scores
    chosen = {name: sorted(np.random.default_rng(PICTURE_SEED).permutation(len(scores))[:number].tolist())}
    if scores[0].lpips_hole is not None:
        chosen[f"{name}-worst-lpips"] = sorted(range(len(scores)), key=lambda i: -(scores[i].lpips_hole or 0))[:number]
    chosen[f"{name}-worst-repetition"] = sorted(range(len(scores)), key=lambda i: -scores[i].repetition)[:number]
    return chosen


def mark_copies(case: Case, filled: Pixels) -> Pixels:
    marked = filled.copy()
    for row, column in measure_repetition(case.photo, filled, case.mask).copies:
        marked[row - 1 : row + 1, column - 1 : column + 1] = COPY_COLOUR
    return marked


def draw_pictures(runs: dict[str, Run], cases: Sequence[Case], name: str, size: int) -> dict[str, Image.Image]:
    pictures = {}
    for title, chosen in choose_pictures(runs, name, size).items():
        rows = []
        for i in chosen:
            case, first = cases[i], next(iter(runs.values())).outputs[i]
            fills = [run.outputs[i] if i < len(run.outputs) else np.full_like(case.photo, 255) for run in runs.values()]
            copies = [mark_copies(case, first)] if title.endswith("repetition") else []
            rows.append((mark_hole(case.photo, case.mask), *fills, *copies, case.photo))
        columns = ("hole", *runs, *(["copies"] if title.endswith("repetition") else []), "original")
        pictures[title] = make_grid(rows, columns)
    return pictures


def make_page(report: dict[str, Any]) -> str:
    """Write a table for each set, and the wins of each bundle over every other method."""
    lines: list[str] = []
    for name, rows in report["results"].items():
        number = max(row["num_lines"] for row in rows.values())
        shown = [metric for metric in METRICS if any(metric in row for row in rows.values())]
        table = [["method", *(METRICS[metric][0] for metric in shown)]]
        for method, row in rows.items():
            table.append([method, *(METRICS[m][1].format(row[m]) if m in row else "-" for m in shown)])
        lines += [f"## {name}", "", f"{report['masks'][name]}; {number} lines.", "", *make_markdown_table(table), ""]
    for bundle, by_set in report["wins"].items():
        methods = list(dict.fromkeys(method for wins in by_set.values() for method in wins))
        if methods:
            table = [["set", *methods]]
            table += [
                [name, *(f"{wins[m]:.0%}" if m in wins else "-" for m in methods)] for name, wins in by_set.items()
            ]
            lines += [
                f"## Wins of {bundle}",
                "",
                "Share of the fills with a lower LPIPS in the hole than the method's.",
            ]
            lines += ["", *make_markdown_table(table), ""]
    return "\n".join(lines)
