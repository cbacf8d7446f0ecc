"""The configuration of a training run: frozen sections of settings.

The fields of a section are the flags of ``wp train`` and the keys of the section's table in a TOML file.
"""

import dataclasses
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from wavepaint.errors import ConfigError
from wavepaint.training.class_config import ClassConfig
from wavepaint.training.data_config import DataConfig
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.measures import MONITORS
from wavepaint.training.optimization_config import OptimizationConfig
from wavepaint.training.settings import check_settings, make_error, name_flag, read_section, setting

_MIN_JITTERED_SIDE = 32
"""Pixels of a crop that jitter must leave: the smallest input of AlexNet's trunk is 31."""

RunKind = Literal["inpaint", "classify", "segment"]
"""What a run trains a network to do: the values of ``wp train --task``."""
ClassKind = Literal["classify", "segment"]
RUN_KINDS: tuple[RunKind, ...] = get_args(RunKind)

SECTIONS: Mapping[str, type] = types.MappingProxyType(
    {"data": DataConfig, "loss": LossConfig, "optimization": OptimizationConfig, "classes": ClassConfig}
)
"""The sections of configurations by name. ``loss`` belongs to inpainting, ``classes`` to the other kinds of run."""


class RunConfig:
    """The resolved configuration of a run of any kind; every checkpoint and bundle stores it.

    Attributes:
        recipe: The recipe it started from.
        architecture: Name in the model registry.
        hyper_parameters: Arguments of the architecture.
        seed: Seed of the weights, split, crops and masks.
        data: Photos, crops and masks.
        optimization: Batches, optimizers, schedule and precision.
    """

    recipe: str
    architecture: str
    hyper_parameters: dict[str, Any]
    seed: int
    data: DataConfig
    optimization: OptimizationConfig

    @property
    def kind(self) -> RunKind:
        """What the run trains a network to do."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON and TOML, without the settings of other kinds of run."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[call-overload]
        for section, name in find_foreign(plain, self.kind):
            del plain[section][name]
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Invert :meth:`to_dict`; settings left out get their defaults.

        Raises:
            ConfigError: A key is unknown, or a value has the wrong type or is out of bounds.
        """
        return read_section(cls, values)

    def change(self, values: Mapping[str, Any]) -> Self:
        """Return this configuration with some values changed.

        Setting only ``steps`` or only ``epochs`` sets the other to 0.

        Args:
            values: Nested like :meth:`to_dict`. Hyper-parameters change one by one. A new architecture drops all of
                the former ones.

        Raises:
            ConfigError: As :meth:`from_dict`, or a setting belongs to another kind of run.
        """
        refuse_foreign(values, self.kind)
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

    def _check_monitor(self) -> None:
        metrics = MONITORS[self.kind]
        if self.optimization.monitor not in metrics:
            raise make_error(self.optimization, "monitor", f"{' or '.join(metrics)} with --task {self.kind}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """The configuration of a run that trains an inpainting network; see :class:`RunConfig`.

    Attributes:
        loss: Loss weights and options.
    """

    recipe: str
    architecture: str = "wavepaint"
    hyper_parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = setting(0, "Seed of the weights, split, crops and masks.", least=0)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig
    optimization: OptimizationConfig

    def __post_init__(self) -> None:
        check_settings(self)
        self._check_monitor()
        if self.optimization.monitor == "lpips" and not self.loss.needs_lpips:
            expected = "psnr or ssim, or a loss that loads LPIPS, such as --lpips-hole-weight"
            raise make_error(self.optimization, "monitor", expected)
        if self.optimization.discriminator_steps > 1 and self.loss.adversarial_kind == "none":
            raise make_error(self.optimization, "discriminator_steps", "1 with --adversarial-kind none")
        most = max(self.data.crop_size - _MIN_JITTERED_SIDE, 0)
        if self.loss.jitter > most:
            rest = f"{_MIN_JITTERED_SIDE} pixels of a crop of {self.data.crop_size}"
            raise make_error(self.loss, "jitter", f"at most {most}, which leaves {rest} (--crop-size)")

    @property
    def kind(self) -> RunKind:
        return "inpaint"


@dataclass(frozen=True, kw_only=True)
class ClassTrainConfig(RunConfig):
    """The configuration of a run that trains a classifier or a segmenter; see :class:`RunConfig`.

    Attributes:
        task: Which of the two.
        classes: The loss, the normalisation and the crops.
    """

    task: ClassKind
    recipe: str
    architecture: str
    hyper_parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = setting(0, "Seed of the weights, split and crops.", least=0)
    data: DataConfig
    classes: ClassConfig = field(default_factory=ClassConfig)
    optimization: OptimizationConfig

    def __post_init__(self) -> None:
        check_settings(self)
        self._check_monitor()

    @property
    def kind(self) -> RunKind:
        return self.task

    def change(self, values: Mapping[str, Any]) -> Self:
        """Return this configuration with some values changed, as :meth:`RunConfig.change`.

        Setting only ``crop_size`` also sets ``val_size``: a network works best at the scale that it was trained at.
        """
        data = values.get("data")
        if isinstance(data, Mapping) and "crop_size" in data and "val_size" not in data:
            values = {**values, "data": {**data, "val_size": data["crop_size"]}}
        return super().change(values)


def read_config(values: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of any kind of run that :meth:`RunConfig.to_dict` described.

    Raises:
        ConfigError: As :meth:`RunConfig.from_dict`.
    """
    return (ClassTrainConfig if "task" in values else TrainConfig).from_dict(values)


def find_foreign(values: Mapping[str, Any], kind: RunKind) -> list[tuple[str, str]]:
    """Return section and name of the settings that mean nothing to a kind of run."""
    foreign = []
    for section, settings in SECTIONS.items():
        given = values.get(section)
        given = given if isinstance(given, Mapping) else {}  # read_section refuses other types
        for one in dataclasses.fields(settings):
            is_only_inpainting = section == "loss" or one.metadata["only_inpainting"]
            wrong = section == "classes" if kind == "inpaint" else is_only_inpainting
            if wrong and one.name in given:
                foreign.append((section, one.name))
    return foreign


def refuse_foreign(values: Mapping[str, Any], kind: RunKind) -> None:
    """Refuse settings that mean nothing to a kind of run.

    Raises:
        ConfigError: There are some; the message names their flags.
    """
    foreign = find_foreign(values, kind)
    if foreign:
        fields = {(s, one.name): one for s, settings in SECTIONS.items() for one in dataclasses.fields(settings)}
        flags = ", ".join(name_flag(fields[place]) for place in foreign)
        one_or_more = "it" if len(foreign) == 1 else "them"
        raise ConfigError(
            f"{flags}: no such setting with --task {kind}. Leave {one_or_more} out; wp train --task {kind} "
            "--show-config prints the settings of such a run."
        )


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
