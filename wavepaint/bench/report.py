"""What a race came to, for people: a table, Markdown, and a comparison with a former race."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wavepaint.bench.cells import Result
from wavepaint.bench.classical import OPENCV
from wavepaint.errors import ConfigError

HEADER = (
    "model", "engine", "precision", "size", "batch", "p50 ms", "p90 ms", "p99 ms", "images/s", "vs", "GMAC/s",
    "of roof", "of copy", "MB",
)  # fmt: skip
DEVICE_HEADER = ("GPU MB",)
QUALITY_HEADER = ("PSNR dB", "SSIM")
"""Inside the hole; only where something that was raced has them."""
_LEFT = 3
"""Columns of text, aligned to the left."""

Key = tuple[str, str, str, int, int, int]


def make_key(row: dict[str, Any]) -> Key:
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
    told_quality = _has_quality(results)
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
                f"{r.gmac * r.images_per_s:.0f}" if r.gmac else "",
                f"{r.roofline:.0%}" if r.roofline else "",
                f"{r.copy_share:.1%}" if r.copy_share else "",
                _number(r.peak_memory_mb, ".0f"),
                *((_number(r.device_memory_mb, ".0f"),) if _has_device(results) else ()),
                *(_describe_quality(r) if told_quality else ()),
            )
        )
    return rows


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _has_device(results: Sequence[Result]) -> bool:
    return any(r.device_memory_mb is not None for r in results)


def _has_quality(results: Sequence[Result]) -> bool:
    return any(r.hole_psnr_db is not None for r in results)


def _describe_quality(r: Result) -> tuple[str, str]:
    if r.hole_psnr_db is None or r.hole_ssim is None:
        return ("", "")
    return (f"{r.hole_psnr_db:.2f}", f"{r.hole_ssim:.4f}")


def _header(rival: str, results: Sequence[Result]) -> tuple[str, ...]:
    header = tuple(f"vs {rival}" if column == "vs" else column for column in HEADER)
    device = DEVICE_HEADER if _has_device(results) else ()
    return (*header, *device, *(QUALITY_HEADER if _has_quality(results) else ()))


def make_table(results: Sequence[Result], rival: str) -> str:
    """Return a table for a terminal."""
    header, rows = _header(rival, results), make_rows(results, rival)
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
    report: dict[str, Any],
    results: Sequence[Result],
    rival: str,
    splits: Sequence[tuple[str, ...]] = (),
    profiles: Sequence[tuple[str, ...]] = (),
) -> str:
    """Return the race as a page.

    Args:
        report: What the JSON holds.
        results: The race's.
        rival: The model that ratios refer to.
        splits: Rows of where a photo's time goes, the header first; none for none.
        profiles: Rows of where the engine's time goes, likewise.
    """
    machine = report["machine"]
    lines = [
        "# Race",
        "",
        f"{report['date'][:10]}, {machine['processor']}, {machine['cores']} cores, "
        f"threads: {report['threads'] or 'all'}, {report['rounds']} alternating rounds. Memory copies at "
        f"{report['copy_gb_per_s']:.1f} GB/s. Command: `{report['command']}`",
        "",
        f"Timed on noise with a square hole of {report['hole_share']:.0%} of the image. `of roof` is the share of the "
        "multiply-accumulates that the engine reaches in plain convolutions; `of copy` the share of the memory's "
        "rate of copying that is surely reached: every weight once and once the tensors that are alive when they take "
        "most memory, which is a floor.",
        *_tell_notes(report, results),
        "",
        *_make_table([_header(rival, results), *make_rows(results, rival)]),
        "",
    ]
    models = {r.model: r for r in results if r.weights != "none"}
    lines += _make_table(
        [
            ("model", "weights", "million parameters", "GMAC at 256x256"),
            *(
                (r.model, r.weights, f"{r.num_parameters / 1e6:.2f}", f"{r.gmac * 256**2 / (r.height * r.width):.1f}")
                for r in models.values()
            ),
        ]
    )
    if splits:
        lines += ["", "Where the time of one photo goes:", "", *_make_table(splits)]
    if profiles:
        lines += ["", "Where the engine's time goes, by its own profile:", "", *_make_table(profiles)]
    return "\n".join(lines) + "\n"


def _tell_notes(report: dict[str, Any], results: Sequence[Result]) -> list[str]:
    """Return what a reader must know of quality and of OpenCV, each behind an empty line."""
    notes = []
    if _has_quality(results):
        notes += [
            "",
            f"Quality: means over {report['num_photos']} photos, inside medium holes that are the same for all "
            f"({report['masks']}); none is shown where weights are random.",
        ]
    if any(r.engine == OPENCV and r.images_per_s for r in results):
        notes += [
            "",
            "OpenCV's methods fill 8-bit images one after another on one core, in a time that grows with the hole; "
            "that of a network does not depend on it.",
        ]
    return notes


def _make_table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a Markdown table, the header first; short rows are filled up."""
    width = len(rows[0])
    told = ["| " + " | ".join((*row, *[""] * (width - len(row)))) + " |" for row in rows]
    return [told[0], "|" + "---|" * width, *told[1:]]


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
        before = {make_key(row): row["p50_ms"] for row in rows if row["p50_ms"]}
    except OSError as error:
        raise ConfigError(f"{former} cannot be read: {error.strerror or error} (--compare).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{former} is not the --json file of a race ({error}).") from error
    both = [(r, before[make_key(r.as_dict())]) for r in results if r.p50_ms and make_key(r.as_dict()) in before]
    if not both:
        raise ConfigError(f"{former} holds none of these models, engines and sizes, so there is nothing to compare.")
    return [
        f"{r.model} in {r.engine} {r.precision} at {r.width}x{r.height}, batch {r.batch}: {r.p50_ms:.1f} ms, "
        f"was {p50:.1f} ({r.p50_ms / p50 - 1:+.0%})"
        for r, p50 in both
        if r.p50_ms and r.p50_ms > p50 * (1 + margin)
    ]
