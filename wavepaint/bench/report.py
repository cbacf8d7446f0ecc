"""Tables of a benchmark's results for the terminal and in Markdown, and the comparison with an earlier benchmark."""

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wavepaint import __version__
from wavepaint.atomic import write_folder
from wavepaint.bench.cells import PYTORCH, Result
from wavepaint.bench.classical import OPENCV
from wavepaint.bench.gpu_proof import Criterion
from wavepaint.errors import ConfigError
from wavepaint.machine import describe_machine

HEADER = (
    "model", "engine", "precision", "size", "batch", "p50 ms", "p90 ms", "p99 ms", "images/s", "vs", "GMAC/s",
    "of roof", "of copy", "MB",
)  # fmt: skip
DEVICE_HEADER = ("GPU MB",)
COMPUTE_HEADER = ("compute ms", "images/s", "of layers' roof", "dB to float32")
"""Columns of a GPU, where calls are also timed without copies."""
QUALITY_HEADER = ("PSNR dB", "SSIM")
_NUM_LEFT = 3
"""Number of text columns, aligned to the left."""

Key = tuple[str, str, str, int, int, int]


def make_key(row: dict[str, Any]) -> Key:
    """Return the values that identify a cell in every benchmark."""
    return (row["model"], row["engine"], row["precision"], row["height"], row["width"], row["batch"])


def describe_run(script: str = "") -> dict[str, Any]:
    """Return date, command, version and machine as plain values.

    Args:
        script: Name of a script in benchmarks/; empty for ``wp``. For scripts, paths in the arguments are shortened to
            file names.
    """
    command = ["python", f"benchmarks/{script}.py"] if script else ["wp"]
    arguments = [Path(one).name if script and os.sep in one else one for one in sys.argv[1:]]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([*command, *arguments]),
        "wavepaint": __version__,
        "machine": describe_machine(),
    }


def write_report(
    out: Path,
    name: str,
    content: dict[str, Any],
    page: str,
    *,
    overwrite: bool,
    pictures: Mapping[str, Any] | None = None,
) -> None:
    """Write a folder with NAME.json, NAME.md, and a JPEG file for each picture, named by its key.

    Raises:
        OutputError: The folder exists, unless ``overwrite``, or cannot be written.
    """
    with write_folder(out, overwrite=overwrite) as folder:
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
        (folder / f"{name}.md").write_text(page)
        for title, picture in (pictures or {}).items():
            picture.save(folder / f"{title}.jpg", quality=72)


def find_ratio(result: Result, results: Sequence[Result], rival: str) -> float | None:
    """Return images/s over the rival's in the same engine, precision, batch and size; None if it was not timed."""
    for other in results:
        same = (other.engine, other.precision, other.batch) == (result.engine, result.precision, result.batch)
        close = abs(other.height - result.height) < 32  # sizes are rounded up to each model's multiple
        if other.model == rival and same and close and other.images_per_s and result.images_per_s:
            return result.images_per_s / other.images_per_s
    return None


def describe_fastest(results: Sequence[Result], rival: str) -> str:
    """Return one line: the fastest network at the largest size, and its rate over the rival's in PyTorch float32.

    It is empty if no network was timed.
    """
    timed = [result for result in results if result.images_per_s and result.weights != "none"]
    if not timed:
        return ""
    side = max(result.height for result in timed)
    fastest = max((r for r in timed if r.height == side), key=lambda result: result.images_per_s or 0)
    line = (
        f"fastest at {fastest.width}x{fastest.height}: {fastest.model} in {fastest.engine} {fastest.precision}, "
        f"{fastest.images_per_s:.1f} images/s"
    )
    in_pytorch = replace(fastest, engine=PYTORCH, precision="float32")
    ratio = find_ratio(in_pytorch, results, rival)
    return f"{line}, {ratio:.1f} times {rival} in {PYTORCH} float32" if ratio is not None else line


def make_rows(results: Sequence[Result], rival: str) -> list[tuple[str, ...]]:
    """Return the rows of the table; a cell that was not timed shows its problem instead of times."""
    rows: list[tuple[str, ...]] = []
    has_device, has_compute, has_quality = _find_columns(results)
    for r in results:
        head = (r.model, r.engine, r.precision, f"{r.width}x{r.height}", str(r.batch))
        if r.images_per_s is None:
            rows.append((*head, r.problem))
            continue
        row = (
            *head,
            *(_format(value, ".1f") for value in (r.p50_ms, r.p90_ms, r.p99_ms, r.images_per_s)),
            _format(find_ratio(r, results, rival), ".2f"),
            f"{r.gmac * r.images_per_s:.0f}" if r.gmac else "",
            _format(r.roofline, ".0%"),
            _format(r.copy_share, ".1%"),
            _format(r.peak_memory_mb, ".0f"),
        )
        if has_device:
            row += (_format(r.device_memory_mb, ".0f"),)
        if has_compute:
            row += (
                _format(r.compute_ms, ".3f"),
                _format(r.compute_images_per_s, ".0f"),
                _format(r.layer_roofline, ".0%"),
                _format(r.psnr_db, ".1f"),
            )
        if has_quality:
            row += (_format(r.hole_psnr_db, ".2f"), _format(r.hole_ssim, ".4f"))
        rows.append(row)
    return rows


def _format(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _find_columns(results: Sequence[Result]) -> tuple[bool, bool, bool]:
    """Return whether any result has device memory, compute times, and quality."""
    return (
        any(r.device_memory_mb is not None for r in results),
        any(r.compute_ms is not None for r in results),
        any(r.hole_psnr_db is not None for r in results),
    )


def _make_header(rival: str, results: Sequence[Result]) -> tuple[str, ...]:
    header = tuple(f"vs {rival}" if column == "vs" else column for column in HEADER)
    parts = zip((DEVICE_HEADER, COMPUTE_HEADER, QUALITY_HEADER), _find_columns(results), strict=True)
    return (*header, *(column for part, is_there in parts if is_there for column in part))


def make_table(results: Sequence[Result], rival: str) -> str:
    """Return a table for a terminal."""
    header, rows = _make_header(rival, results), make_rows(results, rival)
    timed = [row for row in rows if len(row) == len(header)]
    lines = iter(align([header, *timed], _NUM_LEFT).splitlines())
    table = [next(lines)]
    for row in rows:
        table.append(next(lines) if row in timed else "  ".join(row))
    return "\n".join(table)


def align(rows: Sequence[tuple[str, ...]], num_left: int) -> str:
    """Format rows of one length as a table; the first ``num_left`` columns are aligned to the left."""
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
    sections: Mapping[str, Sequence[tuple[str, ...]]] | None = None,
    criteria: Sequence[Criterion] = (),
) -> str:
    """Return the results as a Markdown page.

    Args:
        report: The content of the JSON file.
        results: The results.
        rival: The model that ratios refer to.
        sections: Further tables by title, header first; empty ones are left out.
        criteria: The verdicts of the GPU proof.
    """
    machine = report["machine"]
    copy = f" Memory copies at {report['copy_gb_per_s']:.1f} GB/s." if report["copy_gb_per_s"] else ""
    lines = [
        "# Race",
        "",
        f"{report['date'][:10]}, {machine['processor']}, {machine['cores']} cores, "
        f"threads: {report['threads'] or 'all'}, {report['rounds']} alternating rounds.{copy} "
        f"Command: `{report['command']}`",
        *_describe_proof(report, criteria),
        "",
        f"Timed on a photo with a square hole of {report['hole_share']:.0%} of the image. `of roof` is the share of "
        "the multiply-accumulates per second that plain convolutions reach. `of copy` is a lower bound of the share of "
        "the memory's copy rate that is reached: it counts every weight once, and every tensor that is alive at the "
        "peak of memory use once.",
        *_make_notes(report, results),
        "",
        *make_markdown_table([_make_header(rival, results), *make_rows(results, rival)]),
        "",
    ]
    if fastest := describe_fastest(results, rival):
        lines += [f"{fastest[0].upper()}{fastest[1:]}.", ""]
    models = {r.model: r for r in results if r.weights != "none"}
    lines += make_markdown_table(
        [
            ("model", "weights", "million parameters", "GMAC at 256x256"),
            *(
                (r.model, r.weights, f"{r.num_parameters / 1e6:.2f}", f"{r.gmac * 256**2 / (r.height * r.width):.1f}")
                for r in models.values()
            ),
        ]
    )
    for title, rows in (sections or {}).items():
        if rows:
            lines += ["", f"{title}:", "", *make_markdown_table(rows)]
    return "\n".join(lines) + "\n"


def _describe_proof(report: dict[str, Any], criteria: Sequence[Criterion]) -> list[str]:
    """Return the lines about the verdicts, the GPU and the runs of a GPU proof."""
    if not criteria:
        return []
    lines = ["", "## Criteria", ""]
    lines += make_markdown_table(
        [("criterion", "verdict", "measured"), *((c.wanted, f"**{c.verdict}**", c.found) for c in criteria)]
    )
    card = report.get("card")
    if card:
        lines += [
            "",
            f"Roofs of {card['name']}: {card['gmac_per_s']:.0f} GMAC/s, {card['copy_gb_per_s']:.0f} GB/s copied.",
        ]
    lines += [""]
    lines += [
        f"- Run {n}: {run['date']}, `{run['command']}` {run['stopped']}" for n, run in enumerate(report["runs"], 1)
    ]
    return [*lines, "", "## Cells"]


def _make_notes(report: dict[str, Any], results: Sequence[Result]) -> list[str]:
    """Return notes about what is missing, quality, compute times and OpenCV, each after an empty line."""
    notes = [text for line in report.get("missing", ()) for text in ("", line)]
    _, has_compute, has_quality = _find_columns(results)
    if has_quality:
        notes += [
            "",
            f"Quality: means over {report['num_photos']} photos, inside medium holes that are the same for all models "
            f"({report['masks']}); models with random weights have none.",
        ]
    if has_compute:
        notes += [
            "",
            "`compute ms` is the time of a call without copies, in calls enqueued back to back, and the `images/s` "
            "after it is the matching rate. In float16, `of roof` compares that rate with the GPU's peak. `of layers' "
            "roof` compares it with a bound that limits each layer by arithmetic or memory and counts nothing between "
            "layers. `dB to float32` is the PSNR inside the hole against PyTorch float32 with TF32 off; it is too high "
            "for random weights.",
        ]
    if any(r.engine == OPENCV and r.images_per_s for r in results):
        notes += [
            "",
            "OpenCV's methods fill 8-bit images one after another on one core, in a time that grows with the hole. "
            "The time of a network does not, except for the search for matches.",
        ]
    return notes


def make_markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, the header first; short rows are padded."""
    width = len(rows[0])
    lines = [
        "| " + " | ".join(cell.replace("|", "/") for cell in (*row, *[""] * (width - len(row)))) + " |" for row in rows
    ]
    return [lines[0], "|" + "---|" * width, *lines[1:]]


def read_results(path: Path, option: str) -> dict[str, Any]:
    """Read the JSON file of an earlier benchmark.

    Args:
        path: The file.
        option: The option that named it, for messages.

    Raises:
        ConfigError: The file cannot be read, or is not a benchmark.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        for row in content["results"]:
            make_key(row), row["p50_ms"]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error} ({option}).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not the --json file of a race ({error!r}; {option}).") from error
    return content


def find_slowdowns(results: Sequence[Result], former: Path, margin: float) -> list[str]:
    """Return a line for every cell that is slower than in an earlier benchmark by more than a margin.

    Args:
        results: The new results.
        former: The JSON file of the earlier benchmark.
        margin: 0.1 allows 10 % more latency.

    Raises:
        ConfigError: The file is not a benchmark, or has none of these cells.
    """
    rows = read_results(former, "--compare")["results"]
    before = {make_key(row): row["p50_ms"] for row in rows if row["p50_ms"]}
    both = [(r, before[make_key(r.as_dict())]) for r in results if r.p50_ms and make_key(r.as_dict()) in before]
    if not both:
        raise ConfigError(
            f"{former} has none of these models, engines and sizes, so there is nothing to compare (--compare)."
        )
    return [
        f"{r.model} in {r.engine} {r.precision} at {r.width}x{r.height}, batch {r.batch}: {r.p50_ms:.1f} ms, "
        f"was {p50:.1f} ({r.p50_ms / p50 - 1:+.0%})"
        for r, p50 in both
        if r.p50_ms and r.p50_ms > p50 * (1 + margin)
    ]
