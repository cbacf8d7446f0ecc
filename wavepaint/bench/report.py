"""What a race came to, for people: a table, Markdown, a plot, and a comparison with a former race."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wavepaint.atomic import write_file
from wavepaint.bench.race import Result
from wavepaint.errors import ConfigError
from wavepaint.optional import require

HEADER = (
    "model", "engine", "precision", "size", "batch", "p50 ms", "p90 ms", "p99 ms", "images/s", "vs", "GMAC/s",
    "of roof", "MB",
)  # fmt: skip
_LEFT = 3
"""Columns of text, aligned to the left."""

Key = tuple[str, str, str, int, int, int]


def key_of(row: dict[str, Any]) -> Key:
    """Return what identifies a cell in every race."""
    return (row["model"], row["engine"], row["precision"], row["height"], row["width"], row["batch"])


def find_ratio(result: Result, results: Sequence[Result], rival: str) -> float | None:
    """Return images a second over the rival's in the same engine, precision and batch at the same size."""
    for other in results:
        same = (other.engine, other.precision, other.batch) == (result.engine, result.precision, result.batch)
        close = abs(other.height - result.height) < 32  # sizes are rounded up to each model's multiple
        if other.model == rival and same and close and other.images_per_s and result.images_per_s:
            return result.images_per_s / other.images_per_s
    return None


def make_rows(results: Sequence[Result], rival: str) -> list[tuple[str, ...]]:
    """Return the table's rows; a cell that was not timed says why in place of its figures."""
    rows: list[tuple[str, ...]] = []
    for r in results:
        head = (r.model, r.engine, r.precision, f"{r.width}x{r.height}", str(r.batch))
        if r.images_per_s is None or r.p50_ms is None:
            rows.append((*head, r.problem))
            continue
        ratio = find_ratio(r, results, rival)
        rows.append(
            (
                *head,
                f"{r.p50_ms:.1f}",
                f"{r.p90_ms:.1f}",
                f"{r.p99_ms:.1f}",
                f"{r.images_per_s:.1f}",
                f"{ratio:.2f}" if ratio else "",
                f"{r.gmac * r.images_per_s:.0f}",
                f"{r.roofline:.0%}" if r.roofline else "",
                f"{r.peak_memory_mb:.0f}" if r.peak_memory_mb is not None else "",
            )
        )
    return rows


def _header(rival: str) -> tuple[str, ...]:
    return tuple(f"vs {rival}" if column == "vs" else column for column in HEADER)


def make_table(results: Sequence[Result], rival: str) -> str:
    """Return a table for a terminal."""
    header, rows = _header(rival), make_rows(results, rival)
    timed = [row for row in rows if len(row) == len(header)]
    lines = iter(align([header, *timed], _LEFT).splitlines())
    told = [next(lines)]
    for row in rows:
        told.append(next(lines) if row in timed else "  ".join(row))
    return "\n".join(told)


def align(rows: Sequence[tuple[str, ...]], num_left: int) -> str:
    """Return rows of one length in columns, the first ones aligned to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < num_left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def make_markdown(
    report: dict[str, Any], results: Sequence[Result], rival: str, splits: Sequence[tuple[str, ...]] = ()
) -> str:
    """Return the race as a page; ``splits`` are the rows of where a photo's time goes."""
    machine, header = report["machine"], _header(rival)
    lines = [
        "# Race",
        "",
        f"{report['date'][:10]}, {machine['processor']}, {machine['cores']} cores, "
        f"threads: {report['threads'] or 'all'}, {report['rounds']} alternating rounds. Memory copies at "
        f"{report['copy_gb_per_s']:.1f} GB/s. Command: `{report['command']}`",
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
    ]
    for row in make_rows(results, rival):
        lines.append("| " + " | ".join((*row, *[""] * (len(header) - len(row)))) + " |")
    models = {r.model: r for r in results}
    lines += ["", "| model | weights | million parameters | GMAC at 256x256 |", "|---|---|---|---|"]
    lines += [
        f"| {r.model} | {r.weights} | {r.num_parameters / 1e6:.2f} | {r.gmac * 256**2 / (r.height * r.width):.1f} |"
        for r in models.values()
    ]
    if splits:
        lines += ["", "Where the time of one photo goes:", "", "| " + " | ".join(splits[0]) + " |"]
        lines += ["|" + "---|" * len(splits[0]), *("| " + " | ".join(row) + " |" for row in splits[1:])]
    return "\n".join(lines) + "\n"


def write_plot(path: Path, results: Sequence[Result], *, overwrite: bool) -> None:
    """Draw images a second of every model in every engine, from p99 to the fastest tenth as whiskers.

    Raises:
        EngineError: matplotlib is not installed.
        OutputError: The file exists already, or cannot be written.
    """
    require("matplotlib", extra="plot")
    from matplotlib.figure import Figure

    timed = [r for r in results if r.images_per_s and r.p50_ms and r.p90_ms]
    groups = list(dict.fromkeys((r.engine, r.precision, r.height, r.batch) for r in timed))
    models = list(dict.fromkeys(r.model for r in timed))
    figure = Figure(figsize=(2 + 1.6 * len(groups), 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(len(models), 1)
    for index, model in enumerate(models):
        own = [r for r in timed if r.model == model]
        places = [groups.index((r.engine, r.precision, r.height, r.batch)) + (index + 0.5) * width - 0.4 for r in own]
        rates = [r.images_per_s or 0.0 for r in own]
        slow = [rate - r.batch / (r.p90_ms or 1) * 1e3 for r, rate in zip(own, rates, strict=True)]
        axes.bar(places, rates, width * 0.95, yerr=[slow, [0.0] * len(own)], capsize=2, label=model)
    axes.set_xticks(range(len(groups)), [f"{e}\n{p}\n{s}x{s}, {b}" for e, p, s, b in groups], fontsize=8)
    axes.set_ylabel("images a second (whisker: p90 latency)")
    axes.set_yscale("log")
    axes.legend()
    axes.grid(axis="y", alpha=0.3)
    with write_file(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, dpi=120, format=path.suffix.lstrip(".") or "png")


def find_slowdowns(results: Sequence[Result], former: Path, margin: float) -> list[str]:
    """Return what has become slower than in a former race by more than a margin, in words.

    Args:
        results: The new race.
        former: The JSON of the former one.
        margin: 0.1 allows 10 % more latency.

    Raises:
        ConfigError: The file is no such JSON, or holds none of these cells.
    """
    try:
        rows = json.loads(former.read_text())["results"]
        before = {key_of(row): row["p50_ms"] for row in rows if row["p50_ms"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{former} is not the --json file of a race ({error}).") from error
    both = [(r, before[key_of(r.as_dict())]) for r in results if r.p50_ms and key_of(r.as_dict()) in before]
    if not both:
        raise ConfigError(f"{former} holds none of these models, engines and sizes, so there is nothing to compare.")
    return [
        f"{r.model} in {r.engine} {r.precision} at {r.width}x{r.height}, batch {r.batch}: {r.p50_ms:.1f} ms, "
        f"was {p50:.1f} ({r.p50_ms / p50 - 1:+.0%})"
        for r, p50 in both
        if r.p50_ms and r.p50_ms > p50 * (1 + margin)
    ]
