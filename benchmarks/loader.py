"""How many crops per second does the loader deliver, from a folder, a tar and a zip, with and without augmentation?

Each case loads every photo twice. The first pass reads and decodes the photos. The second finds them in memory if they
fit and the same process decoded them before, which with two processes holds for about half of them. A data set far
larger than memory is always in its first pass. Nothing is trained, so the loader has the machine to itself. The clock
starts after the processes and stops before their work ends.

The fastest of several alternating rounds counts. Other programs may be using the machine, so the report includes its
load and, for loading in the main process, the CPU time per crop, which other programs hardly change.

Crops have --size pixels and thin, medium and thick masks. "plain" scales, crops and flips; "full" also changes
perspective (0.02) and colour (0.2). The report, loader.json and loader.md, goes into a new folder.
"""

import itertools
import os
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL
import torch
from torch.utils.data import DataLoader

from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.one_line_errors import OneLineErrors
from wavepaint.data.augment import Augmentation
from wavepaint.data.masks import MASK_KINDS, MaskSampler
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.training.crops import RandomCrops, read_batches

WORKERS = (0, 1, 2)
BATCH = 16
AHEAD = 8
"""Batches after the last timed one, so that no process idles before the end."""
CHANGES: dict[str, dict[str, float]] = {"plain": {}, "full": {"perspective": 0.02, "colour": 0.2}}


def pack(photos: Path, names: list[str], folder: Path) -> dict[str, Path]:
    """Copy the photos into a tar and a zip without compression."""
    with tarfile.open(folder / "photos.tar", "w") as tar, zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for name in names:
            tar.add(photos / name, name)
            archive.write(photos / name, name)
    return {"folder": photos, "tar": folder / "photos.tar", "zip": folder / "photos.zip"}


def time_passes(source: PhotoSource, augmentation: Augmentation, workers: int) -> dict[str, list[float]]:
    """Return images/s and this process's CPU milliseconds per image, in the first and the second pass."""
    number = len(source.names) // BATCH
    crops = RandomCrops(
        source,
        source.names,
        augmentation,
        MaskSampler(MASK_KINDS),
        seed=0,
        num_samples=(1 + 2 * number + AHEAD) * BATCH,
        workers=workers,
    )
    batches = read_batches(DataLoader(crops, batch_size=BATCH, num_workers=workers))
    next(batches)  # starts the processes
    ends, cpu_ends = [time.perf_counter()], [time.process_time()]
    for _ in range(2):
        for _ in itertools.islice(batches, number):
            pass
        ends.append(time.perf_counter())
        cpu_ends.append(time.process_time())
    batches.close()
    num_images = number * BATCH
    return {
        "images_per_s": (num_images / np.diff(ends)).tolist(),
        "cpu_ms": (np.diff(cpu_ends) / num_images * 1e3).tolist(),
    }


def measure(sources: dict[str, PhotoSource], size: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each case, with the fastest of the alternating rounds for each pass."""
    cases = list(itertools.product(sources, CHANGES, WORKERS))
    passes: dict[tuple[str, str, int], list[dict[str, list[float]]]] = {case: [] for case in cases}
    for _ in range(rounds):
        for kind, changes, workers in cases:
            augmentation = Augmentation(crop_size=size, min_scale=0.25, max_scale=1.0, **CHANGES[changes])  # type: ignore[arg-type]
            passes[kind, changes, workers].append(time_passes(sources[kind], augmentation, workers))
    rows = []
    for (kind, changes, workers), values in passes.items():
        rows.append(
            {
                "source": kind,
                "augmentation": changes,
                "workers": workers,
                "images_per_s": np.max([value["images_per_s"] for value in values], axis=0).tolist(),
                "cpu_ms": np.min([value["cpu_ms"] for value in values], axis=0).tolist() if workers == 0 else None,
                "rounds": values,
            }
        )
    return rows


def markdown(report: dict[str, Any]) -> str:
    lines = [
        "# The loader",
        "",
        f"{report['date'][:10]}, {report['num_photos']} photographs of {report['megapixels']:.2f} megapixels and "
        f"{report['kilobytes']:.0f} kB on average, crops of {report['size']} pixels in batches of {BATCH}, "
        f"{report['rounds']} alternating rounds, {report['machine']['processor']}, {report['machine']['cores']} cores, "
        f"PyTorch {report['torch']}, Pillow {report['pillow']}. Images/s of the fastest round. The machine's load was "
        f"{report['load_before']:.1f} at the beginning and {report['load_after']:.1f} at the end, of which up to "
        f"{max(WORKERS) + 1} is the script's own. Command: `{report['command']}`",
        "",
    ]
    header = ["photos in a", "augmentation", "workers", "first pass (decoding)", "second pass (memory)"]
    rows = [
        [
            row["source"],
            row["augmentation"],
            str(row["workers"]),
            *(f"{rate:.0f}" for rate in row["images_per_s"]),
            "{:.1f} and {:.1f} ms".format(*row["cpu_ms"]) if row["cpu_ms"] else "",
        ]
        for row in report["rows"]
    ]
    return "\n".join([*lines, *make_markdown_table([[*header, "CPU time per crop"], *rows])]) + "\n"


@click.command(cls=OneLineErrors)
@click.argument("photos", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option("--size", type=click.IntRange(min=16), default=256, show_default=True, help="Side of the crops.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Alternating rounds.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(photos: Path, out: Path, size: int, rounds: int, overwrite: bool) -> None:
    """Time the loader on the photos in the folder PHOTOS and its subfolders."""
    torch.set_num_threads(1)
    folder, load_before = open_source(photos), os.getloadavg()[0]
    names = list(folder.names)
    with tempfile.TemporaryDirectory() as work:
        sources = {kind: open_source(path) for kind, path in pack(photos, names, Path(work)).items()}
        rows = measure(sources, size, rounds)
    report = {
        **describe_run("loader"),
        "torch": str(torch.__version__),
        "pillow": PIL.__version__,
        "numpy": np.__version__,
        "num_photos": len(names),
        "megapixels": float(np.mean([np.prod(folder.measure(name)) / 1e6 for name in names])),
        "kilobytes": float(np.mean([(photos / name).stat().st_size / 1e3 for name in names])),
        "size": size,
        "rounds": rounds,
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
        "rows": rows,
    }
    page = markdown(report)
    write_report(out, "loader", report, page, overwrite=overwrite)
    click.echo(page)


if __name__ == "__main__":
    main()
