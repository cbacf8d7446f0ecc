"""What a run will need: the time that is left, and the space of its files."""

import math
from dataclasses import dataclass
from io import BytesIO

from PIL import Image
from torch import nn

from wavepaint.training.network_step import NetworkStep
from wavepaint.training.optimization_config import OptimizationConfig

FIRST_VALIDATION = 25
"""Steps before the first validation of a long epoch."""
_MEASURED_STEPS = 20
"""Steps that an estimate of the time rests on."""


def is_early(step: int, steps_per_epoch: int) -> bool:
    """Return whether the first epoch is validated after this step, long before its end.

    A validation follows :data:`FIRST_VALIDATION` steps and then every doubling of them, up to half of the epoch.
    """
    doublings = step / FIRST_VALIDATION
    return doublings >= 1 and 2 * step <= steps_per_epoch and math.log2(doublings).is_integer()


def count_validations(step: int, total_steps: int, steps_per_epoch: int) -> int:
    """Return the number of epochs that end after a step."""
    return math.ceil(total_steps / steps_per_epoch) - step // steps_per_epoch if step < total_steps else 0


class Pace:
    """The speed of a run.

    The first step is not counted: during it, loader processes start and kernels are chosen.

    Attributes:
        validation_s: Duration of the last validation in seconds, 0 before the first.
    """

    def __init__(self) -> None:
        self.validation_s = 0.0
        self._first: tuple[int, float] | None = None
        self._estimated = False

    def estimate(self, step: int, seconds: float, *, total_steps: int, steps_per_epoch: int) -> float | None:
        """Return the seconds that are left, once: after the first steps of a run or of its resumption.

        Args:
            step: Steps done.
            seconds: Time that they took, without validations.
            total_steps: Length of the run in steps.
            steps_per_epoch: Steps between validations.
        """
        if self._first is None:
            self._first = step, seconds
        steps = step - self._first[0]
        if self._estimated or steps < _MEASURED_STEPS:
            return None
        self._estimated = True
        step_s = (seconds - self._first[1]) / steps
        validations = count_validations(step, total_steps, steps_per_epoch)
        return (total_steps - step) * step_s + validations * self.validation_s


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """The space that a run needs, in bytes.

    Attributes:
        checkpoints: Both checkpoints, and the copy that replaces one of them.
        samples: The sample pictures that are still to come.
    """

    checkpoints: int
    samples: int

    @property
    def total(self) -> int:
        """The space of all files."""
        return self.checkpoints + self.samples


def estimate_disk(
    train_step: NetworkStep, picture: Image.Image, config: OptimizationConfig, *, num_pictures: int, resume: bool
) -> DiskUse:
    """Estimate the space that a run needs.

    Args:
        train_step: The networks and their optimizers.
        picture: A sample picture.
        config: The optimization settings.
        num_pictures: Number of sample pictures to come.
        resume: Whether the checkpoints exist already.
    """
    weights = _count_bytes(train_step.model)
    moments = 2 * sum(tensor.nbytes for tensor in train_step.model.parameters())
    last = weights + moments + (weights if config.ema_decay else 0)
    if train_step.discriminator is not None:
        last += 3 * _count_bytes(train_step.discriminator)
    # Every file is written beside the old one and then takes its place.
    return DiskUse(checkpoints=last if resume else 2 * last + weights, samples=num_pictures * _measure_png(picture))


def _count_bytes(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def _measure_png(picture: Image.Image) -> int:
    stream = BytesIO()
    picture.save(stream, "PNG")
    return stream.tell()
