"""What a training run is made of, and the recipes."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from wavepaint.errors import ConfigError
from wavepaint.training.masks import MASK_KINDS, MaskKind

Precision = Literal["auto", "float32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A resolved training configuration; it is stored in every checkpoint and bundle.

    Attributes:
        recipe: Name of the recipe it began from.
        architecture: Name in the registry.
        hyper_parameters: Arguments of the architecture.
        crop_size: Side of the square training crops, in pixels.
        min_scale: Smallest factor by which a photo is scaled before it is cropped; never so small that the crop
            does not fit.
        max_scale: Largest such factor.
        masks: Mask kinds, drawn with equal probability.
        batch_size: Crops a step.
        steps: Optimizer steps in all.
        steps_per_epoch: Steps between validations.
        learning_rate: Peak of AdamW's learning rate.
        warmup_steps: Linear warm-up; a cosine to 1 % of the peak follows.
        weight_decay: AdamW's.
        clip_norm: Gradients are scaled down to this norm.
        ssim_weight: Weight of 1 - SSIM over the whole image.
        mae_weight: Weight of the mean absolute error over the whole image.
        hole_l1_weight: Weight of the mean absolute error over the hole alone.
        precision: Autocast type; "auto" is bf16 where the hardware has it.
        seed: Of weights, crops and masks.
        workers: Loader processes; 0 loads in the training process.
        val_size: Side of the validation images, in pixels.
        val_masks: Mask kind of the validation, the same masks every time.
        val_fraction: Share of the photos held out for validation where no folder is given for it.
    """

    recipe: str
    architecture: str = "wavepaint"
    hyper_parameters: dict[str, Any] = field(default_factory=dict)
    crop_size: int = 256
    min_scale: float = 0.25
    max_scale: float = 1.0
    masks: tuple[MaskKind, ...] = MASK_KINDS
    batch_size: int = 16
    steps: int = 10_000
    steps_per_epoch: int = 500
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ssim_weight: float = 0.0
    mae_weight: float = 0.0
    hole_l1_weight: float = 0.0
    precision: Precision = "auto"
    seed: int = 0
    workers: int = 1
    val_size: int = 256
    val_masks: MaskKind = "medium"
    val_fraction: float = 0.05

    def __post_init__(self) -> None:
        for name in ("crop_size", "batch_size", "steps", "steps_per_epoch", "val_size"):
            if getattr(self, name) < 1:
                raise _bad(name, getattr(self, name), "1 or more")
        for name in ("warmup_steps", "workers", "seed", "weight_decay", "ssim_weight", "mae_weight", "hole_l1_weight"):
            if getattr(self, name) < 0:
                raise _bad(name, getattr(self, name), "0 or more")
        for name in ("learning_rate", "clip_norm", "min_scale"):
            if not getattr(self, name) > 0:
                raise _bad(name, getattr(self, name), "a number above 0")
        if self.max_scale < self.min_scale:
            raise _bad("max_scale", self.max_scale, f"at least --min-scale ({self.min_scale})")
        if not 0 < self.val_fraction < 1:
            raise _bad("val_fraction", self.val_fraction, "a share between 0 and 1")
        if not self.masks or set(self.masks) - set(MASK_KINDS):
            raise _bad("masks", ",".join(self.masks), f"one or more of {', '.join(MASK_KINDS)}")
        if self.ssim_weight + self.mae_weight + self.hole_l1_weight == 0:
            raise ConfigError("every loss weight is 0: set --ssim-weight, --mae-weight or --hole-l1-weight.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return {**dataclasses.asdict(self), "masks": list(self.masks)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """Invert :meth:`to_dict`.

        Raises:
            ConfigError: Unknown or missing keys, or values that make no sense.
        """
        unknown = set(values) - {f.name for f in dataclasses.fields(cls)}
        if unknown:
            raise ConfigError(f"unknown training settings: {', '.join(sorted(unknown))}.")
        return cls(**{**values, "masks": tuple(values.get("masks", MASK_KINDS))})


def _bad(name: str, value: object, expected: str) -> ConfigError:
    return ConfigError(f"--{name.replace('_', '-')} is {value}: expected {expected}.")


def default() -> TrainConfig:
    """The network that ships with the package: small, prefilled, three wavelet levels.

    Chosen by short runs on a CPU (one module with three levels reached more PSNR in the same time than two with one
    level; the prefill was worth 2 dB). Thick masks are left out: most of what they hide cannot be guessed, and their
    gradients drown what can be learnt from the others in a run this short. For the same reason the loss is L1 inside
    the hole alone.
    """
    return TrainConfig(
        recipe="default",
        hyper_parameters={
            "num_modules": 1,
            "blocks_per_module": 4,
            "final_dim": 64,
            "mult": 2,
            "ff_channel": 64,
            "level": 3,
            "prefill_levels": 8,
        },
        crop_size=128,
        masks=("thin", "medium"),
        batch_size=16,
        steps=5_200,
        learning_rate=1.5e-3,
        hole_l1_weight=1.0,
    )


def wavemix_inpainting() -> TrainConfig:
    """The resource-efficient paper's loss (SSIM : MAE = 3 : 1) and optimizer on its own kind of network."""
    return TrainConfig(
        recipe="wavemix-inpainting",
        hyper_parameters={"num_modules": 1, "blocks_per_module": 7, "final_dim": 128, "mult": 2, "ff_channel": 128},
        crop_size=96,
        batch_size=40,
        steps=200_000,
        steps_per_epoch=2_000,
        ssim_weight=3.0,
        mae_weight=1.0,
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {"default": default, "wavemix-inpainting": wavemix_inpainting}


def get_recipe(name: str) -> TrainConfig:
    """Return the configuration of a recipe.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}: expected one of {', '.join(RECIPES)} (--recipe).")
    return RECIPES[name]()
