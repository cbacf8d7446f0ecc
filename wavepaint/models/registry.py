"""Every architecture by name: how to build it, and how to recognise it in a state dict."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from wavepaint.errors import CheckpointError, ConfigError
from wavepaint.models.lama import LaMa, detect_lama
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
        build: Builds it from its hyper-parameters.
        detect: Reads the hyper-parameters from a state dict, or returns None if it is another architecture's.
        size_multiple: Height and width must be multiples of this, given the hyper-parameters; ConfigError if those make
            no sense.
    """

    name: str
    task: Task
    build: Callable[..., nn.Module]
    detect: Callable[[Mapping[str, Tensor]], Mapping[str, Any] | None]
    size_multiple: Callable[[HyperParameters], int]


def _whole(parameters: HyperParameters, name: str, default: int, most: int = 10) -> int:
    """Return a number of halvings, or what else a size must be a multiple of, as long as anybody can mean it."""
    value = parameters.get(name, default)
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ConfigError(f"{name} is {value!r}: expected a whole number up to {most}.")
    return value


def _classifier_multiple(parameters: HyperParameters) -> int:
    strided = parameters.get("initial_conv") == "strided"
    stem = _whole(parameters, "stride", 2) ** 2 if strided else _whole(parameters, "patch_size", 4, most=256)
    return int(stem * 2 ** _whole(parameters, "level", 1))


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name="wavepaint",
            task="inpainting",
            build=WavePaint,
            detect=detect_wavepaint,
            size_multiple=lambda parameters: 2 ** (_whole(parameters, "level", 1) + 1),
        ),
        Architecture(
            name="lama",
            task="inpainting",
            build=LaMa,
            detect=detect_lama,
            size_multiple=lambda parameters: 2 ** _whole(parameters, "num_downsampling", 3),
        ),
        Architecture(
            name="unet",
            task="inpainting",
            build=UNet,
            detect=detect_unet,
            size_multiple=lambda parameters: UNet.size_multiple,
        ),
        Architecture(
            name="wavemix-classifier",
            task="classification",
            build=WaveMixClassifier,
            detect=detect_classifier,
            size_multiple=_classifier_multiple,
        ),
        Architecture(
            name="wavemix-segmenter",
            task="segmentation",
            build=WaveMixSegmenter,
            detect=detect_segmenter,
            size_multiple=lambda parameters: _whole(parameters, "stride", 2) ** 2 * 2 ** _whole(parameters, "level", 1),
        ),
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


def build_model(name: str, parameters: HyperParameters) -> nn.Module:
    """Build an architecture with fresh weights.

    Raises:
        ConfigError: Unknown architecture, unknown hyper-parameter or a value that makes no sense.
    """
    try:
        return get_architecture(name).build(**parameters)
    except (TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:  # of PyTorch's layers
        reason = str(error).rstrip(".")
        raise ConfigError(f"{name} cannot be built from {parameters}: {reason}.") from error


def detect_architecture(state: Mapping[str, Tensor]) -> tuple[Architecture, HyperParameters]:
    """Recognise architecture and hyper-parameters from names and shapes alone.

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
