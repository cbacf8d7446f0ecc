"""Table 1 of "Resource-efficient Image Inpainting" on this machine: CNN, LaMa and WaveMix-Inpainting.

Images/s are measured at the paper's 96x96 and at 256x256 with batch 1, in eager PyTorch (which the paper timed on a
GPU) and in ONNX Runtime and OpenVINO on the CPU, in alternating rounds of one run. Compare the ratios between rows with
the paper's, not the absolute times.

With --photos, the seconds of an epoch are the median step of this repository's trainer at the paper's batch of 40,
times the 2,000 steps of its 80,000 training images; no training is completed. All models, LaMa included, train only
their generator with the paper's loss.

Quality is measured only for a trained --bundle, on the same photos: SSIM over the whole 96x96 image and PSNR inside the
hole. The paper's FID needs the weights of an Inception network, which this project does not have.

The paper does not give the shape of its network with 14 M parameters. docs/models.md explains the one used here.

The report, table1.json and table1.md, goes into a new folder.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from wavepaint import Inpainter
from wavepaint.atomic import check_target
from wavepaint.bench.cells import ON_CPU, Result, list_cells
from wavepaint.bench.classical import Pixels
from wavepaint.bench.entrants import BASELINES, Subject, open_subject
from wavepaint.bench.quality import MASKS, load_pairs, measure_quality
from wavepaint.bench.race import NOISY_VARIATION, race
from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.progress import print_line
from wavepaint.data.masks import describe_kind
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.errors import ConfigError
from wavepaint.metrics import image_quality
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.training.loop import Trainer
from wavepaint.training.recipes import get_recipe
from wavepaint.training.reporter import Reporter

ROWS = {"cnn": "Custom CNN", "lama": "LaMa", "wavemix-inpainting": "WaveMix-Inpainting"}
PAPER = {
    "cnn": {"million_parameters": 12, "fid": 86.373, "ssim": 0.850, "epoch_s": 665, "images_per_s": 192},
    "lama": {"million_parameters": 27, "fid": 70.294, "ssim": 0.893, "epoch_s": 4_861, "images_per_s": 112},
    "wavemix-inpainting": {
        "million_parameters": 14, "fid": 64.784, "ssim": 0.902, "epoch_s": 1_387, "images_per_s": 137,
    },
}  # fmt: skip
SIZES = (96, 256)
BATCH, SIDE, EPOCH_IMAGES = 40, 96, 80_000
NOT_MEASURED = "not measured"


class StepClock(Reporter):
    """A reporter that records when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step(self, step: int, loss: float, images_per_s: float) -> None:
        self.ends.append(time.perf_counter())


def time_epoch(name: str, photos: Path, steps: int) -> float:
    """Return the seconds of one of the paper's epochs, from the median of ``steps`` training steps after the first."""
    architecture, parameters = BASELINES[name]
    config = replace(get_recipe("wavemix-stl10"), architecture=architecture, hyper_parameters=parameters)
    # One more step than is timed keeps validation and the end of the epoch out of the timed steps.
    length = {"steps": steps + 2, "steps_per_epoch": steps + 2, "batch_size": BATCH}
    config = config.change({"data": {"test_fraction": 0.0}, "optimization": length})
    clock = StepClock()
    with tempfile.TemporaryDirectory() as out:
        Trainer(config, photos, Path(out)).run(clock, should_stop=lambda: len(clock.ends) > steps)
    return float(np.median(np.diff(clock.ends))) * EPOCH_IMAGES / BATCH


def score(bundle: Path, photos: PhotoSource) -> dict[str, float]:
    """Return a bundle's quality on 96x96 photos with medium holes."""
    ssims: list[float] = []
    pairs = load_pairs(photos, SIDE)
    truth = iter(pairs)
    with Inpainter(bundle) as inpainter:

        def fill(image: Pixels, mask: Pixels) -> Pixels:
            filled = np.asarray(inpainter.fill(image, mask > 0, FillOptions(strategy="whole")))
            ssims.append(image_quality.ssim(filled / 255, next(truth)[0] / 255))
            return filled

        quality = measure_quality(fill, pairs)
    return {"ssim": statistics.fmean(ssims), "ssim_hole": quality.ssim, "psnr_hole_db": quality.psnr_db}


def find_rate(results: Sequence[Result], name: str, engine: str, side: int) -> float | None:
    rates = [r.images_per_s for r in results if (r.model, r.engine, r.height) == (name, engine, side)]
    return rates[0] if rates else None


def markdown(report: dict[str, Any], results: Sequence[Result]) -> str:
    """Return the page: this machine's table, then the paper's."""
    machine = report["machine"]
    epoch_head = f"s per epoch ({report['steps']} steps, extrapolated)" if report["epoch_s"] else "s per epoch"
    header = ["model", "M parameters", *(f"{e} {s}x{s}" for e in ON_CPU for s in SIZES), epoch_head, "SSIM", "FID"]
    lines = [
        "# Table 1 on this machine",
        "",
        f"{report['date'][:10]}, {machine['processor']}, {machine['cores']} cores, threads: {report['threads']}, "
        f"{report['rounds']} alternating rounds; the paper: one NVIDIA 1080 with 12 GB. Command: `{report['command']}`",
        "",
        "Images/s in float32 with batch 1, each with its ratio to LaMa's. Compare rows with each other, not with the "
        "paper's. Weights are random unless a bundle is named. An epoch has 80,000 images.",
        "",
    ]
    table = [header]
    for name, title in ROWS.items():
        cells = [title, f"{next(r for r in results if r.model == name).num_parameters / 1e6:.2f}"]
        for engine in ON_CPU:
            for side in SIZES:
                rate, rival = find_rate(results, name, engine, side), find_rate(results, "lama", engine, side)
                cells.append(f"{rate:.2f} ({rate / rival:.2f})" if rate and rival else NOT_MEASURED)
        epoch, quality = report["epoch_s"].get(name), report["quality"].get(name)
        cells.append(f"{epoch:,.0f} ({epoch / report['epoch_s']['lama']:.2f})" if epoch else NOT_MEASURED)
        cells.append(f"{quality['ssim']:.3f}" if quality else NOT_MEASURED)
        table.append([*cells, NOT_MEASURED])
    lines += [*make_markdown_table(table), "", "The paper's:", ""]
    table = [["model", "M parameters", "images/s", "s per epoch", "SSIM", "FID"]]
    for name, title in ROWS.items():
        row, rival_row = PAPER[name], PAPER["lama"]
        table.append(
            [
                title,
                str(row["million_parameters"]),
                f"{row['images_per_s']} ({row['images_per_s'] / rival_row['images_per_s']:.2f})",
                f"{row['epoch_s']:,} ({row['epoch_s'] / rival_row['epoch_s']:.2f})",
                f"{row['ssim']:.3f}",
                str(row["fid"]),
            ]
        )
    lines += make_markdown_table(table)
    problems = [f"- {r.model} in {r.engine} at {r.height}x{r.height}: {r.problem}" for r in results if r.problem]
    noise = max((r.variation or 0.0 for r in results), default=0.0)
    note = f"Rounds vary by up to {noise:.0%}"
    if noise > NOISY_VARIATION:
        note += (
            ": something else was using this machine. Ratios within a column come from alternating rounds and are "
            "affected least. The seconds per epoch were measured one model after another and are affected most"
        )
    lines += ["", f"{note}.", *problems]
    return "\n".join(lines) + "\n"


def parse_bundles(pairs: Sequence[str]) -> dict[str, Path]:
    bundles: dict[str, Path] = {}
    for pair in pairs:
        name, _, folder = pair.partition("=")
        if name not in ROWS or not folder or not Path(folder).is_dir():
            raise ConfigError(f"{pair!r} is not the bundle of a row: expected {'|'.join(ROWS)}=FOLDER (--bundle).")
        bundles[name] = Path(folder)
    return bundles


@click.command()
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option("--photos", type=click.Path(path_type=Path), help="Folder of photos for training steps and quality.")
@click.option("--bundle", "bundles", multiple=True, help="A trained bundle, such as cnn=FOLDER; repeatable.")
@click.option("--steps", type=click.IntRange(min=1), default=5, show_default=True, help="Timed training steps.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Alternating rounds.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Minimum time for each cell in each round.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: each engine's choice.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(
    out: Path,
    photos: Path | None,
    bundles: tuple[str, ...],
    steps: int,
    rounds: int,
    seconds: float,
    threads: int | None,
    overwrite: bool,
) -> None:
    """Measure Table 1 on this machine; omitted parts say "not measured"."""
    check_target(out, overwrite)
    trained = parse_bundles(bundles)
    scenes = open_source(photos) if photos is not None else None
    if trained and scenes is None:
        raise ConfigError("the quality of a --bundle is measured on photos: give a folder of photos (--photos).")
    subjects: list[Subject] = []
    for name in ROWS:
        bundle = open_subject(str(trained[name])).bundle if name in trained else open_subject(name).bundle
        subjects.append(Subject(name, bundle, name in trained))
    cells = list_cells(subjects, SIZES, [1], engines=ON_CPU, precisions=["float32"])
    results = race(
        cells,
        threads=threads,
        rounds=rounds,
        seconds=seconds,
        on_progress=print_line,
    )
    epochs: dict[str, float] = {}
    for name in ROWS if photos is not None else ():
        print_line(f"training steps of {name}")
        epochs[name] = time_epoch(name, photos, steps)  # type: ignore[arg-type]
    report = {
        **describe_run("table1"),
        "threads": threads or "each engine's choice",
        "rounds": rounds,
        "seconds": seconds,
        "steps": steps,
        "num_photos": len(scenes.names) if scenes else 0,
        "masks": describe_kind(MASKS),
        "paper": PAPER,
        "results": [result.as_dict() for result in results],
        "epoch_s": epochs,
        "quality": {name: score(folder, scenes) for name, folder in trained.items() if scenes},
    }
    page = markdown(report, results)
    write_report(out, "table1", report, page, overwrite=overwrite)
    click.echo(page)


if __name__ == "__main__":
    main()
