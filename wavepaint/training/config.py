"""The configuration of a training run: frozen sections of settings.

The fields of a section are the flags of ``wp train`` and the keys of the section's table in a TOML file.
"""

import dataclasses
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from wavepaint.data.masks import ALL_KINDS, parse_kind
from wavepaint.errors import ConfigError
from wavepaint.training.settings import check_settings, make_error, read_section, setting

Precision = Literal["auto", "float32", "bf16", "fp16"]
ScheduleKind = Literal["cosine", "constant", "epochs", "plateau"]
Monitor = Literal["psnr", "ssim", "lpips"]
LpipsNetwork = Literal["alexnet", "vgg16"]
AdversarialKind = Literal["none", "non-saturating", "wasserstein"]

_PIXELS = ("ssim", "mae", "mse", "hole_l1", "known_l1")
_PERCEPTUAL = ("lpips", "lpips_hole", "perceptual")
_ADVERSARIAL = ("adversarial", "feature_matching", "r1", "gradient_penalty")
_GENERATOR = (*_PIXELS, *_PERCEPTUAL, "adversarial", "feature_matching")
_MIN_JITTERED_SIDE = 32
"""Pixels of a crop that jitter must leave: the smallest input of AlexNet's trunk is 31."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Photos, crops and masks."""

    crop_size: int = setting(
        256,
        "Side of the square crops that the network trains on. Larger crops show more around a hole and need more "
        "memory.",
        least=1,
        heading="Crops",
        placeholder="PIXELS",
    )
    min_scale: float = setting(
        0.25,
        "Smallest factor by which a photo is scaled before it is cropped. No photo becomes smaller than the crop.",
        above=0,
        placeholder="FACTOR",
    )
    max_scale: float = setting(
        1.0, "Largest factor by which a photo is scaled before it is cropped.", placeholder="FACTOR"
    )
    flip: bool = setting(True, "Mirror half of the crops, chosen at random, left to right.")
    colour: float = setting(
        0.0,
        "Largest random change of brightness and contrast, as a share; saturation and hue change less. LaMa uses 0.2; "
        "0 changes no colour.",
        least=0,
        placeholder="SHARE",
    )
    perspective: float = setting(
        0.0,
        "Largest random move of each corner of a crop, as a share of its side. LaMa uses 0.02 and 0.06; 0 moves none.",
        least=0,
        placeholder="SHARE",
    )
    workers: int = setting(
        1,
        "Processes that load photos. Raise it if the log reports time spent waiting for photos. 0 loads them in the "
        "training process.",
        least=0,
    )
    max_broken: int = setting(
        100, "Stop after more than this many photos that cannot be decoded; until then they are skipped.", least=0
    )
    masks: tuple[str, ...] = setting(
        ("thin", "medium", "thick"),
        f"Mask kinds to train on, separated by commas: {', '.join(ALL_KINDS)}. Each is equally likely, unless "
        "weighted: thin:2,medium:1. thick@256 is drawn at 256 pixels and scaled to the crop.",
        heading="Masks",
        placeholder="KINDS",
    )
    silhouettes: str = setting(
        "",
        "Folder of cut-outs, transparent around the object or white on black, for the mask kind silhouettes.",
        placeholder="FOLDER",
    )
    val_fraction: float = setting(
        0.05,
        "Share of the photos held out for validation, unless --val-data is given.",
        above=0,
        below=1,
        heading="Validation",
        placeholder="SHARE",
    )
    val_size: int = setting(
        256, "Side of the validation images, which are cropped in the middle.", least=1, placeholder="PIXELS"
    )
    val_masks: tuple[str, ...] = setting(
        ("medium",),
        "Mask kinds to validate on, written like --masks. Every validation uses the same masks.",
        placeholder="KINDS",
    )
    val_images: int = setting(
        512, "Largest number of photos to validate on. Fewer are faster, more are more reliable.", least=1
    )
    test_fraction: float = setting(
        0.0,
        "Share of the photos to keep for a test of your own. Training never reads them; split.json lists them.",
        least=0,
        placeholder="SHARE",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.max_scale < self.min_scale:
            raise make_error(self, "max_scale", f"at least --min-scale ({self.min_scale})")
        if self.test_fraction >= 1 - self.val_fraction:
            raise make_error(self, "test_fraction", "a share that leaves photos to train on")
        for name in ("masks", "val_masks"):
            if not getattr(self, name):
                raise make_error(self, name, f"one or more of {', '.join(ALL_KINDS)}")
        kinds = [parse_kind(text).kind for text in (*self.masks, *self.val_masks)]
        if "silhouettes" in kinds and not self.silhouettes:
            raise ConfigError("mask kind silhouettes needs a folder of cut-outs: add --silhouettes FOLDER.")


def _weight(loss: str, heading: str = "") -> float:
    return setting(0.0, f"Weight of {loss}", least=0, suffix="-weight", heading=heading, placeholder="WEIGHT")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the losses, and their options. A loss of weight 0 is not computed.

    ``perceptual`` compares feature maps of the LPIPS trunk, without LPIPS's learned weights. LaMa's released models
    use a dilated ResNet-50 trained to segment ADE20K; its code also offers this kind, with VGG19.

    ``penalty_every`` follows T. Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), section
    3.1. A penalty costs about a quarter of a step.

    A strided trunk is less sensitive to some phases of a lattice than to others, and a strided network learns to hide
    its lattice in them. ``jitter`` prevents that.
    """

    hole_l1: float = _weight(
        "the mean absolute error inside the hole. It gives faithful colours and soft detail.", "Pixel losses"
    )
    known_l1: float = _weight(
        "the absolute error of the prediction at known pixels, averaged over all pixels. "
        "Filled images never show these predictions."
    )
    mae: float = _weight("the mean absolute error over the whole image.")
    mse: float = _weight("the mean squared error over the whole image.")
    ssim: float = _weight("1 - SSIM (structural similarity) over the whole image.")
    lpips_hole: float = _weight(
        "LPIPS (visible difference, as a trained network sees it) in the hole and 16 pixels around it. It gives "
        "sharper texture.",
        "Feature losses",
    )
    lpips: float = _weight("LPIPS over the whole image.")
    perceptual: float = _weight(
        "the perceptual loss: the mean squared difference of the feature maps of LPIPS's network, over the whole image."
    )
    lpips_network: LpipsNetwork = setting(
        "alexnet",
        "Network whose features LPIPS and the perceptual loss compare. alexnet costs little on a CPU; vgg16 is that of "
        "LaMa's recipes.",
    )
    jitter: int = setting(
        0,
        "Largest random shift of the images that perceptual and adversarial losses compare. It prevents lattice "
        "patterns in fills; 0 shifts none.",
        least=0,
        placeholder="PIXELS",
    )
    adversarial_kind: AdversarialKind = setting(
        "none",
        "Train a discriminator, which tells fills from photos, against the network: non-saturating (LaMa's loss), "
        "wasserstein (with a gradient penalty), or none.",
        heading="Adversarial losses",
    )
    adversarial: float = _weight(
        "the network's adversarial loss, which rewards fills that the discriminator takes for photos."
    )
    feature_matching: float = _weight("the mean squared difference of the discriminator's feature maps, fill to photo.")
    r1: float = _weight(
        "the R1 penalty, the discriminator's squared gradient norm at photos. It belongs to --adversarial-kind "
        "non-saturating."
    )
    gradient_penalty: float = _weight(
        "the gradient penalty of --adversarial-kind wasserstein, which needs it. Its authors use 10."
    )
    penalty_every: int = setting(
        1,
        "Steps from one R1 or gradient penalty to the next. A penalty costs about a quarter of a step, and counts for "
        "all the steps it stands for.",
        least=1,
        placeholder="STEPS",
    )
    discriminator_channels: int = setting(64, "Channels of the discriminator's first layer.", least=1)
    discriminator_layers: int = setting(
        4,
        "Discriminator layers of stride 2. It judges patches of 70x70 pixels with 3, of 142x142 with 4 (LaMa's).",
        least=1,
    )
    discriminator_sees_mask: bool = setting(False, "Show the discriminator the mask as a fourth channel.")

    def __post_init__(self) -> None:
        check_settings(self)
        self._check_adversarial()
        if not any(getattr(self, name) for name in _GENERATOR):
            flags = ", ".join(map(_flag, _GENERATOR))
            raise ConfigError(f"every loss weight is 0: set one or more of {flags}.")

    def _check_adversarial(self) -> None:
        kind = self.adversarial_kind
        if kind == "none":
            for name in _ADVERSARIAL:
                if getattr(self, name):
                    raise ConfigError(
                        f"{_flag(name)} is {getattr(self, name)}, but there is no discriminator: set "
                        f"--adversarial-kind non-saturating or wasserstein, or {_flag(name)} 0."
                    )
            return
        if not self.adversarial:
            raise ConfigError(
                f"--adversarial-kind is {kind}, but {_flag('adversarial')} is 0: set it above 0, or "
                "--adversarial-kind none."
            )
        foreign = "gradient_penalty" if kind == "non-saturating" else "r1"
        if getattr(self, foreign):
            raise ConfigError(
                f"{_flag(foreign)} is {getattr(self, foreign)}, but --adversarial-kind {kind} has no such penalty: set "
                f"it to 0{' and --r1-weight above 0' if kind == 'non-saturating' else ''}."
            )
        if kind == "wasserstein" and not self.gradient_penalty:
            raise ConfigError(
                f"{_flag('gradient_penalty')} is 0, but --adversarial-kind wasserstein needs the penalty: set it above "
                "0 (its authors use 10)."
            )

    @property
    def needs_lpips(self) -> bool:
        """Whether the losses need a trained LPIPS trunk."""
        return any(getattr(self, name) for name in _PERCEPTUAL)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}-weight"


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """Batches, optimizers, schedule and precision."""

    steps: int = setting(
        0,
        "Length of the run in optimizer steps, each of --batch-size crops. 0 leaves it to --epochs.",
        least=0,
        heading="Length and checkpoints",
    )
    epochs: int = setting(0, "Length of the run in epochs. 0 leaves it to --steps.", least=0)
    steps_per_epoch: int = setting(
        0,
        "Length of an epoch, which ends with a validation, a sample picture and a save. 0 is one pass over the photos.",
        least=0,
        placeholder="STEPS",
    )
    monitor: Monitor = setting(
        "psnr", "Metric, inside the holes of the validation photos, that decides which weights are kept as best.pt."
    )
    save_every: int = setting(
        0,
        "Also save last.pt after this many steps within an epoch. 0 saves only at its end.",
        least=0,
        placeholder="STEPS",
    )
    batch_size: int = setting(
        16,
        "Crops in an optimizer step, over all processes. If memory runs out, raise --accumulate or lower this.",
        least=1,
        heading="Speed and memory",
        placeholder="CROPS",
    )
    accumulate: int = setting(
        1,
        "Parts of a batch that a process computes one after the other. More parts need less memory; only the "
        "statistics of batch normalization differ.",
        least=1,
    )
    precision: Precision = setting(
        "auto",
        "Arithmetic precision. bf16 and fp16 are mixed with float32; fp16 needs a GPU. auto: bf16 on hardware with "
        "fast bf16, else float32.",
    )
    compile: bool = setting(
        False, "Compile the network with torch.compile. The first step is slow; later ones may be faster."
    )
    channels_last: bool = setting(True, "Use the channels-last memory layout, the fastest for convolutions.")
    learning_rate: float = setting(
        1e-3, "Highest learning rate of AdamW; see --schedule.", above=0, heading="Optimizer", placeholder="RATE"
    )
    warmup_steps: int = setting(
        0, "Steps at the start in which the learning rate rises to --learning-rate.", least=0, placeholder="STEPS"
    )
    schedule: ScheduleKind = setting(
        "cosine",
        "Course of the learning rate. cosine: it falls to 1% by the end. constant: it stays. epochs: after "
        "--adamw-epochs, SGD continues from the best weights. plateau: SGD does so after --patience epochs without "
        "improvement, and as many more end the run.",
    )
    adamw_epochs: int = setting(
        0, "Epochs before SGD takes over, with --schedule epochs.", least=0, placeholder="EPOCHS"
    )
    patience: int = setting(
        0,
        "Epochs without improvement that end a stage (AdamW, then SGD), with --schedule plateau.",
        least=0,
        placeholder="EPOCHS",
    )
    sgd_learning_rate: float = setting(
        1e-3, "Learning rate of SGD, with --schedule epochs or plateau.", above=0, placeholder="RATE"
    )
    sgd_momentum: float = setting(
        0.9, "Momentum of SGD, with --schedule epochs or plateau.", least=0, below=1, placeholder="SHARE"
    )
    weight_decay: float = setting(0.01, "Weight decay of AdamW, which pulls weights towards 0.", least=0)
    beta1: float = setting(
        0.9, "AdamW's beta1: decay of its running mean of gradients.", least=0, below=1, placeholder="DECAY"
    )
    beta2: float = setting(
        0.999, "AdamW's beta2: decay of its running mean of squared gradients.", least=0, below=1, placeholder="DECAY"
    )
    clip_norm: float = setting(
        0.0,
        "Largest norm of the gradient; larger ones are scaled down to it. Try 1 if the loss jumps; 0 never clips.",
        least=0,
        placeholder="NORM",
    )
    ema_decay: float = setting(
        0.0,
        "Decay of a moving average of the weights, such as 0.999. The average is what is validated and exported. "
        "0 uses the weights themselves.",
        least=0,
        below=1,
        placeholder="DECAY",
    )
    discriminator_learning_rate: float = setting(
        1e-4, "Learning rate of the discriminator's AdamW.", above=0, placeholder="RATE"
    )
    discriminator_steps: int = setting(
        1,
        "Steps of the discriminator for each step of the network, each on crops of its own.",
        least=1,
        placeholder="STEPS",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if bool(self.steps) == bool(self.epochs):
            raise ConfigError(
                f"--steps is {self.steps} and --epochs {self.epochs}: set exactly one of them to 1 or more; it is the "
                "length of the run."
            )
        if self.batch_size % self.accumulate:
            raise make_error(self, "accumulate", f"a divisor of --batch-size ({self.batch_size})")
        for name, kind in (("adamw_epochs", "epochs"), ("patience", "plateau")):
            value = getattr(self, name)
            if self.schedule == kind and not value:
                raise make_error(self, name, f"1 or more with --schedule {kind}")
            if self.schedule != kind and value:
                raise make_error(self, name, f"0 with --schedule {self.schedule}; it belongs to --schedule {kind}")

    @property
    def crops_per_step(self) -> int:
        """Crops per optimizer step, including those that train only the discriminator."""
        return self.batch_size * self.discriminator_steps


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A resolved training configuration; every checkpoint and bundle stores it.

    Attributes:
        recipe: The recipe it started from.
        architecture: Name in the model registry.
        hyper_parameters: Arguments of the architecture.
        seed: Seed of the weights, split, crops and masks.
        data: Photos, crops and masks.
        loss: Loss weights and options.
        optimization: Batches, optimizers, schedule and precision.
    """

    recipe: str
    architecture: str = "wavepaint"
    hyper_parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = setting(0, "Seed of the weights, split, crops and masks.", least=0)
    data: DataConfig = DataConfig()
    loss: LossConfig
    optimization: OptimizationConfig

    def __post_init__(self) -> None:
        check_settings(self)
        if self.optimization.monitor == "lpips" and not self.loss.needs_lpips:
            expected = "psnr or ssim, or a loss that loads LPIPS, such as --lpips-hole-weight"
            raise make_error(self.optimization, "monitor", expected)
        if self.optimization.discriminator_steps > 1 and self.loss.adversarial_kind == "none":
            raise make_error(self.optimization, "discriminator_steps", "1 with --adversarial-kind none")
        most = max(self.data.crop_size - _MIN_JITTERED_SIDE, 0)
        if self.loss.jitter > most:
            rest = f"{_MIN_JITTERED_SIDE} pixels of a crop of {self.data.crop_size}"
            raise make_error(self.loss, "jitter", f"at most {most}, which leaves {rest} (--crop-size)")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON and TOML."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Invert :meth:`to_dict`; settings left out get their defaults.

        Raises:
            ConfigError: A key is unknown, or a value has the wrong type or is out of bounds.
        """
        return read_section(cls, values)

    def change(self, values: Mapping[str, Any]) -> "TrainConfig":
        """Return this configuration with some values changed.

        Setting only ``steps`` or only ``epochs`` sets the other to 0.

        Args:
            values: Nested like :meth:`to_dict`. Hyper-parameters change one by one. A new architecture drops all of
                the former ones.

        Raises:
            ConfigError: As :meth:`from_dict`.
        """
        new = self.to_dict()
        if values.get("architecture", self.architecture) != self.architecture:
            new["hyper_parameters"] = {}
        length = values.get("optimization", {})
        if isinstance(length, Mapping):
            for one, other in (("steps", "epochs"), ("epochs", "steps")):
                if length.get(one) and other not in length:
                    new["optimization"][other] = 0
        for key, value in values.items():
            if isinstance(value, Mapping) and isinstance(new.get(key), dict):
                new[key] = {**new[key], **value}
            else:
                new[key] = value
        return self.from_dict(new)


SECTIONS: Mapping[str, type] = types.MappingProxyType(
    {"data": DataConfig, "loss": LossConfig, "optimization": OptimizationConfig}
)
"""The sections of a configuration by name."""

_FREE_TO_CHANGE = {"data": ("workers", "max_broken"), "optimization": ("save_every", "compile")}
"""Settings that no weight depends on; they may change when a run is resumed."""


def find_differences(saved: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the names of the settings that differ between two configurations and affect the weights."""
    differing = []
    for key in sorted(saved.keys() | new.keys()):
        a, b = saved.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict) and key != "hyper_parameters":
            free = _FREE_TO_CHANGE.get(key, ())
            differing += [n for n in sorted(a.keys() | b.keys()) if a.get(n) != b.get(n) and n not in free]
        elif a != b:
            differing.append(key)
    return differing
