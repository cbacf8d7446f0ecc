"""The configuration of a training run: frozen sections of settings.

The fields of a section are the flags of ``wp train`` and the keys of the section's table in a TOML file.
"""

import dataclasses
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wavepaint.training.data_config import DataConfig
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.optimization_config import OptimizationConfig
from wavepaint.training.settings import check_settings, make_error, read_section, setting

_MIN_JITTERED_SIDE = 32
"""Pixels of a crop that jitter must leave: the smallest input of AlexNet's trunk is 31."""


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
    data: DataConfig = field(default_factory=DataConfig)
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
