"""How long does a training step take, and how much memory?

With one --recipe, its steps are timed in each precision, with and without its losses. With several, each recipe is
timed with its own losses, and the time of an epoch and the peak memory are compared, for example those of WavePaint and
LaMa: --recipe wavepaint-celebahq --recipe lama-places --batch-size 8.

The steps are those of ``wp train``: forward and backward passes, losses, discriminator and optimizer. They run on
random crops in memory, so they never wait for the loader. The variants alternate, and the median of a variant's steps
counts. Compare the result with that of benchmarks/loader.py to find how many loader processes an accelerator needs.
LPIPS without --lpips-weights has random weights, which cost the same.

The memory is the peak of two steps in a process of their own: what PyTorch allocated on a GPU, or else the growth of
the process. The report, training-step.json and training-step.md, goes into a new folder.
"""

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.one_line_errors import OneLineErrors
from wavepaint.cli.progress import print_line
from wavepaint.data.masks import MASK_KINDS, MaskSampler
from wavepaint.machine import peak_memory_mb, reset_peak_memory
from wavepaint.metrics.lpips import LPIPS, load_lpips
from wavepaint.models.registry import build_model
from wavepaint.training.config import TrainConfig
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.hardware import pick_device, pick_precision
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.recipes import get_recipe
from wavepaint.training.schedule import Schedule
from wavepaint.training.step import TrainStep

PLAIN = LossConfig(hole_l1=1.0)
WARMUP_STEPS = 2
CELEBAHQ_IMAGES = 26_000
"""Training photos in LaMa's split of CelebA-HQ, which WavePaint uses, too."""


def make_variants(recipes: Sequence[str], *, crop_size: int | None, batch_size: int | None) -> dict[str, TrainConfig]:
    """Return every recipe, or one recipe with its own losses, with L1 only, and in other layouts and precisions."""
    size: dict[str, Any] = {"data": {"crop_size": crop_size, "val_size": crop_size}} if crop_size else {}
    size |= {"optimization": {"batch_size": batch_size}} if batch_size else {}
    configs = {name: get_recipe(name).change(size) for name in recipes}
    if len(configs) > 1:
        return configs
    (config,) = configs.values()
    variants = {
        "L1 only, float32": config.change({"optimization": {"precision": "float32"}}),
        "L1 only, float32, not channels-last": config.change(
            {"optimization": {"precision": "float32", "channels_last": False}}
        ),
        "L1 only, bf16": config.change({"optimization": {"precision": "bf16"}}),
    }
    variants = {
        name: replace(
            variant, loss=PLAIN, optimization=replace(variant.optimization, monitor="psnr", discriminator_steps=1)
        )
        for name, variant in variants.items()
    }
    return {**variants, "the recipe's losses, bf16": config.change({"optimization": {"precision": "bf16"}})}


class Variant:
    """One variant, ready to step."""

    def __init__(self, config: TrainConfig, device: torch.device, lpips_weights: Path | None) -> None:
        torch.manual_seed(0)
        settings = config.optimization
        layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        model = build_model(config.architecture, config.hyper_parameters)
        model.to(device, memory_format=layout)  # type: ignore[call-overload]
        lpips = None
        if config.loss.needs_lpips:
            network = config.loss.lpips_network
            lpips = load_lpips(network, lpips_weights, device) if lpips_weights else LPIPS(network).to(device)
        self.train_step = TrainStep(
            config,
            model,
            Schedule(settings, 1_000_000),
            DistributedContext(),
            device,
            autocast_dtype=pick_precision(settings.precision, device),
            lpips=lpips,
        )
        size, rng, draw = config.data.crop_size, np.random.default_rng(0), MaskSampler(MASK_KINDS)
        masks = np.stack([draw(size, size, rng) for _ in range(settings.batch_size)])[:, None]
        batch = (
            torch.rand(settings.batch_size, 3, size, size).to(device, memory_format=layout),
            torch.from_numpy(masks).float().to(device),
        )
        self.parts = [batch] * settings.discriminator_steps
        self.step = 0
        self.seconds: list[float] = []

    def take_step(self, *, timed: bool) -> None:
        started = time.perf_counter()
        float(self.train_step.run(self.parts, self.step)["loss"])  # waits for the device
        self.step += 1
        if timed:
            self.seconds.append(time.perf_counter() - started)


def measure_memory(config: TrainConfig, device: str, threads: int) -> float:
    """Return the peak memory of the first steps in MB; call it in a process of its own."""
    torch.set_num_threads(threads)
    place = torch.device(device)
    before = reset_peak_memory()
    variant = Variant(config, place, None)
    for _ in range(WARMUP_STEPS):
        variant.take_step(timed=False)
    if place.type == "cuda":
        return torch.cuda.max_memory_allocated(place) / 1e6
    return peak_memory_mb() - before


def measure_memories(variants: dict[str, TrainConfig], device: str, threads: int) -> dict[str, float]:
    """Return :func:`measure_memory` of each variant from fresh processes."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return {name: pool.apply(measure_memory, (config, device, threads)) for name, config in variants.items()}


def markdown(report: dict[str, Any]) -> str:
    lines = [
        "# The training step",
        "",
        f"{report['date'][:10]}, {report['steps']} timed steps of each variant in alternating rounds, "
        f"{report['device']}, {report['threads']} thread(s), {report['machine']['processor']}, PyTorch "
        f"{report['torch']}. An epoch has {report['epoch_images']:,} crops. Command: `{report['command']}`",
        "",
    ]
    first = report["rows"][0]
    head = (
        "step", "M parameters", "crops", "median ms", "crops/s", "s per epoch", "relative to the first", "peak MB",
        "relative to the first",
    )  # fmt: skip
    rows = [
        (
            row["variant"],
            f"{row['num_parameters'] / 1e6:.2f}",
            f"{row['batch_size']} of {row['crop_size']}",
            f"{row['median_ms']:.0f}",
            f"{row['crops_per_s']:.3g}",
            f"{row['epoch_s']:,.0f}",
            f"{row['epoch_s'] / first['epoch_s']:.2f}",
            f"{row['peak_mb']:,.0f}",
            f"{row['peak_mb'] / first['peak_mb']:.2f}",
        )
        for row in report["rows"]
    ]
    lines += make_markdown_table([head, *rows])
    return "\n".join(lines) + "\n"


@click.command(cls=OneLineErrors)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    default=("default-textures",),
    show_default=True,
    help="The recipe to time; repeat it to compare several.",
)
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True, help="Timed steps of each variant.")
@click.option("--crop-size", type=click.IntRange(min=1), help="Side of the crops. Default: each recipe's.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Crops in a step. Default: each recipe's.")
@click.option(
    "--epoch-images",
    type=click.IntRange(min=1),
    default=CELEBAHQ_IMAGES,
    show_default=True,
    help="Crops in an epoch: those of CelebA-HQ; the paper on STL-10 has 80000.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option("--device", help="Device, for example cpu or cuda:0. Default: a GPU if there is one.")
@click.option(
    "--lpips-weights", type=click.Path(path_type=Path), help="The weights of LPIPS. Random ones cost the same."
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(
    out: Path,
    recipes: tuple[str, ...],
    steps: int,
    crop_size: int | None,
    batch_size: int | None,
    epoch_images: int,
    threads: int,
    device: str | None,
    lpips_weights: Path | None,
    overwrite: bool,
) -> None:
    """Time training steps."""
    torch.set_num_threads(threads)
    place = pick_device(device, DistributedContext())
    variants = make_variants(recipes, crop_size=crop_size, batch_size=batch_size)
    print_line("measuring the peak memory")
    memories = measure_memories(variants, str(place), threads)
    running = {name: Variant(config, place, lpips_weights) for name, config in variants.items()}
    for number in range(WARMUP_STEPS + steps):
        print_line(f"round {number + 1} of {WARMUP_STEPS + steps}")
        for variant in running.values():
            variant.take_step(timed=number >= WARMUP_STEPS)
    rows = []
    for name, variant in running.items():
        config, median = variants[name], float(np.median(variant.seconds))
        rows.append(
            {
                "variant": name,
                "num_parameters": sum(parameter.numel() for parameter in variant.train_step.model.parameters()),
                "batch_size": config.optimization.batch_size,
                "crop_size": config.data.crop_size,
                "median_ms": median * 1e3,
                "crops_per_s": config.optimization.batch_size / median,
                "epoch_s": epoch_images / config.optimization.crops_per_step * median,
                "peak_mb": memories[name],
                "seconds": variant.seconds,
            }
        )
    report = {
        **describe_run("training_step"),
        "torch": str(torch.__version__),
        "device": str(place),
        "threads": threads,
        "recipes": recipes,
        "steps": steps,
        "epoch_images": epoch_images,
        "rows": rows,
    }
    page = markdown(report)
    write_report(out, "training-step", report, page, overwrite=overwrite)
    click.echo(page)


if __name__ == "__main__":
    main()
