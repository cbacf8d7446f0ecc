"""The comparison of LaMa's follow-up: baseline, spectral transforms and Wasserstein loss, trained for equal times.

Each variant trains for --seconds, in turns, so that other load on the machine strikes all of them alike. The time
counts steps and waiting for photos, but no validation. A run that was cut off continues from its last save in --runs;
a larger --seconds continues finished runs. The photos are split into 80% for training and 10% each for validation and
test. The last weights of each variant fill the test photos with the source's boxes and chains.

The figure follows the source's: photo, hole, and the fill of each variant. The source trained for 12 hours on 18,250
photos of Places365 and published one figure, no numbers (G. Baker and Y. Cho, 2021; nuniniyujin/lama_inpainting).

The perceptual loss and LPIPS need --lpips-weights of VGG16. Without them, L1 replaces the perceptual loss, and the
report says so. The report, follow-up.json, follow-up.md and figure.jpg, goes into a new folder.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import torch
from PIL import Image

from wavepaint.atomic import check_target
from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.one_line_errors import OneLineErrors
from wavepaint.cli.progress import print_line
from wavepaint.data.masks import MaskSampler, describe_kind
from wavepaint.data.sources import open_source
from wavepaint.data.split import read_split
from wavepaint.data.validation_set import Pair, load_validation
from wavepaint.errors import ConfigError
from wavepaint.metrics.lpips import LPIPS, load_lpips
from wavepaint.picture_grid import make_grid, mark_hole
from wavepaint.training.config import TrainConfig
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.hardware import pick_device
from wavepaint.training.loop import Trainer
from wavepaint.training.recipes import get_recipe
from wavepaint.training.reporter import Reporter
from wavepaint.training.run_folder import LAST, SPLIT
from wavepaint.training.validator import Validator
from wavepaint.weights.checkpoint import read_checkpoint

VARIANTS = {
    "follow-up-baseline": "baseline",
    "follow-up-spectral": "spectral",
    "follow-up-wgan": "Wasserstein",
}
KINDS = ("large-boxes", "chains")
FRACTION = 0.1
GLOBAL_SHARE = 0.6
DRAWN_SIDE = 256
"""The masks are sized for photos of 256 pixels."""
NUM_PICTURES = 4
"""Rows of the figure for each mask kind."""


def name_masks(side: int) -> dict[str, str]:
    """Return the mask kinds, drawn at 256 pixels and scaled for photos of another size."""
    return {kind: kind if side == DRAWN_SIDE else f"{kind}@{DRAWN_SIDE}" for kind in KINDS}


def make_config(
    recipe: str, *, side: int, batch_size: int, channels: int, blocks: int, workers: int, perceptual: bool
) -> TrainConfig:
    """Return a variant's recipe at a given size."""
    config = get_recipe(recipe)
    masks = list(name_masks(side).values())
    shape = {"num_blocks": blocks, "base_channels": channels, "global_channels": round(GLOBAL_SHARE * 8 * channels)}
    optimization: dict[str, Any] = {"batch_size": batch_size, "save_every": 100, "steps_per_epoch": 1_000}
    if not perceptual:
        config = dataclasses.replace(
            config,
            loss=dataclasses.replace(config.loss, perceptual=0.0, mae=10.0),
            optimization=dataclasses.replace(config.optimization, monitor="psnr"),
        )
    return config.change(
        {
            "hyper_parameters": shape,
            "loss": {"discriminator_channels": channels},
            "data": {
                "crop_size": side,
                "val_size": side,
                "masks": masks,
                "val_masks": masks,
                "val_fraction": FRACTION,
                "test_fraction": FRACTION,
                "val_images": 32,
                "workers": workers,
            },
            "optimization": optimization,
        }
    )


def train_until(
    config: TrainConfig, photos: Path, run: Path, seconds: float, device: str, lpips_weights: Path | None
) -> float:
    """Begin or continue a run until it has trained for ``seconds``; return the seconds it has."""
    resume = (run / LAST).exists()
    trainer = Trainer(config, photos, run, resume=resume, device=device, lpips_weights=lpips_weights)
    try:
        if trainer.trained_seconds < seconds:
            trainer.run(Reporter(), should_stop=lambda: trainer.step > 0 and trainer.trained_seconds >= seconds)
        return trainer.trained_seconds
    finally:
        trainer.close()


def train_in_turns(
    configs: Mapping[str, TrainConfig],
    photos: Path,
    runs: Path,
    seconds: float,
    turns: int,
    device: str,
    lpips_weights: Path | None,
) -> dict[str, float]:
    """Train every variant for ``seconds``; return the seconds of each."""
    trained = dict.fromkeys(configs, 0.0)
    for turn in range(1, turns + 1):
        for name, config in configs.items():
            trained[name] = train_until(config, photos, runs / name, seconds * turn / turns, device, lpips_weights)
            print_line(f"turn {turn} of {turns}: {VARIANTS[name]} has trained for {trained[name]:,.0f} s")
    return trained


def compare(
    runs: Path,
    trained: Mapping[str, float],
    sets: Mapping[str, list[Pair]],
    device: torch.device,
    lpips: LPIPS | None,
) -> tuple[list[dict[str, Any]], Image.Image]:
    """Return a row for each variant with its metrics on each set, and the figure."""
    rows: list[dict[str, Any]] = []
    pictures = [[photo, mark_hole(photo, mask)] for pairs in sets.values() for photo, mask in pairs[:NUM_PICTURES]]
    for name, title in VARIANTS.items():
        checkpoint = read_checkpoint(runs / name / LAST)
        model = checkpoint.build().to(device)
        validators = {kind: Validator(pairs, device, lpips, DistributedContext()) for kind, pairs in sets.items()}
        fills = [sample[2] for one in validators.values() for sample in one.fill_samples(model, NUM_PICTURES)]
        for row, fill in zip(pictures, fills, strict=True):
            row.append(fill)
        rows.append(
            {
                "variant": title,
                "recipe": name,
                "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
                "seconds": trained[name],
                "steps": int(checkpoint.resume["step"]),
                "metrics": {kind: dataclasses.asdict(one.measure(model)) for kind, one in validators.items()},
            }
        )
    return rows, make_grid(pictures, ["photo", "hole", *VARIANTS.values()])


def markdown(report: dict[str, Any]) -> str:
    kinds = list(report["masks"])
    with_lpips = report["perceptual"]
    names = ["PSNR dB", "SSIM", *(["LPIPS"] if with_lpips else [])]
    keys = ["psnr_db", "ssim", *(["lpips"] if with_lpips else [])]
    table = [["variant", "M parameters", "seconds", "steps", *(f"{kind}: {name}" for kind in kinds for name in names)]]
    for row in report["rows"]:
        values = [f"{row['metrics'][kind][key]:.3f}" for kind in kinds for key in keys]
        table.append(
            [
                row["variant"],
                f"{row['num_parameters'] / 1e6:.2f}",
                f"{row['seconds']:,.0f}",
                f"{row['steps']:,}",
                *values,
            ]
        )
    loss = "the recipes' losses" if with_lpips else "L1 instead of the perceptual loss, whose weights were not given"
    lines = [
        "# The comparison of LaMa's follow-up",
        "",
        f"{report['date'][:10]}, {report['machine']['processor']}, {report['device']}, PyTorch {report['torch']}; "
        f"{report['num_photos']} photos, {report['num_test']} for the test, at {report['side']} pixels; batches of "
        f"{report['batch_size']}; {report['channels']} channels, {report['blocks']} residual block(s); {loss}. Each "
        f"variant trained for the same time, in {report['turns']} turns. Command: `{report['command']}`",
        "",
        "Metrics are means inside the hole of the test photos, for the last weights.",
        "",
        *make_markdown_table(table),
        "",
        "![Photo, hole, and the fill of each variant](figure.jpg)",
        "",
        "Masks:",
        "",
        *(f"- {kind}: {generator}" for kind, generator in report["masks"].items()),
    ]
    return "\n".join(lines) + "\n"


@click.command(cls=OneLineErrors)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option("--photos", required=True, type=click.Path(path_type=Path), help="Folder or archive of photos.")
@click.option("--runs", required=True, type=click.Path(path_type=Path), help="Folder of the runs, to resume them.")
@click.option(
    "--seconds", required=True, type=click.FloatRange(min=0, min_open=True), help="Training time of each variant."
)
@click.option("--turns", type=click.IntRange(min=1), default=6, show_default=True, help="Parts of that time.")
@click.option("--side", type=click.IntRange(min=16), default=256, show_default=True, help="Side of the photos.")
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True, help="Photos in a step.")
@click.option("--channels", type=click.IntRange(min=1), default=64, show_default=True, help="Channels at full size.")
@click.option("--blocks", type=click.IntRange(min=1), default=9, show_default=True, help="Residual blocks.")
@click.option("--workers", type=click.IntRange(min=0), default=1, show_default=True, help="Processes that load photos.")
@click.option("--device", help="Device, for example cpu or cuda:0. Default: a GPU if there is one.")
@click.option("--lpips-weights", type=click.Path(path_type=Path), help="Weights of LPIPS with VGG16.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(
    out: Path,
    photos: Path,
    runs: Path,
    seconds: float,
    turns: int,
    side: int,
    batch_size: int,
    channels: int,
    blocks: int,
    workers: int,
    device: str | None,
    lpips_weights: Path | None,
    overwrite: bool,
) -> None:
    """Train the three variants for equal times and compare their fills."""
    check_target(out, overwrite)
    if runs.resolve() == out.resolve() or runs.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"--runs {runs} lies in the report's folder, which is replaced: choose another one.")
    place = pick_device(device, DistributedContext())
    perceptual = lpips_weights is not None
    size = {"side": side, "batch_size": batch_size, "channels": channels, "blocks": blocks}
    configs = {name: make_config(name, **size, workers=workers, perceptual=perceptual) for name in VARIANTS}
    trained = train_in_turns(configs, photos, runs, seconds, turns, str(place), lpips_weights)
    source, split = open_source(photos), read_split(runs / next(iter(VARIANTS)) / SPLIT)
    masks = name_masks(side)
    sets = {
        kind: load_validation(source, split.test, size=side, masks=MaskSampler((drawn,)))
        for kind, drawn in masks.items()
    }
    lpips = load_lpips("vgg16", lpips_weights, place) if perceptual else None
    rows, figure = compare(runs, trained, sets, place, lpips)
    report = {
        **describe_run("follow_up"),
        "torch": str(torch.__version__),
        "device": str(place),
        "num_photos": len(source.names),
        "num_test": len(sets[KINDS[0]]),
        **size,
        "turns": turns,
        "perceptual": perceptual,
        "masks": {kind: describe_kind(drawn) for kind, drawn in masks.items()},
        "configs": {name: config.to_dict() for name, config in configs.items()},
        "rows": rows,
    }
    page = markdown(report)
    write_report(out, "follow-up", report, page, overwrite=overwrite, pictures={"figure": figure})
    click.echo(page)


if __name__ == "__main__":
    main()
