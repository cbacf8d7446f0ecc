"""What a training run is made of: frozen sections, readable from and written to TOML.

A section's attributes are the command line's flags (``crop_size`` is ``--crop-size``) and the keys of its table in a
TOML file; their descriptions here are the flags' help.
"""

import dataclasses
import difflib
import json
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from wavepaint.data.masks import ALL_KINDS, parse_kind
from wavepaint.errors import ConfigError

Precision = Literal["auto", "float32", "bf16", "fp16"]
ScheduleKind = Literal["cosine", "constant", "epochs", "plateau"]
Monitor = Literal["psnr", "ssim", "lpips"]
LpipsNetwork = Literal["alexnet", "vgg16"]
AdversarialKind = Literal["none", "non-saturating", "wasserstein"]

_PIXELS = ("ssim", "mae", "mse", "hole_l1", "known_l1")
_PERCEPTUAL = ("lpips", "lpips_hole", "perceptual")
_ADVERSARIAL = ("adversarial", "feature_matching", "r1", "gradient_penalty")


def _bad(name: str, value: object, expected: str) -> ConfigError:
    return ConfigError(f"--{name.replace('_', '-')} is {value}: expected {expected}.")


def _check(section: object, *, least: Mapping[str, float], positive: tuple[str, ...] = ()) -> None:
    """Raise a ConfigError for values below their least, not above 0, not finite, or not among a Literal's."""
    for name, kind in get_type_hints(type(section)).items():
        value = getattr(section, name)
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise _bad(name, value, f"one of {', '.join(get_args(kind))}")
        if isinstance(value, float) and not math.isfinite(value):
            raise _bad(name, value, "a finite number")
    for name, bound in least.items():
        if getattr(section, name) < bound:
            raise _bad(name, getattr(section, name), f"{bound:g} or more")
    for name in positive:
        if getattr(section, name) <= 0:
            raise _bad(name, getattr(section, name), "a number above 0")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What the network is shown.

    Attributes:
        crop_size: Side of the square training crops in pixels.
        min_scale: Smallest factor by which a photo is scaled before it is cropped; never so small that the crop does
            not fit.
        max_scale: Largest such factor.
        flip: Mirror every second crop.
        colour: Strength of the random change of brightness, contrast, saturation and hue; 0 is none.
        perspective: Share of the side by which corners are moved at random; 0 is none.
        masks: Mask kinds, drawn with equal probability, or with weights (thin:2,medium:1); thick@256 is drawn at 256
            pixels and scaled to the crop.
        silhouettes: Folder of cut-outs for the mask kind "silhouettes".
        val_fraction: Share of the photos held out for validation where no folder is given for it.
        test_fraction: Share of the photos held out and not touched.
        val_size: Side of the validation images in pixels.
        val_masks: Mask kinds of the validation; the same masks every time.
        val_images: At most so many validation images are used.
        max_broken: So many photos may be undecodable before the run stops.
        workers: Loader processes; 0 loads in the training process.
    """

    crop_size: int = 256
    min_scale: float = 0.25
    max_scale: float = 1.0
    flip: bool = True
    colour: float = 0.0
    perspective: float = 0.0
    masks: tuple[str, ...] = ("thin", "medium", "thick")
    silhouettes: str = ""
    val_fraction: float = 0.05
    test_fraction: float = 0.0
    val_size: int = 256
    val_masks: tuple[str, ...] = ("medium",)
    val_images: int = 512
    max_broken: int = 100
    workers: int = 1

    def __post_init__(self) -> None:
        _check(
            self,
            least={"crop_size": 1, "val_size": 1, "val_images": 1, "colour": 0, "perspective": 0,
                   "max_broken": 0, "workers": 0},
            positive=("min_scale",),
        )  # fmt: skip
        if self.max_scale < self.min_scale:
            raise _bad("max_scale", self.max_scale, f"at least --min-scale ({self.min_scale})")
        if not 0 < self.val_fraction < 1:
            raise _bad("val_fraction", self.val_fraction, "a share between 0 and 1")
        if not 0 <= self.test_fraction < 1 - self.val_fraction:
            raise _bad("test_fraction", self.test_fraction, "a share that leaves photos to train on")
        for name in ("masks", "val_masks"):
            if not getattr(self, name):
                raise _bad(name, "empty", f"one or more of {', '.join(ALL_KINDS)}")
        if "silhouettes" in [parse_kind(kind).kind for kind in (*self.masks, *self.val_masks)] and not self.silhouettes:
            raise ConfigError("mask kind silhouettes needs a folder of cut-outs: add --silhouettes FOLDER.")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """How much each loss counts; 0 leaves it out, and nothing is computed for it.

    Attributes:
        ssim: Of 1 - SSIM over the whole image.
        mae: Of the mean absolute error over the whole image.
        mse: Of the mean squared error over the whole image.
        hole_l1: Of the mean absolute error over the hole alone.
        known_l1: Of the absolute error of what is predicted for known pixels, averaged over all; it never shows in
            a filled image.
        lpips: Of LPIPS.
        lpips_hole: Of LPIPS in the hole and the 16 pixels around it.
        perceptual: Of the squared differences of the maps inside LPIPS's trunk. LaMa's are those of a ResNet50 with
            dilations, trained to segment (ADE20K); this is the other kind that its code has, with the trunk at
            hand for its VGG19.
        adversarial: Of the generator's adversarial term.
        feature_matching: Of the squared differences of what the discriminator makes of output and target.
        r1: Of the gradient's norm at real images, in the discriminator's half.
        gradient_penalty: Of the critic's gradient penalty.
        adversarial_kind: "none"; "non-saturating", LaMa's; "wasserstein", with gradient penalty.
        penalty_every: Steps from one R1 or gradient penalty to the next, which then counts for all of them: they cost
            as much as a quarter of a step, and a slow force need not act at every one. T. Karras et al., "Analyzing
            and Improving the Image Quality of StyleGAN" (2020), section 3.1.
        jitter: Pixels by which images are moved at random before perceptual and adversarial losses look at them.
            Trunks with strides see some phases of a lattice less than others, and a network with strides of its own
            learns to hide one there.
        lpips_network: Trunk of LPIPS and of the perceptual loss.
        discriminator_channels: Of its first layer.
        discriminator_layers: Its layers of stride 2: with 3 a judgement sees 70x70 pixels, with LaMa's 4 142x142.
        discriminator_sees_mask: Whether it is told where the hole is.
    """

    ssim: float = 0.0
    mae: float = 0.0
    mse: float = 0.0
    hole_l1: float = 0.0
    known_l1: float = 0.0
    lpips: float = 0.0
    lpips_hole: float = 0.0
    perceptual: float = 0.0
    adversarial: float = 0.0
    feature_matching: float = 0.0
    r1: float = 0.0
    gradient_penalty: float = 0.0
    adversarial_kind: AdversarialKind = "none"
    penalty_every: int = 1
    jitter: int = 0
    lpips_network: LpipsNetwork = "alexnet"

    discriminator_channels: int = 64
    discriminator_layers: int = 4
    discriminator_sees_mask: bool = False

    def __post_init__(self) -> None:
        for name in (*_PIXELS, *_PERCEPTUAL, *_ADVERSARIAL):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{_flag(name)} is {getattr(self, name)}: expected a number from 0 on.")
        _check(self, least={"discriminator_channels": 1, "discriminator_layers": 1, "penalty_every": 1, "jitter": 0})
        self._check_adversarial()
        generator = (*_PIXELS, *_PERCEPTUAL, "adversarial", "feature_matching")
        if not any(getattr(self, name) for name in generator):
            raise ConfigError(f"every loss weight is 0: set one or more of {', '.join(map(_flag, generator))}.")

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
        if kind == "non-saturating" and self.gradient_penalty:
            raise ConfigError(
                f"{_flag('gradient_penalty')} is {self.gradient_penalty}, which --adversarial-kind non-saturating does "
                f"not have: set it to 0 and {_flag('r1')} above 0."
            )
        if kind == "wasserstein" and self.r1:
            raise ConfigError(
                f"{_flag('r1')} is {self.r1}, which --adversarial-kind wasserstein does not have: set it to 0."
            )
        if kind == "wasserstein" and not self.gradient_penalty:
            raise ConfigError(
                f"{_flag('gradient_penalty')} is 0: --adversarial-kind wasserstein is a distance only with it; set it "
                "above 0 (its authors have 10)."
            )

    @property
    def needs_lpips(self) -> bool:
        """Whether a trained trunk is needed."""
        return any(getattr(self, name) for name in _PERCEPTUAL)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}-weight"


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """How the weights are found.

    Attributes:
        batch_size: Crops an optimizer step, over all processes and accumulated parts.
        accumulate: Parts into which a process cuts its share of a batch, to spare memory.
        steps: Optimizer steps in all; 0 counts by epochs.
        epochs: Epochs in all; 0 counts by steps.
        steps_per_epoch: Steps between validations; 0 is one pass over the photos.
        schedule: "cosine": AdamW to 1 % of its peak; "constant": AdamW; "epochs" and "plateau": AdamW, then the best
            weights again with SGD, after --adamw-epochs or after --patience epochs without gain.
        learning_rate: Of AdamW, its peak.
        beta1: AdamW's decay of the mean gradient.
        beta2: AdamW's decay of the mean squared gradient.
        weight_decay: AdamW's.
        warmup_steps: Linear warm-up of the learning rate.
        adamw_epochs: Epochs of AdamW with --schedule epochs.
        patience: Epochs without gain before --schedule plateau goes on; 0 with the others.
        sgd_learning_rate: Of SGD.
        sgd_momentum: Of SGD.
        discriminator_learning_rate: Of the discriminator's AdamW.
        discriminator_steps: Of the discriminator, each with a batch of its own, to one of the network.
        clip_norm: Gradients are scaled down to this norm; 0 leaves them.
        ema_decay: Decay of the running mean of the weights, which is validated and exported; 0 takes the weights.
        precision: Autocast type; "auto" is bf16 where the hardware has it.
        channels_last: Keep tensors in the layout that convolutions are fastest in.
        compile: Compile the network with torch.compile.
        monitor: Which validation figure says what is best: PSNR, SSIM or LPIPS inside the hole.
        save_every: Steps between saves within an epoch; 0 saves at its end alone.
    """

    batch_size: int = 16
    accumulate: int = 1
    steps: int = 0
    epochs: int = 0
    steps_per_epoch: int = 0
    schedule: ScheduleKind = "cosine"
    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.01
    warmup_steps: int = 0
    adamw_epochs: int = 0
    patience: int = 0
    sgd_learning_rate: float = 1e-3
    sgd_momentum: float = 0.9
    discriminator_learning_rate: float = 1e-4
    discriminator_steps: int = 1
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    precision: Precision = "auto"
    channels_last: bool = True
    compile: bool = False
    monitor: Monitor = "psnr"
    save_every: int = 0

    def __post_init__(self) -> None:
        names = ("steps", "epochs", "steps_per_epoch", "weight_decay", "warmup_steps", "adamw_epochs", "patience",
                 "sgd_momentum", "clip_norm", "save_every")  # fmt: skip
        _check(
            self,
            least={**dict.fromkeys(names, 0), "batch_size": 1, "accumulate": 1, "discriminator_steps": 1},
            positive=("learning_rate", "sgd_learning_rate", "discriminator_learning_rate"),
        )
        for name in ("beta1", "beta2", "ema_decay", "sgd_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise _bad(name, getattr(self, name), "a number from 0 to below 1")
        if bool(self.steps) == bool(self.epochs):
            raise ConfigError(
                f"--steps is {self.steps} and --epochs {self.epochs}: a run is as long as one of them says, so set "
                "one and leave the other 0."
            )
        if self.batch_size % self.accumulate:
            raise _bad("accumulate", self.accumulate, f"a divisor of --batch-size ({self.batch_size})")
        for name, kind in (("adamw_epochs", "epochs"), ("patience", "plateau")):
            value = getattr(self, name)
            if self.schedule == kind and not value:
                raise _bad(name, value, f"1 or more with --schedule {kind}")
            if self.schedule != kind and value:
                raise _bad(name, value, f"0 with --schedule {self.schedule}; it belongs to --schedule {kind}")

    @property
    def crops_per_step(self) -> int:
        """Crops an optimizer step, those that the discriminator alone learns from included."""
        return self.batch_size * self.discriminator_steps


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A resolved training configuration; it is stored in every checkpoint and bundle.

    Attributes:
        recipe: Name of the recipe it began from.
        architecture: Name in the registry.
        hyper_parameters: Arguments of the architecture.
        seed: Of weights, split, crops and masks.
        data: What the network is shown.
        loss: What is minimised.
        optimization: How.
    """

    recipe: str
    architecture: str = "wavepaint"
    hyper_parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    data: DataConfig = DataConfig()
    loss: LossConfig
    optimization: OptimizationConfig

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise _bad("seed", self.seed, "0 or more")
        if self.optimization.monitor == "lpips" and not self.loss.needs_lpips:
            raise _bad("monitor", "lpips", "a loss that loads a perceptual network, such as --lpips-hole-weight")
        if self.optimization.discriminator_steps > 1 and self.loss.adversarial_kind == "none":
            raise _bad("discriminator_steps", self.optimization.discriminator_steps, "1 with --adversarial-kind none")
        most = max(self.data.crop_size - 32, 0)
        if self.loss.jitter > most:
            expected = f"at most {most}, so that 32 pixels of a crop of {self.data.crop_size} are left (--crop-size)"
            raise _bad("jitter", self.loss.jitter, expected)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON and TOML."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Invert :meth:`to_dict`; what is left out has its default.

        Raises:
            ConfigError: Unknown keys, values of another type, or values that make no sense.
        """
        return _build(cls, values, "")

    def change(self, values: Mapping[str, Any]) -> "TrainConfig":
        """Return this configuration with some values changed.

        Setting ``steps`` or ``epochs`` alone takes the place of the other.

        Args:
            values: Nested like :meth:`to_dict`. Hyper-parameters are changed one by one, or all at once where the
                architecture is another.

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


Section = TypeVar("Section")


def _build(kind: type[Section], values: Mapping[str, Any], where: str) -> Section:
    hints = get_type_hints(kind)
    for name in values:
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" Expected {', '.join(hints)}."
            raise ConfigError(f"unknown training setting {where}{name}.{hint}")
    try:
        return kind(**{name: _convert(hints[name], value, where + name) for name, value in values.items()})
    except TypeError as error:
        raise ConfigError(f"the training settings are incomplete: {error}.") from error


def _convert(kind: Any, value: Any, name: str) -> Any:
    """Return a plain value as the type of its field, or raise a ConfigError."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} is {value!r}: expected a table of settings.")
        return _build(kind, value, f"{name}.")
    if get_origin(kind) is Literal:
        return value  # the section says which are allowed, by flag
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{name} is {value!r}: expected a list of names.")
        return tuple(value)
    if get_origin(kind) is dict:
        kind = dict
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{name} is {value!r}: expected {_TYPE_NAMES[kind]}.")
    return value


_TYPE_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    dict: "a table",
}


SECTIONS: Mapping[str, type] = types.MappingProxyType(
    {"data": DataConfig, "loss": LossConfig, "optimization": OptimizationConfig}
)
"""The sections of a configuration by name."""


_FREE_TO_CHANGE = {"data": ("workers", "max_broken"), "optimization": ("save_every", "compile")}
"""Settings that may be others when a run is resumed, since no weight depends on them."""


def find_differences(saved: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the names of settings that differ and matter, sections' names before a dot."""
    differing = []
    for key in sorted(saved.keys() | new.keys()):
        a, b = saved.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict) and key != "hyper_parameters":
            free = _FREE_TO_CHANGE.get(key, ())
            differing += [n for n in sorted(a.keys() | b.keys()) if a.get(n) != b.get(n) and n not in free]
        elif a != b:
            differing.append(key)
    return differing
