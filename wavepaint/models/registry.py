"""All architectures by name: task, hyper-parameters, accepted image sizes, and construction.

:mod:`wavepaint.models.architecture_detection` finds the architecture of a state dict.
"""

from dataclasses import dataclass, fields
from typing import Any

from wavepaint.contract import SizeLimits, TaskName
from wavepaint.errors import ConfigError
from wavepaint.models.comodgan import CoModGAN, CoModGANConfig
from wavepaint.models.lama import LaMa, LaMaConfig
from wavepaint.models.network import Network
from wavepaint.models.unet import UNet, UNetConfig
from wavepaint.models.wavemix_networks import (
    WaveMixClassifier,
    WaveMixClassifierConfig,
    WaveMixSegmenter,
    WaveMixSegmenterConfig,
    WaveMixSuperResolution,
    WaveMixSuperResolutionConfig,
)
from wavepaint.models.wavepaint import WavePaint, WavePaintConfig

HyperParameters = dict[str, Any]

MAX_BATCH = 1_024
"""Most images in a batch of a network whose sizes are limited."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture.

    Attributes:
        name: Its name in checkpoints and manifests.
        task: The kind of output. Only inpainting networks take a mask.
        network: Its class, which takes a config.
        config: The dataclass of its hyper-parameters.
        is_comparator: Whether it is built for races only, so that no recipe trains it.
    """

    name: str
    task: TaskName
    network: type[Network]
    config: type[Any]
    is_comparator: bool = False

    def make_config(self, parameters: HyperParameters) -> Any:
        """Check hyper-parameters and return the config; absent ones have their defaults.

        Raises:
            ConfigError: Unknown hyper-parameter, or a value out of range.
        """
        known = [field.name for field in fields(self.config)]
        unknown = [name for name in parameters if name not in known]
        if unknown:
            raise ConfigError(f"unknown hyper-parameter {unknown[0]!r} of {self.name}: expected {', '.join(known)}.")
        return self.config(**parameters)

    def size_multiple(self, parameters: HyperParameters) -> int:
        """Return the number that height and width must be multiples of. It is also the smallest side.

        Raises:
            ConfigError: As :meth:`make_config`.
        """
        multiple: int = self.make_config(parameters).size_multiple
        return multiple

    def find_limits(self, parameters: HyperParameters) -> SizeLimits | None:
        """Return the smallest and the largest size (batch, height, width) that the network takes; None for any.

        Raises:
            ConfigError: As :meth:`make_config`.
        """
        side = getattr(self.make_config(parameters), "only_side", None)
        return None if side is None else ((1, side, side), (MAX_BATCH, side, side))


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(name="wavepaint", task="inpainting", network=WavePaint, config=WavePaintConfig),
        Architecture(name="lama", task="inpainting", network=LaMa, config=LaMaConfig),
        Architecture(name="unet", task="inpainting", network=UNet, config=UNetConfig),
        Architecture(name="comodgan", task="inpainting", network=CoModGAN, config=CoModGANConfig, is_comparator=True),
        Architecture(
            name="wavemix-classifier",
            task="classification",
            network=WaveMixClassifier,
            config=WaveMixClassifierConfig,
        ),
        Architecture(
            name="wavemix-segmenter",
            task="segmentation",
            network=WaveMixSegmenter,
            config=WaveMixSegmenterConfig,
        ),
        Architecture(
            name="wavemix-super-resolution",
            task="super-resolution",
            network=WaveMixSuperResolution,
            config=WaveMixSuperResolutionConfig,
        ),
    )
}


def get_architecture(name: str) -> Architecture:
    """Return the architecture with this name.

    Raises:
        ConfigError: There is no such architecture.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise ConfigError(f"unknown architecture {name!r}: expected one of {', '.join(ARCHITECTURES)}.") from None


def build_model(name: str, parameters: HyperParameters) -> Network:
    """Build an architecture with fresh weights.

    Raises:
        ConfigError: Unknown architecture, unknown hyper-parameter, a value out of range, or a network that is too
            large for PyTorch or for memory.
    """
    architecture = get_architecture(name)
    config = architecture.make_config(parameters)
    try:
        return architecture.network(config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:  # from PyTorch's layers
        reason = str(error).rstrip(".")
        raise ConfigError(f"{name} cannot be built from {parameters}: {reason}.") from error
