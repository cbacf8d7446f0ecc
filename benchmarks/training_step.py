"""How long does a training step take in each precision, with and without the recipe's losses?

The steps are those of ``wp train``: forward and backward passes, losses, discriminator and optimizer. They run on
random crops in memory, so they never wait for the loader. The variants alternate, and the median of a variant's steps
counts. Compare the result with that of benchmarks/loader.py to find how many loader processes an accelerator needs.
The report, training-step.json and training-step.md, goes into a new folder.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.progress import print_line
from wavepaint.data.masks import MASK_KINDS, MaskSampler
from wavepaint.metrics.lpips import load_lpips
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


def make_variants(recipe: str, *, with_lpips: bool) -> dict[str, TrainConfig]:
    """Return the recipe with its own losses, with L1 only, and in other layouts and precisions."""
    config = get_recipe(recipe)
    variants = {
        "L1 only, float32": config.change({"optimization": {"precision": "float32"}}),
        "L1 only, float32, not channels-last": config.change(
            {"optimization": {"precision": "float32", "channels_last": False}}
        ),
        "L1 only, bf16": config.change({"optimization": {"precision": "bf16"}}),
    }
    variants = {
        name: replace(variant, loss=PLAIN, optimization=replace(variant.optimization, monitor="psnr"))
        for name, variant in variants.items()
    }
    if with_lpips or not config.loss.needs_lpips:
        variants["the recipe's losses, bf16"] = config.change({"optimization": {"precision": "bf16"}})
    return variants


class Variant:
    """One variant, ready to step."""

    def __init__(self, config: TrainConfig, device: torch.device, lpips_weights: Path | None) -> None:
        torch.manual_seed(0)
        settings = config.optimization
        layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        model = build_model(config.architecture, config.hyper_parameters)
        model.to(device, memory_format=layout)  # type: ignore[call-overload]
        lpips = load_lpips(config.loss.lpips_network, lpips_weights, device) if config.loss.needs_lpips else None
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


def markdown(report: dict[str, Any]) -> str:
    lines = [
        "# The training step",
        "",
        f"{report['date'][:10]}, recipe `{report['recipe']}`: {report['batch_size']} crops of {report['crop_size']} "
        f"pixels a step, {report['steps']} timed steps of each in alternating rounds, {report['device']}, "
        f"{report['threads']} thread(s), {report['machine']['processor']}, PyTorch {report['torch']}. "
        f"Command: `{report['command']}`",
        "",
    ]
    first = report["rows"][0]["median_ms"]
    rows = [
        (row["variant"], f"{row['median_ms']:.0f}", f"{row['crops_per_s']:.1f}", f"{first / row['median_ms']:.2f}")
        for row in report["rows"]
    ]
    lines += make_markdown_table([("step", "median ms", "crops/s", "speed relative to the first"), *rows])
    return "\n".join(lines) + "\n"


@click.command()
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option("--recipe", default="default-textures", show_default=True, help="The recipe to time.")
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True, help="Timed steps of each variant.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option("--device", help="Device, for example cpu or cuda:0. Default: a GPU if there is one.")
@click.option(
    "--lpips-weights", type=click.Path(path_type=Path), help="The weights of LPIPS, if the recipe needs them."
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(
    out: Path, recipe: str, steps: int, threads: int, device: str | None, lpips_weights: Path | None, overwrite: bool
) -> None:
    """Time training steps."""
    torch.set_num_threads(threads)
    place = pick_device(device, DistributedContext())
    variants = make_variants(recipe, with_lpips=lpips_weights is not None)
    running = {name: Variant(config, place, lpips_weights) for name, config in variants.items()}
    for number in range(WARMUP_STEPS + steps):
        print_line(f"round {number + 1} of {WARMUP_STEPS + steps}")
        for variant in running.values():
            variant.take_step(timed=number >= WARMUP_STEPS)
    config = get_recipe(recipe)
    batch_size = config.optimization.batch_size
    rows = [
        {
            "variant": name,
            "median_ms": float(np.median(variant.seconds)) * 1e3,
            "crops_per_s": batch_size / float(np.median(variant.seconds)),
            "seconds": variant.seconds,
        }
        for name, variant in running.items()
    ]
    report = {
        **describe_run("training_step"),
        "torch": str(torch.__version__),
        "device": str(place),
        "threads": threads,
        "recipe": recipe,
        "batch_size": batch_size,
        "crop_size": config.data.crop_size,
        "steps": steps,
        "rows": rows,
    }
    page = markdown(report)
    write_report(out, "training-step", report, page, overwrite=overwrite)
    click.echo(page)


if __name__ == "__main__":
    main()
