"""How much faster is a batch of photos than the same photos one by one, and how close does it get to the limit?

Five modes run over the same photos and file types, in alternating rounds:

* one by one: decode, fill and encode one photo after another;
* overlapped: the batch pipeline with one stream, which has all threads;
* streams: the batch pipeline with one stream for each thread, as ``wp infer FOLDER`` runs it;
* files only: decode and encode one photo after another, without filling;
* engine only: run patches of the same sizes through the engine in as many streams, without files.

No pipeline can exceed the limit: the engine uses all threads by itself, so its time adds to the files' time divided by
the number of threads.

The masks, three boxes on each photo, are drawn with a fixed seed. The report, batch.json and batch.md, goes into a new
folder.
"""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.one_line_errors import OneLineErrors
from wavepaint.contract import Precision
from wavepaint.runtime.batch import fill_jobs
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.engines.openvino import cpu_precisions
from wavepaint.runtime.engines.session import Session
from wavepaint.runtime.images import read_mask, read_photo, write_photo
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.jobs import Job


def draw_masks(photos: list[Path], folder: Path) -> list[Path]:
    """Draw a mask of three boxes of 16 to 64 pixels for each photo."""
    generator, masks = np.random.default_rng(0), []
    for number, path in enumerate(photos):
        with Image.open(path) as image:
            width, height = image.size
        mask = np.zeros((height, width), np.uint8)
        for _ in range(3):
            high, wide = generator.integers(16, 65, 2)
            top, left = generator.integers(0, [height - high, width - wide])
            mask[top : top + high, left : left + wide] = 255
        masks.append(folder / f"{number}.png")
        Image.fromarray(mask).save(masks[-1])
    return masks


def find_sizes(inpainter: Inpainter, jobs: list[Job]) -> list[tuple[int, ...]]:
    """Return the shapes of the image tensors that the engine gets when the jobs are filled."""
    shapes: list[tuple[int, ...]] = []
    session = inpainter._session
    run = session.run

    def note(*tensors: Any) -> Any:
        shapes.append(tensors[0].shape)
        return run(*tensors)

    session.run = note  # type: ignore[method-assign]
    for _ in fill_jobs(inpainter, jobs, overwrite=True):
        pass
    session.run = run  # type: ignore[method-assign]
    return shapes


def run_engine(session: Session, shapes: list[tuple[int, ...]], streams: int) -> None:
    """Run a batch of each shape, with one thread for each stream."""
    batches = {shape: np.random.default_rng(0).random(shape, dtype=np.float32) for shape in set(shapes)}

    def run(shape: tuple[int, ...]) -> None:
        session.run(batches[shape], np.zeros((shape[0], 1, *shape[2:]), np.float32))

    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(run, shapes))


def race(
    photos: list[Path], suffix: str, engine: EngineName, precision: Precision | Auto, threads: int, rounds: int
) -> dict[str, Any]:
    """Return the median images/s of each mode over alternating rounds, and the engine's name."""
    rates: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as work,
        Inpainter(engine=engine, precision=precision, threads=threads) as one,
        Inpainter(engine=engine, precision=precision, threads=threads, streams=threads) as many,
    ):
        folder = Path(work)
        masks = draw_masks(photos, folder)
        jobs = [
            Job(photo, mask, folder / "out" / f"{photo.stem}{suffix}")
            for photo, mask in zip(photos, masks, strict=True)
        ]
        shapes = find_sizes(many, jobs)

        def one_by_one() -> None:
            for job in jobs:
                assert job.mask is not None
                assert isinstance(job.out, Path)
                write_photo(one.fill_photo(read_photo(job.image), read_mask(job.mask)), job.out, overwrite=True)

        def files_only() -> None:
            for job in jobs:
                assert job.mask is not None
                assert isinstance(job.out, Path)
                read_mask(job.mask)
                write_photo(read_photo(job.image), job.out, overwrite=True)

        def together(inpainter: Inpainter) -> Callable[[], None]:
            def run() -> None:
                statuses = {result.status for result in fill_jobs(inpainter, jobs, overwrite=True)}
                assert statuses == {"filled"}

            return run

        modes: dict[str, Callable[[], None]] = {
            "one by one": one_by_one,
            "overlapped": together(one),
            "streams": together(many),
            "files only": files_only,
            "engine only": lambda: run_engine(many._session, shapes, threads),
        }
        for number in range(rounds + 1):
            for name, run in modes.items():
                started = time.perf_counter()
                run()
                if number:  # the first round warms up
                    rates.setdefault(name, []).append(len(jobs) / (time.perf_counter() - started))
        limits = [
            1 / (1 / engine + 1 / files / threads)
            for engine, files in zip(rates["engine only"], rates["files only"], strict=True)
        ]
        return {
            "engine": many.engine,
            "limit": float(np.median(limits)),
            "share_of_limit": float(np.median(np.divide(rates["streams"], limits))),
            "suffix": suffix,
            "images_per_s": {name: float(np.median(values)) for name, values in rates.items()},
            "times_one_by_one": {
                name: float(np.median(np.divide(values, rates["one by one"]))) for name, values in rates.items()
            },
            "rounds": rates,
        }


def markdown(report: dict[str, Any]) -> str:
    modes = list(report["rows"][0]["images_per_s"])
    lines = [
        "# Filling a batch of photos",
        "",
        f"{report['date'][:10]}, {report['num_photos']} photographs of {report['megapixels']:.2f} megapixels on "
        f"average, three boxes of 16 to 64 pixels each, {report['threads']} threads, {report['rounds']} rounds, "
        f"{report['machine']['processor']}. Median images/s, and in parentheses the median ratio to "
        "one by one of the same round. Command: "
        f"`{report['command']}`",
        "",
    ]
    rows = [["engine", "result", *modes, "limit", "streams reach"]]
    for row in report["rows"]:
        rates = row["images_per_s"]
        cells = [f"{rates[mode]:.1f} ({row['times_one_by_one'][mode]:.2f})" for mode in modes]
        cells += [f"{row['limit']:.1f}", f"{row['share_of_limit']:.0%}"]
        rows.append([row["engine"], row["suffix"][1:].upper(), *cells])
    return "\n".join([*lines, *make_markdown_table(rows)]) + "\n"


@click.command(cls=OneLineErrors)
@click.argument("photos", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Alternating rounds.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="CPU threads.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(photos: Path, out: Path, rounds: int, threads: int, overwrite: bool) -> None:
    """Time the batch pipeline on the JPEG files in the folder PHOTOS."""
    found = sorted(photos.glob("*.jpg"))
    areas = []
    for path in found:
        with Image.open(path) as image:
            areas.append(image.width * image.height / 1e6)
    executions: list[tuple[EngineName, Precision]] = [("ort-cpu", "float32")]
    executions += [("openvino", precision) for precision in cpu_precisions()]
    report = {
        **describe_run("batch"),
        "num_photos": len(found),
        "megapixels": float(np.mean(areas)),
        "rounds": rounds,
        "threads": threads,
        "rows": [
            race(found, suffix, engine, precision, threads, rounds)
            for engine, precision in executions
            for suffix in (".jpg", ".png")
        ],
    }
    page = markdown(report)
    write_report(out, "batch", report, page, overwrite=overwrite)
    click.echo(page)


if __name__ == "__main__":
    main()
