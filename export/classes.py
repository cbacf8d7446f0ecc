"""What the bundle of a classifier or a segmenter says about its classes and its input images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from wavepaint.contract import MAX_LABEL_LENGTH, PRESETS, SEGMENTATION, Preprocessing, Task, get_task
from wavepaint.errors import CheckpointError, ConfigError
from wavepaint.weights.checkpoint import Checkpoint

MAX_LABELS_BYTES = 1 << 20
"""Largest file of labels."""


@dataclass(frozen=True, kw_only=True)
class ClassOptions:
    """What the checkpoint of a classifier or a segmenter does not say. Those of ``wp train`` say it.

    Attributes:
        labels: Names of the classes; None takes those of the checkpoint, or numbers them.
        preprocessing: Name of what the training did with its images, in :data:`wavepaint.contract.PRESETS`; None takes
            what the checkpoint says.
        image_size: (height, width) in pixels to scale images to; None takes that of ``preprocessing``.
    """

    labels: tuple[str, ...] | None = None
    preprocessing: str | None = None
    image_size: tuple[int, int] | None = None


def describe_classes(checkpoint: Checkpoint, size_multiple: int, options: ClassOptions) -> dict[str, Any]:
    """Return the manifest's fields for the classes of a network; none for inpainting.

    Raises:
        ConfigError: Options that do not suit the network.
        CheckpointError: What the checkpoint says of its classes is damaged.
    """
    architecture = checkpoint.architecture
    task = get_task(architecture.task)
    if task.has_classes:
        config = architecture.make_config(checkpoint.parameters)
        labels, recorded = read_record(checkpoint)
        return {
            "labels": choose_labels(labels if options.labels is None else options.labels, config.num_classes),
            "preprocessing": choose_preprocessing(
                task, options.preprocessing, options.image_size, size_multiple, recorded
            ),
        }
    if options != ClassOptions():
        article = "an" if task.name[0] in "aeiou" else "a"
        raise ConfigError(
            f"{checkpoint.path} is {article} {task.name} network, which has no classes: leave out --labels, "
            "--preprocessing and --image-size."
        )
    return {}


class _Record(msgspec.Struct):
    """What ``wp train`` writes into the training record of a checkpoint with classes."""

    labels: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None


def read_record(checkpoint: Checkpoint) -> tuple[tuple[str, ...] | None, Preprocessing | None]:
    """Return the labels and the preprocessing in a checkpoint's training record, None where it has none.

    Raises:
        CheckpointError: They are damaged.
    """
    try:
        record = msgspec.convert(checkpoint.training, _Record)
    except msgspec.ValidationError as error:
        raise CheckpointError(
            f"{checkpoint.path} has a damaged record of its classes ({error}): train it again."
        ) from error
    return record.labels, record.preprocessing


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file, one label each; blank lines at the end are ignored.

    Raises:
        ConfigError: The file cannot be read, is not text, or a label is empty, repeated, too long or not printable.
    """
    try:
        if path.stat().st_size > MAX_LABELS_BYTES:
            raise ConfigError(
                f"{path} is larger than {MAX_LABELS_BYTES >> 20} MiB: expected one label a line (--labels)."
            )
        labels = path.read_text("utf-8-sig").rstrip().split("\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error} (--labels).") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not a text file in UTF-8: expected one label a line (--labels).") from error
    labels = [label.strip() for label in labels]
    first: dict[str, int] = {}
    for number, label in enumerate(labels, 1):
        if not label:
            raise ConfigError(f"{path} has no label in line {number}: expected one a line (--labels).")
        if len(label) > MAX_LABEL_LENGTH or not label.isprintable():
            raise ConfigError(
                f"line {number} of {path} is not a label: expected printable text of at most {MAX_LABEL_LENGTH} "
                "characters (--labels)."
            )
        if label in first:
            raise ConfigError(
                f"{path} has the label {label!r} in lines {first[label]} and {number}: expected different ones "
                "(--labels)."
            )
        first[label] = number
    return tuple(labels)


def choose_labels(labels: Sequence[str] | None, num_classes: int) -> list[str]:
    """Return the labels, or the numbers of the classes from 0.

    Raises:
        ConfigError: There are more or fewer labels than classes.
    """
    if labels is None:
        return [str(number) for number in range(num_classes)]
    if len(labels) != num_classes:
        raise ConfigError(f"there are {len(labels)} labels: this network has {num_classes} classes (--labels).")
    return list(labels)


def choose_preprocessing(
    task: Task,
    preset: str | None,
    size: tuple[int, int] | None,
    size_multiple: int,
    recorded: Preprocessing | None = None,
) -> Preprocessing:
    """Return what the training did with its images.

    Args:
        task: What the network is for. A segmenter's images are never cropped, because every pixel needs a class.
        preset: A name in :data:`wavepaint.contract.PRESETS`.
        size: (height, width) in pixels to scale images to, instead of the preset's.
        size_multiple: Height and width must be multiples of this.
        recorded: What the checkpoint says; a preset replaces it.

    Raises:
        ConfigError: There is no preset, or the size does not suit the network.
    """
    if preset is None and recorded is None:
        raise ConfigError(
            "the checkpoint does not say how its training normalised and scaled images, and a wrong guess costs "
            f"accuracy. Name it with --preprocessing: {', '.join(PRESETS)}."
        )
    if preset is not None:
        if preset not in PRESETS:
            raise ConfigError(f"unknown preprocessing {preset!r}: expected {', '.join(PRESETS)} (--preprocessing).")
        recorded = PRESETS[preset]
    assert recorded is not None
    chosen = recorded if size is None else replace(recorded, size=size)
    if task is SEGMENTATION:
        chosen = replace(chosen, resize="stretch")
    if chosen.size is not None and any(side % size_multiple for side in chosen.size):
        height, width = chosen.size
        raise ConfigError(
            f"images would be scaled to {width}x{height} pixels: this network takes multiples of {size_multiple} "
            "(--image-size)."
        )
    return chosen
