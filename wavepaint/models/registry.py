"""Every architecture by name: how to build it, and how to recognise it in a state dict."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from wavepaint.errors import CheckpointError, ConfigError
from wavepaint.models.lama import LaMa, detect_lama
from wavepaint.models.network import Network
from wavepaint.models.unet import UNet, detect_unet
from wavepaint.models.wavemix import WaveMixClassifier, WaveMixSegmenter, detect_classifier, detect_segmenter
from wavepaint.models.wavepaint import WavePaint, detect_wavepaint

HyperParameters = dict[str, Any]
Task = Literal["inpainting", "classification", "segmentation"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture.

    Attributes:
        name: Its name in checkpoints and manifests.
        task: What its output means; only inpainting networks take a mask.
        network: Its class; the arguments are the hyper-parameters.
        detect: Reads the hyper-parameters from a state dict, None for each that leaves no trace there; or returns None
            if it is another architecture's.
    """

    name: str
    task: Task
    network: type[Network]
    detect: Callable[[Mapping[str, Tensor]], Mapping[str, Any] | None]

    def size_multiple(self, parameters: HyperParameters) -> int:
        """Return what height and width of images must be multiples of, as the network itself says.

        Raises:
            ConfigError: The hyper-parameters make no sense.
        """
        with torch.device("meta"):  # without memory for its weights
            return build_model(self.name, parameters).size_multiple


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(name="wavepaint", task="inpainting", network=WavePaint, detect=detect_wavepaint),
        Architecture(name="lama", task="inpainting", network=LaMa, detect=detect_lama),
        Architecture(name="unet", task="inpainting", network=UNet, detect=detect_unet),
        Architecture(
            name="wavemix-classifier", task="classification", network=WaveMixClassifier, detect=detect_classifier
        ),
        Architecture(name="wavemix-segmenter", task="segmentation", network=WaveMixSegmenter, detect=detect_segmenter),
    )
}


def get_architecture(name: str) -> Architecture:
    """Look an architecture up.

    Raises:
        ConfigError: There is none of that name.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise ConfigError(f"unknown architecture {name!r}: expected one of {', '.join(ARCHITECTURES)}.") from None


def build_model(name: str, parameters: HyperParameters) -> Network:
    """Build an architecture with fresh weights.

    Raises:
        ConfigError: Unknown architecture, unknown hyper-parameter or a value that makes no sense.
    """
    try:
        return get_architecture(name).network(**parameters)
    except (TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:  # of PyTorch's layers
        reason = str(error).rstrip(".")
        raise ConfigError(f"{name} cannot be built from {parameters}: {reason}.") from error


def detect_architecture(state: Mapping[str, Tensor]) -> tuple[Architecture, HyperParameters]:
    """Recognise architecture and hyper-parameters from names and shapes alone.

    Returns:
        The architecture, and its hyper-parameters: None for each that leaves no trace there and has to be asked for.

    Raises:
        CheckpointError: No known architecture has these names.
    """
    for architecture in ARCHITECTURES.values():
        try:
            found = architecture.detect(state)
        except (IndexError, ValueError, TypeError, RuntimeError, ZeroDivisionError):
            continue  # entries of its names, but of shapes or values that no network of it has
        if found is not None:
            return architecture, dict(found)
    names = ", ".join(sorted(state)[:3])
    raise CheckpointError(
        f"not a state dict of a known architecture ({', '.join(ARCHITECTURES)}); its first entries are: {names}."
    )
