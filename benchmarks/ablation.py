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
import itertools
import json
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
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
    make_config,
    make_key,
)
from wavepaint.bench.report import describe_run
from wavepaint.cli.one_line_errors import OneLineErrors
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


@dataclasses.dataclass(frozen=True)
class Training:
    """A row of a study with one seed, and the folder of its training, which other studies may share."""

    study: str
    row: Row
    seed: int
    config: TrainConfig
    folder: Path


def list_trainings(names: Sequence[str], budget: Budget, seeds: int, photos: Path, out: Path) -> list[Training]:
    """Return every row with every seed; all rows come before the second seed."""
    photo_names = open_source(photos).names
    trainings = []
    for seed, name in itertools.product(range(seeds), names):
        for row in STUDIES[name].rows:
            config = make_config(row, budget, seed)
            folder = out / "runs" / make_key(config, photo_names)
            trainings.append(Training(name, row, seed, config, folder))
    return trainings


def make_records(training: Training, result: Result) -> list[Record]:
    """Return the lines of the CSV for a training; one line if it has no test."""
    row = training.row
    shared = {
        "study": training.study,
        "row": row.name,
        "seed": training.seed,
        "architecture": row.architecture,
        "hyper_parameters": json.dumps(training.config.hyper_parameters, sort_keys=True),
        "train_masks": ",".join(row.masks),
        **{key: value for key, value in result.items() if key not in ("tests", "device")},
    }
    # Square holes of many sizes are the result of one study; elsewhere they would only repeat a line.
    tests = result.get("tests") or [{}]
    by_hole_size = STUDIES[training.study].by_hole_size
    return [shared | test for test in tests if by_hole_size or "hole_side" not in test]


def write_reports(
    out: Path, report: dict[str, Any], trainings: Sequence[Training], results: dict[Path, Result]
) -> None:
    """Write everything that the results so far allow, and replace earlier files."""
    done = [training for training in trainings if training.folder in results]
    records = [line for training in done for line in make_records(training, results[training.folder])]
    names = list(dict.fromkeys(training.study for training in trainings))
    write_csv(out / "ablation.csv", records)
    for name in names:
        if STUDIES[name].by_hole_size and all(one in done for one in trainings if one.study == name):
            plot_hole_sizes(out / f"{name}.png", name, records)
    for suffix, text in (("json", json.dumps(report, indent=2) + "\n"), ("md", make_page(report, names, records))):
        with write_file(out / f"ablation.{suffix}", overwrite=True) as temporary:
            temporary.write_text(text, "utf-8")


def run_side_by_side(
    trainings: Sequence[Training], run: Callable[[Training], Result], jobs: int
) -> Iterator[tuple[Training, Result]]:
    """Run trainings, ``jobs`` at the same time, and yield each with its result as it ends.

    Those that measure only cost run alone, after the others.
    """
    alone = [training for training in trainings if jobs == 1 or training.row.is_timed_only]
    with ThreadPoolExecutor(jobs) as executor:
        futures = {executor.submit(run, training): training for training in trainings if training not in alone}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    for training in alone:
        yield training, run(training)


def run_studies(
    names: Sequence[str], budget: Budget, seeds: int, photos: Path, out: Path, run: Callable[..., Result], jobs: int
) -> bool:
    """Run what is not done yet, and write the reports after every training; return whether all have a result."""
    trainings = list_trainings(names, budget, seeds, photos, out)
    unique = {training.folder: training for training in reversed(trainings)}
    results = {
        folder: json.loads((folder / RESULT).read_text("utf-8")) for folder in unique if (folder / RESULT).exists()
    }
    waiting = [one for one in trainings if one.folder not in results and unique[one.folder] is one]
    if results:
        print_line(f"{len(results)} of {len(unique)} trainings were done before")
    report = {
        **describe_run("ablation"),
        "budget": dataclasses.asdict(budget),
        "seeds": seeds,
        "jobs": jobs,
        "num_photos": len(open_source(photos).names),
        "device": next((one["device"] for one in results.values() if "device" in one), "device unknown"),
    }

    def train_one(training: Training) -> Result:
        number = len(unique) - len(waiting) + waiting.index(training) + 1
        print_line(f"{number} of {len(unique)}: {training.study}, {training.row.name}")
        try:
            return run(training.row, budget, training.seed, photos, training.folder)
        except (WavePaintError, RuntimeError, MemoryError) as error:  # from PyTorch, or a process that was killed
            problem = " ".join(str(error).split()) or "out of memory."
            print_line(f"error: {problem}")
            return {"problem": problem}

    write_reports(out, report, trainings, results)
    for training, result in run_side_by_side(waiting, train_one, jobs):
        results[training.folder] = result
        report["device"] = result.get("device", report["device"])
        write_reports(out, report, trainings, results)
    return not any("problem" in result for result in results.values())


def parse_studies(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in STUDIES:
            raise click.BadParameter(f"there is no {name!r}: expected some of {', '.join(STUDIES)}.")
    return names


DEFAULTS = Budget()


@click.command(cls=OneLineErrors)
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
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Trainings at the same time, for a GPU and many cores. Those that only measure cost run alone.",
)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Repetitions of every training.")
def main(photos: Path, out: Path, studies: tuple[str, ...], seeds: int, jobs: int, **budget: int) -> None:
    """Run the papers' ablations on PHOTOS: a folder, a tar or zip archive, or an STL-10 binary file."""
    try:
        is_complete = run_studies(studies, Budget(**budget), seeds, photos, out, run_in_own_process, jobs)
    except KeyboardInterrupt:
        print_line("interrupted. Run the same command again to continue.")
        sys.exit(INTERRUPTED)
    click.echo((out / "ablation.md").read_text("utf-8"))
    if not is_complete:
        sys.exit(1)


if __name__ == "__main__":
    main()
