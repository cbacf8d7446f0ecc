"""The tasks of networks: what goes in, what comes out, and which command runs a bundle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from wavepaint.contract.tensors import (
    CLASS_MAP_TENSORS,
    CLASS_TENSORS,
    INPUT_IMAGE,
    INPUT_MASK,
    OUTPUT_IMAGE,
    OUTPUT_LOGITS,
    TENSORS,
    UPSCALED_TENSORS,
    IoDtype,
)

TaskName = Literal["inpainting", "classification", "segmentation", "super-resolution"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One kind of network.

    Attributes:
        name: Its name in manifests and in the registry of architectures.
        command: The command that runs a bundle.
        inputs: Names of the input tensors, in order. The image is the first.
        output: Name of the output tensor.
        tensors: The tensors of each I/O dtype, as every manifest repeats them.
        measures: What verification measures beside errors, as keys of a report.
        has_classes: Whether the output has one channel for each label of the manifest.
    """

    name: TaskName
    command: str
    inputs: tuple[str, ...]
    output: str
    tensors: Mapping[IoDtype, Any] = field(repr=False)
    measures: frozenset[str]
    has_classes: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickle as the same object, in other processes too."""
        return get_task, (self.name,)


INPAINTING = Task(
    name="inpainting",
    command="wp infer",
    inputs=(INPUT_IMAGE, INPUT_MASK),
    output=OUTPUT_IMAGE,
    tensors=TENSORS,
    measures=frozenset({"min_psnr_hole_db", "min_ssim_hole", "known_identical"}),
)

_CLASS_MEASURES = frozenset({"max_relative_error", "class_agreement"})

CLASSIFICATION = Task(
    name="classification",
    command="wp classify",
    inputs=(INPUT_IMAGE,),
    output=OUTPUT_LOGITS,
    tensors=CLASS_TENSORS,
    measures=_CLASS_MEASURES,
    has_classes=True,
)

SEGMENTATION = Task(
    name="segmentation",
    command="wp segment",
    inputs=(INPUT_IMAGE,),
    output=OUTPUT_LOGITS,
    tensors=CLASS_MAP_TENSORS,
    measures=_CLASS_MEASURES,
    has_classes=True,
)

SUPER_RESOLUTION = Task(
    name="super-resolution",
    command="wp upscale",
    inputs=(INPUT_IMAGE,),
    output=OUTPUT_IMAGE,
    tensors=UPSCALED_TENSORS,
    measures=frozenset({"min_psnr_db"}),
)

TASKS: dict[str, Task] = {task.name: task for task in (INPAINTING, CLASSIFICATION, SEGMENTATION, SUPER_RESOLUTION)}


def get_task(name: str) -> Task:
    """Return the task with a name of :data:`TASKS`."""
    return TASKS[name]
