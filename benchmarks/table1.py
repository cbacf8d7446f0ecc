"""Table 1 of "Resource-efficient Image Inpainting" on this machine: CNN, LaMa and WaveMix-Inpainting.

Images/s are measured at the paper's 96x96 and at 256x256 with batch 1, in eager PyTorch (which the paper timed on a
GPU) and in ONNX Runtime and OpenVINO on the CPU, in alternating rounds of one run. Compare the ratios between rows with
the paper's, not the absolute times.

With --photos, the seconds of an epoch are the median step of this repository's trainer at the paper's batch of 40,
times the 2,000 steps of its 80,000 training images; no training is completed. All models, LaMa included, train only
their generator with the paper's loss.

--trained is a folder of ``benchmarks/ablation.py --studies table1``, which trains the three networks on the same photos
with the same budget and loss. Its SSIM (over the whole image) and PSNR inside the hole go into the table. The paper's
FID needs the weights of an Inception network, which this project does not have.

The paper does not give the shape of its network with 14 M parameters. docs/models.md explains the one used here.

The report, table1.json and table1.md, goes into a new folder.
"""

import csv
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from wavepaint.atomic import check_target
from wavepaint.bench.ablation_studies import PAPER_TABLE_1
from wavepaint.bench.cells import ON_CPU, Result, list_cells
from wavepaint.bench.entrants import BASELINES, open_subject
from wavepaint.bench.race import NOISY_VARIATION, race
from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.one_line_errors import OneLineErrors
from wavepaint.cli.progress import print_line
from wavepaint.data.sources import open_source
from wavepaint.errors import ConfigError
from wavepaint.training.loop import Trainer
from wavepaint.training.recipes import get_recipe
from wavepaint.training.reporter import Reporter

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


def read_quality(trained: Path) -> dict[str, dict[str, float]]:
    """Return the means over seeds of SSIM and PSNR inside the hole that ``benchmarks/ablation.py`` measured.

    Raises:
        ConfigError: The folder has no such results.
    """
    try:
        with (trained / "ablation.csv").open(newline="", encoding="utf-8") as stream:
            records = [record for record in csv.DictReader(stream) if record["study"] == "table1" and record["ssim"]]
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"{trained} has no ablation.csv of benchmarks/ablation.py (--trained): {error}") from error
    quality = {}
    for name, paper in PAPER_TABLE_1.items():
        own = [record for record in records if record["row"] == paper["title"]]
        if not own:
            raise ConfigError(
                f"{trained} lacks {paper['title']}: run benchmarks/ablation.py --studies table1 to its end."
            )
        quality[name] = {
            key: statistics.fmean(float(record[key]) for record in own) for key in ("steps", "ssim", "psnr_hole_db")
        }
    return quality


def find_rate(results: Sequence[Result], name: str, engine: str, side: int) -> float | None:
    rates = [r.images_per_s for r in results if (r.model, r.engine, r.height) == (name, engine, side)]
    return rates[0] if rates else None


def markdown(report: dict[str, Any], results: Sequence[Result]) -> str:
    """Return the page: this machine's table, then the paper's."""
    machine = report["machine"]
    epoch_head = f"s per epoch ({report['steps']} steps, extrapolated)" if report["epoch_s"] else "s per epoch"
    speeds = [f"{engine} {side}x{side}" for engine in ON_CPU for side in SIZES]
    header = ["model", "M parameters", *speeds, epoch_head, "SSIM", "PSNR in the hole", "FID"]
    lines = [
        "# Table 1 on this machine",
        "",
        f"{report['date'][:10]}, {machine['processor']}, {machine['cores']} cores, threads: {report['threads']}, "
        f"{report['rounds']} alternating rounds; the paper: one NVIDIA 1080 with 12 GB. Command: `{report['command']}`",
        "",
        "Images/s in float32 with batch 1, each with its ratio to LaMa's. Compare rows with each other, not with the "
        "paper's. An epoch has 80,000 images.",
        "",
    ]
    table = [header]
    for name, paper in PAPER_TABLE_1.items():
        cells = [paper["title"], f"{next(r for r in results if r.model == name).num_parameters / 1e6:.2f}"]
        for engine in ON_CPU:
            for side in SIZES:
                rate, rival = find_rate(results, name, engine, side), find_rate(results, "lama", engine, side)
                cells.append(f"{rate:.2f} ({rate / rival:.2f})" if rate and rival else NOT_MEASURED)
        epoch, quality = report["epoch_s"].get(name), report["quality"].get(name)
        cells.append(f"{epoch:,.0f} ({epoch / report['epoch_s']['lama']:.2f})" if epoch else NOT_MEASURED)
        cells += [f"{quality['ssim']:.3f}", f"{quality['psnr_hole_db']:.2f} dB"] if quality else [NOT_MEASURED] * 2
        table.append([*cells, NOT_MEASURED])
    lines += [*make_markdown_table(table), "", "The paper's:", ""]
    table = [["model", "M parameters", "images/s", "s per epoch", "SSIM", "FID"]]
    rival_row = PAPER_TABLE_1["lama"]
    for row in PAPER_TABLE_1.values():
        table.append(
            [
                row["title"],
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
    if report["quality"]:
        steps = " and ".join(sorted({f"{one['steps']:,.0f}" for one in report["quality"].values()}))
        lines += [
            "",
            f"SSIM and PSNR are those of the three networks after {steps} steps of {report['trained']}, from "
            "`benchmarks/ablation.py --studies table1`. FID is not measured: it needs an Inception network's weights.",
        ]
    return "\n".join(lines) + "\n"


@click.command(cls=OneLineErrors)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option("--photos", type=click.Path(path_type=Path), help="Folder of photos for training steps.")
@click.option(
    "--trained", type=click.Path(path_type=Path), help="Folder of benchmarks/ablation.py with the quality of the rows."
)
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
    trained: Path | None,
    steps: int,
    rounds: int,
    seconds: float,
    threads: int | None,
    overwrite: bool,
) -> None:
    """Measure Table 1 on this machine; omitted parts say "not measured"."""
    check_target(out, overwrite)
    quality = read_quality(trained) if trained else {}
    num_photos = len(open_source(photos).names) if photos else 0
    subjects = [open_subject(name) for name in PAPER_TABLE_1]
    cells = list_cells(subjects, SIZES, [1], engines=ON_CPU, precisions=["float32"])
    results = race(
        cells,
        threads=threads,
        rounds=rounds,
        seconds=seconds,
        on_progress=print_line,
    )
    epochs: dict[str, float] = {}
    for name in PAPER_TABLE_1 if photos else ():
        print_line(f"training steps of {name}")
        epochs[name] = time_epoch(name, photos, steps)  # type: ignore[arg-type]
    report = {
        **describe_run("table1"),
        "threads": threads or "each engine's choice",
        "rounds": rounds,
        "seconds": seconds,
        "steps": steps,
        "num_photos": num_photos,
        "trained": str(trained or ""),
        "paper": PAPER_TABLE_1,
        "results": [result.as_dict() for result in results],
        "epoch_s": epochs,
        "quality": quality,
    }
    page = markdown(report, results)
    write_report(out, "table1", report, page, overwrite=overwrite)
    click.echo(page)


if __name__ == "__main__":
    main()
