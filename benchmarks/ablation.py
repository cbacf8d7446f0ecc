"""The papers' ablations: trainings of a declared grid, measured as the papers measure theirs.

wavepaint/bench/ablation_studies.py declares the studies and has the papers' figures. Every training is the trainer of
``wp train``, from random weights, with the paper's loss, on the same photos, split and number of steps. Test photos are
never trained on. Each training runs in a process of its own, so that its peak memory is its own.

The folder gets ablation.csv (one line for each training and set of holes), ablation.md, ablation.json, and masks.png,
quality against hole size. Run the same command again to continue after an interruption: trainings that are done are
read, and one that was interrupted continues from its last epoch. They lie in runs/ inside the folder, and a row of two
studies is trained once.
"""

import dataclasses
import json
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wavepaint.atomic import write_file
from wavepaint.bench.ablation_report import Record, make_page, plot_hole_sizes, write_csv
from wavepaint.bench.ablation_studies import (
    HOLE_SIDES,
    PAPER_EPOCH_IMAGES,
    STUDIES,
    Budget,
    Row,
    Study,
    make_config,
    make_key,
)
from wavepaint.bench.report import describe_run
from wavepaint.cli.progress import print_line
from wavepaint.data.masks import MaskSampler
from wavepaint.data.simple_masks import draw_paper_box
from wavepaint.data.sources import open_source
from wavepaint.data.validation_set import VAL_SEED, Pair, load_validation
from wavepaint.errors import WavePaintError
from wavepaint.machine import peak_memory_mb, reset_peak_memory
from wavepaint.metrics import image_quality
from wavepaint.models.network import Network
from wavepaint.training.config import TrainConfig
from wavepaint.training.loop import Trainer
from wavepaint.training.reporter import Reporter
from wavepaint.training.run_folder import BEST, LAST
from wavepaint.training.run_log import LOG
from wavepaint.weights.checkpoint import read_checkpoint

RESULT = "result.json"
BATCH = 8
INTERRUPTED = 130

Result = dict[str, Any]
"""What a training measured: its cost, and ``tests``, one entry for each set of holes."""


def train(config: TrainConfig, photos: Path, folder: Path) -> tuple[Trainer, float]:
    """Run or continue a training; return it and the peak memory in MB."""
    trainer = Trainer(config, photos, folder, resume=(folder / LAST).exists())
    reset_peak_memory()
    if trainer.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer.run(Reporter())
    trainer.close()
    if trainer.device.type == "cuda":
        return trainer, torch.cuda.max_memory_allocated() / 2**20
    return trainer, peak_memory_mb()


def measure_speed(folder: Path) -> float:
    """Return the images per second of the median epoch, which leaves out a slow first one."""
    epochs = [json.loads(line) for line in (folder / LOG).read_text("utf-8").splitlines()]
    return float(statistics.median(epoch["images_per_s"] for epoch in epochs))


def draw_box(size: int, side: int, index: int) -> NDArray[np.uint8]:
    """Return a mask (size, size) with one square hole; the same index has it at the same place for every row."""
    canvas = Image.new("L", (size, size))
    draw_paper_box(ImageDraw.Draw(canvas), canvas.size, np.random.default_rng((VAL_SEED, side, index)), (side,))
    return np.array(canvas, dtype=np.uint8)


@torch.inference_mode()
def test_network(network: Network, pairs: Sequence[Pair], device: torch.device) -> dict[str, float]:
    """Return the means over the test images; L1 and L2 are in levels of 255 over the whole image."""
    rows: list[tuple[float, ...]] = []
    for first in range(0, len(pairs), BATCH):
        batch = pairs[first : first + BATCH]
        image = torch.from_numpy(np.stack([photo for photo, _ in batch])).to(device).permute(0, 3, 1, 2).float() / 255
        mask = torch.from_numpy(np.stack([hole for _, hole in batch])).to(device)[:, None].float()
        filled = network(image, mask).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        for (photo, hole), output in zip(batch, filled, strict=True):
            truth, ssim_map = photo / 255, image_quality.ssim_map(output, photo / 255)
            rows.append(
                (
                    image_quality.masked_l1(output, truth) * 255,
                    image_quality.masked_l2(output, truth) * 255**2,
                    image_quality.psnr(output, truth),
                    float(ssim_map.mean()),
                    image_quality.psnr(output, truth, hole),
                    float(ssim_map[hole > 0].mean()),
                )
            )
    names = ("l1", "l2", "psnr_db", "ssim", "psnr_hole_db", "ssim_hole")
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))


def test_all_holes(trainer: Trainer, photos: Path, budget: Budget, *, sides: Sequence[int]) -> Iterator[Result]:
    """Test the best weights of a training on the holes it trained on, and on square holes of each side."""
    config, split = trainer.config, trainer.data.split
    network = read_checkpoint(trainer.folder.path / BEST).build().eval().to(trainer.device)
    sampler = MaskSampler(config.data.masks)
    pairs = load_validation(open_source(photos), split.test, size=budget.size, masks=sampler, max_photos=budget.images)
    yield {"test_holes": ",".join(config.data.masks), "num_images": len(pairs)} | test_network(
        network, pairs, trainer.device
    )
    for side in sides:
        boxed = [(photo, draw_box(budget.size, side, index)) for index, (photo, _) in enumerate(pairs)]
        scores = test_network(network, boxed, trainer.device)
        yield {"test_holes": "square", "hole_side": side, "num_images": len(boxed)} | scores


def run_training(row: Row, budget: Budget, seed: int, photos: Path, folder: Path) -> Result:
    """Train and test a row, and write its result into its folder.

    Raises:
        WavePaintError: It cannot be trained, or its result cannot be written.
    """
    config = make_config(row, budget, seed)
    trainer, peak_mb = train(config, photos, folder)
    speed = measure_speed(folder)
    sides = [side for side in HOLE_SIDES if side <= budget.size // 2]
    result: Result = {
        "million_parameters": sum(weight.numel() for weight in trainer.model.parameters()) / 1e6,
        "steps": trainer.step,
        "device": str(trainer.device),
        "images_per_s": speed,
        "epoch_s": PAPER_EPOCH_IMAGES / speed,
        "peak_memory_mb": peak_mb,
        "tests": [] if row.is_timed_only else list(test_all_holes(trainer, photos, budget, sides=sides)),
    }
    with write_file(folder / RESULT, overwrite=True) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return result


def run_in_own_process(*arguments: Any) -> Result:
    """Call :func:`run_training` in a fresh process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as executor:
        return executor.submit(run_training, *arguments).result()


def make_records(name: str, row: Row, seed: int, config: TrainConfig, result: Result) -> list[Record]:
    """Return the lines of the CSV for a training; one line if it has no test."""
    shared = {
        "study": name,
        "row": row.name,
        "seed": seed,
        "architecture": row.architecture,
        "hyper_parameters": json.dumps(config.hyper_parameters, sort_keys=True),
        "train_masks": ",".join(row.masks),
        **{key: value for key, value in result.items() if key not in ("tests", "device")},
    }
    # Square holes of many sizes are the result of one study; elsewhere they would only repeat a line.
    tests = result.get("tests") or [{}]
    return [shared | test for test in tests if STUDIES[name].by_hole_size or "hole_side" not in test]


def write_reports(out: Path, report: dict[str, Any], names: Sequence[str], records: Sequence[Record]) -> None:
    """Write everything that the trainings so far allow, and replace earlier files."""
    write_csv(out / "ablation.csv", records)
    for name in names:
        is_complete = records[-1]["row"] == STUDIES[name].rows[-1].name and records[-1]["study"] == name
        if STUDIES[name].by_hole_size and is_complete:
            plot_hole_sizes(out / f"{name}.png", name, records)
    for suffix, text in (("json", json.dumps(report, indent=2) + "\n"), ("md", make_page(report, names, records))):
        with write_file(out / f"ablation.{suffix}", overwrite=True) as temporary:
            temporary.write_text(text, "utf-8")


def list_trainings(studies: dict[str, Study], seeds: int) -> list[tuple[str, Row, int]]:
    """Return study, row and seed of every training; all rows come before the second seed."""
    return [(name, row, seed) for seed in range(seeds) for name, study in studies.items() for row in study.rows]


def run_studies(
    names: Sequence[str],
    budget: Budget,
    seeds: int,
    photos: Path,
    out: Path,
    run: Callable[..., Result],
) -> list[Record]:
    """Run what is not done yet; write the reports after every training, and return the lines of the CSV."""
    photo_names = open_source(photos).names
    report = {
        **describe_run("ablation"),
        "budget": dataclasses.asdict(budget),
        "seeds": seeds,
        "num_photos": len(photo_names),
        "device": "device unknown",
    }
    records: list[Record] = []
    trainings = list_trainings({name: STUDIES[name] for name in names}, seeds)
    for number, (name, row, seed) in enumerate(trainings, 1):
        config = make_config(row, budget, seed)
        folder = out / "runs" / make_key(config, photo_names)
        is_done = (folder / RESULT).exists()
        print_line(f"{number} of {len(trainings)}: {name}, {row.name}{', done before' if is_done else ''}")
        try:
            arguments = (row, budget, seed, photos, folder)
            result = json.loads((folder / RESULT).read_text("utf-8")) if is_done else run(*arguments)
            report["device"] = result["device"]
        except (WavePaintError, RuntimeError, MemoryError) as error:  # from PyTorch, or a process that was killed
            problem = " ".join(str(error).split()) or "out of memory."
            print_line(f"error: {problem}")
            result = {"problem": problem}
        records += make_records(name, row, seed, config, result)
        write_reports(out, report, names, records)
    return records


def parse_studies(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in STUDIES:
            raise click.BadParameter(f"there is no {name!r}: expected some of {', '.join(STUDIES)}.")
    return names


DEFAULTS = Budget()


@click.command()
@click.argument("photos", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of report and trainings.")
@click.option(
    "--studies", callback=parse_studies, default=",".join(STUDIES), show_default=True, help="Studies, with commas."
)
@click.option("--steps", type=click.IntRange(1), default=DEFAULTS.steps, show_default=True, help="Steps of a training.")
@click.option("--epochs", type=click.IntRange(1), default=DEFAULTS.epochs, show_default=True, help="Its validations.")
@click.option(
    "--timed-steps",
    type=click.IntRange(1),
    default=DEFAULTS.timed_steps,
    show_default=True,
    help="Steps of the rows that only measure cost.",
)
@click.option("--batch-size", type=click.IntRange(1), default=DEFAULTS.batch_size, show_default=True)
@click.option("--size", type=click.IntRange(32), default=DEFAULTS.size, show_default=True, help="Side of the images.")
@click.option(
    "--shrink", type=click.IntRange(1), default=DEFAULTS.shrink, show_default=True, help="Divisor of all widths."
)
@click.option(
    "--images", type=click.IntRange(1), default=DEFAULTS.images, show_default=True, help="Most images of a test."
)
@click.option("--workers", type=click.IntRange(0), default=DEFAULTS.workers, show_default=True, help="Loaders.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Repetitions of every training.")
def main(photos: Path, out: Path, studies: tuple[str, ...], seeds: int, **budget: int) -> None:
    """Run the papers' ablations on PHOTOS: a folder, a tar or zip archive, or an STL-10 binary file."""
    try:
        records = run_studies(studies, Budget(**budget), seeds, photos, out, run_in_own_process)
    except WavePaintError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        print_line("interrupted. Run the same command again to continue.")
        sys.exit(INTERRUPTED)
    click.echo((out / "ablation.md").read_text("utf-8"))
    if any(record.get("problem") for record in records):
        sys.exit(1)


if __name__ == "__main__":
    main()
