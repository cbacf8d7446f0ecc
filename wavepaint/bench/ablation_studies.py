"""The papers' studies as grids of trainings, and the papers' figures.

Sources: D. Kumar et al., "Resource-efficient Image Inpainting" (2023), tables 1 to 3 and appendices B and D; for the
wavelets and the convolution, checks that a review of WavePaint (arXiv 2307.00407) asks for.

The papers state blocks, embedding dimension, modules, levels and input reduction. They state neither ``mult`` nor
``ff_channel``; both are those of the authors' published script (remag2069/WaveMix-Inpainting).
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wavepaint.bench.entrants import BASELINES
from wavepaint.training.config import TrainConfig
from wavepaint.training.recipes import WHOLE_PHOTO, get_recipe

BASE: Mapping[str, Any] = {
    "num_modules": 1, "blocks_per_module": 7, "final_dim": 96, "mult": 2, "ff_channel": 128, "level": 1,
}  # fmt: skip
"""The network that most rows of the papers' tables vary, with input reduction."""

_WIDTHS = ("final_dim", "ff_channel", "base_channels")
_BASE_CHANNELS = {"lama": 64, "unet": 72}
"""Defaults of ``base_channels``."""

_LAMA_GLOBAL = 6
"""LaMa's global channels are three quarters of the eightfold ``base_channels``."""

PAPER_EPOCH_IMAGES = 80_000
"""Training images of the paper: 80 % of STL-10's unlabelled ones."""

HOLE_SIDES = (4, 8, 12, 16, 24, 32, 48)
"""Sides of the test holes for quality against hole size, in pixels of a 96-pixel image."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training.

    Attributes:
        name: Its name in the study.
        architecture: Name in the model registry.
        hyper_parameters: Arguments of the architecture.
        masks: Mask kinds to train and validate on.
        paper: The paper's figures for it, by column.
        is_timed_only: Whether only its cost counts: it runs for a few steps.
    """

    name: str
    architecture: str = "wavepaint"
    hyper_parameters: Mapping[str, Any] = field(default_factory=lambda: dict(BASE))
    masks: tuple[str, ...] = ("boxes-12",)
    paper: Mapping[str, float] = field(default_factory=dict)
    is_timed_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Study:
    """A grid of trainings that are compared with each other.

    Attributes:
        title: Heading of its part of the report.
        question: What it asks, and what is known of how the paper did it.
        rows: The trainings.
        varied: Hyper-parameters that its table shows.
        by_hole_size: Whether quality against hole size is its result.
    """

    title: str
    question: str
    rows: tuple[Row, ...]
    varied: tuple[str, ...] = ()
    by_hole_size: bool = False


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every training of a run has in common.

    Attributes:
        steps: Optimizer steps.
        epochs: Validations, evenly spread over the steps.
        timed_steps: Steps of the rows that only measure cost.
        batch_size: Images in a step; the paper has 40.
        size: Side of the images in pixels; the paper has 96.
        shrink: Divisor of the networks' widths; 1 is the paper's.
        images: Most images to validate on, and most to test on.
        workers: Processes that load photos.
    """

    steps: int = 400
    epochs: int = 4
    timed_steps: int = 12
    batch_size: int = 40
    size: int = 96
    shrink: int = 1
    images: int = 200
    workers: int = 1


def _vary(**changes: Any) -> dict[str, Any]:
    return {**BASE, **changes}


def _make_table(masks: str, lines: Sequence[tuple[int, int, int, int, bool, float, float, float, float]]) -> list[Row]:
    """Return the rows of a table: blocks, dimension, modules, levels, reduction, then L1, L2, PSNR and SSIM."""
    rows = []
    for number, (blocks, dim, modules, level, reduction, l1, l2, psnr_db, ssim) in enumerate(lines, 1):
        shape = _vary(
            blocks_per_module=blocks, final_dim=dim, num_modules=modules, level=level, input_reduction=reduction
        )
        paper = {"l1": l1, "l2": l2, "psnr_db": psnr_db, "ssim": ssim}
        rows.append(Row(name=f"{masks} #{number}", hyper_parameters=shape, masks=(masks,), paper=paper))
    return rows


_SHAPE = ("blocks_per_module", "final_dim", "num_modules", "level", "input_reduction")

_WAVELETS = ("haar", "db2", "db4", "sym4", "coif1", "bior2.2")

_TRAINING_MASKS = (
    ("boxes of 8x8", ("boxes-8",)),
    ("boxes of 12x12", ("boxes-12",)),
    ("boxes of 8x8 or 12x12", ("boxes",)),
    ("squares of an eighth to three eighths", ("squares",)),
    ("thin", ("thin@256",)),
    ("LaMa's", ("lama-training@256",)),
)


PAPER_TABLE_1: Mapping[str, Mapping[str, Any]] = {
    "cnn": {
        "title": "Custom CNN", "million_parameters": 12, "fid": 86.373, "ssim": 0.850, "epoch_s": 665,
        "images_per_s": 192,
    },
    "lama": {
        "title": "LaMa", "million_parameters": 27, "fid": 70.294, "ssim": 0.893, "epoch_s": 4_861, "images_per_s": 112,
    },
    "wavemix-inpainting": {
        "title": "WaveMix-Inpainting", "million_parameters": 14, "fid": 64.784, "ssim": 0.902, "epoch_s": 1_387,
        "images_per_s": 137,
    },
}  # fmt: skip
"""Table 1 by the name of the baseline. The paper timed on one NVIDIA 1080 with 12 GB."""


def _make_baseline(baseline: str, figure: str, **settings: Any) -> Row:
    """Return a row for a network of table 1 with one of its figures, or for another baseline."""
    architecture, parameters = BASELINES[baseline]
    paper = PAPER_TABLE_1.get(baseline, {})
    return Row(
        name=paper.get("title", "WavePaint 4x4x128"),
        architecture=architecture,
        hyper_parameters=parameters,
        paper={figure: paper[figure]} if paper else {},
        **settings,
    )


STUDIES: dict[str, Study] = {
    "table1": Study(
        title="Table 1: the paper's networks",
        question="Which network fills best after the same training? All have the loss of WaveMix-Inpainting, LaMa "
        "without its discriminator, and masks of LaMa's training, drawn at 256 pixels and scaled. The paper gives SSIM "
        "and FID.",
        rows=tuple(_make_baseline(name, "ssim", masks=("lama-training@256",)) for name in PAPER_TABLE_1),
    ),
    "table2": Study(
        title="Table 2: shapes of the network, boxes of 8x8 pixels",
        question="How many blocks does a small hole need?",
        rows=tuple(
            _make_table(
                "boxes-8",
                [
                    (3, 96, 1, 1, False, 0.224, 9.455, 41.968, 0.988),
                    (7, 96, 1, 1, False, 0.134, 5.616, 44.154, 0.996),
                ],
            )
        ),
        varied=_SHAPE,
    ),
    "table3": Study(
        title="Table 3: shapes of the network, boxes of 12x12 pixels",
        question="What do blocks, embedding dimension, modules, wavelet levels and input size reduction contribute?",
        rows=tuple(
            _make_table(
                "boxes-12",
                [
                    (7, 96, 1, 1, True, 0.733, 78.542, 26.714, 0.825),
                    (5, 96, 1, 1, True, 0.964, 114.122, 18.880, 0.801),
                    (7, 96, 1, 1, False, 0.361, 16.913, 38.423, 0.988),
                    (7, 96, 2, 1, False, 0.344, 15.551, 38.967, 0.989),
                    (7, 64, 2, 1, False, 0.374, 17.807, 37.564, 0.990),
                    (7, 128, 2, 1, False, 0.421, 33.129, 36.995, 0.981),
                    (7, 96, 3, 1, False, 0.410, 20.331, 36.852, 0.987),
                    (7, 96, 1, 2, True, 0.370, 17.672, 38.327, 0.988),
                    (7, 96, 1, 3, True, 0.380, 20.692, 38.030, 0.988),
                ],
            )
        ),
        varied=_SHAPE,
    ),
    "wavelets": Study(
        title="Wavelet families and levels",
        question="Does another wavelet than Haar, or another number of levels, fill better?",
        rows=(
            *(
                Row(name=f"{wavelet}, level {level}", hyper_parameters=_vary(wavelet=wavelet, level=level))
                for wavelet in _WAVELETS
                for level in (1, 2, 3)
            ),
            Row(name="haar, level 4", hyper_parameters=_vary(wavelet="haar", level=4)),
        ),
        varied=("wavelet", "level"),
    ),
    "convolution": Study(
        title="A learned convolution in the place of the wavelet transform",
        question="Is the transform worth its place? A convolution with the same support and stride replaces it; its "
        "filters are learned and mix channels.",
        rows=tuple(
            Row(name=f"{name}, level {level}", hyper_parameters=_vary(wavelet=wavelet, level=level))
            for level in (1, 2, 3)
            for name, wavelet in (("wavelet", "haar"), ("convolution", "convolution"))
        ),
        varied=("wavelet", "level"),
    ),
    "masks": Study(
        title="Figure 3: size and randomisation of the training masks",
        question="How does quality fall with the size of the hole, and does training on random masks generalise? The "
        "paper shows pictures, and says that large holes are filled worst, that training on too thin masks loses "
        "the generative ability, and that random shapes and sizes help on test images.",
        rows=tuple(
            Row(name=name, hyper_parameters=_vary(level=3), masks=masks) for name, masks in _TRAINING_MASKS
        ),
        by_hole_size=True,
    ),
    "cost": Study(
        title="Cost of training",
        question="How long does an epoch take, and how much memory does a step need, against LaMa? All networks train "
        "with the loss of WaveMix-Inpainting, LaMa's without its discriminator.",
        rows=tuple(
            _make_baseline(name, "epoch_s", is_timed_only=True) for name in (*PAPER_TABLE_1, "wavepaint")
        ),
    ),
}  # fmt: skip


def make_config(row: Row, budget: Budget, seed: int) -> TrainConfig:
    """Return the configuration of a training.

    Loss and optimizer are the paper's. There is no augmentation, as in its ablation. The learning rate follows a
    cosine, because the paper's second stage with SGD gains little in a short run.
    """
    steps = budget.timed_steps if row.is_timed_only else budget.steps
    recipe = replace(
        get_recipe("wavemix-stl10"),
        recipe="ablation",
        architecture=row.architecture,
        hyper_parameters=shrink_network(row, budget.shrink),
        seed=seed,
    )
    data = {
        "crop_size": budget.size,
        "val_size": budget.size,
        "min_scale": WHOLE_PHOTO,
        "max_scale": WHOLE_PHOTO,
        "flip": False,
        "colour": 0.0,
        "perspective": 0.0,
        "masks": list(row.masks),
        "val_masks": list(row.masks),
        "val_images": budget.images,
        "workers": budget.workers,
    }
    optimization = {
        "steps": steps,
        "steps_per_epoch": math.ceil(steps / budget.epochs),
        "batch_size": budget.batch_size,
        "schedule": "cosine",
        "adamw_epochs": 0,
        "monitor": "psnr",
    }
    return recipe.change({"data": data, "optimization": optimization})


def shrink_network(row: Row, divisor: int) -> dict[str, Any]:
    """Return a row's hyper-parameters with all widths divided, in multiples of 4."""
    parameters = dict(row.hyper_parameters)
    if divisor == 1:
        return parameters
    if row.architecture in _BASE_CHANNELS:
        parameters.setdefault("base_channels", _BASE_CHANNELS[row.architecture])
    for name in set(_WIDTHS) & parameters.keys():
        parameters[name] = max(int(parameters[name]) // divisor // 4 * 4, 4)
    if row.architecture == "lama":
        parameters["global_channels"] = _LAMA_GLOBAL * parameters["base_channels"]
    return parameters


def make_key(config: TrainConfig, photos: Sequence[str]) -> str:
    """Return the name of a training: rows of several studies with the same configuration and photos share one."""
    facts = {"config": config.to_dict(), "photos": list(photos)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()[:12]
