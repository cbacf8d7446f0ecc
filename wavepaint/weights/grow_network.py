"""Starting a network from the checkpoint of one with fewer modules, wavelet levels or inputs."""

import re

from torch import Tensor, nn

from wavepaint.contract import IMAGE_CHANNELS, get_task
from wavepaint.errors import CheckpointError
from wavepaint.models.wavepaint import LEVELS_ENTRY
from wavepaint.weights.checkpoint import Checkpoint
from wavepaint.weights.loading import load_strictly

_LEVEL = re.compile(r"\.feedforward[1-4]")
_CAN_GROW = re.compile(r"\.feedforward[1-4]\.0\.weight$|\.conv\.0\.weight$|\.decoder2\.0\.")


def load_initial_weights(model: nn.Module, checkpoint: Checkpoint, architecture: str) -> None:
    """Load a checkpoint into a network of the same or a larger shape.

    - Added modules and wavelet levels keep the model's weights, which the caller has initialised to have no effect.
    - Added inputs of a layer, such as details, get a weight of 0. Their gates keep the model's weights. The gates of
      the checkpoint are halved, because the added details show the same texture once more.
    - The number of levels of the initial fill is not a weight, so the model's own stays.

    Raises:
        CheckpointError: Another architecture, or weights that do not fit.
    """
    if checkpoint.architecture.name != architecture:
        raise CheckpointError(
            f"{checkpoint.path} is a {checkpoint.architecture.name} network: expected {architecture}, as in this "
            "configuration (--init-from)."
        )
    state = model.state_dict()
    # A block with a single level has no number in the names of its feed-forward.
    initial = {
        name if name in state else name.replace(".feedforward.", ".feedforward1."): tensor
        for name, tensor in checkpoint.state.items()
    }
    if LEVELS_ENTRY in initial and LEVELS_ENTRY in state:
        initial[LEVELS_ENTRY] = state[LEVELS_ENTRY]
    known = {_find_part(name) for name in initial}
    for name, tensor in state.items():
        if name.startswith("wavemodules.") and _find_part(name) not in known:
            initial[name] = tensor
        elif name in initial and _CAN_GROW.search(name):
            initial[name] = _grow(initial[name], tensor)
    load_strictly(model, initial, checkpoint.path)


_HEADS = ("pool.", "expand.")
"""Prefixes of the layers behind the blocks of classifiers and segmenters."""


def load_backbone(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load stem and blocks of a classifier or a segmenter, and the head if its layers have the same names and shapes.

    A classifier can start a segmenter in this way, as the authors do for Cityscapes, and a network for other classes.

    Raises:
        CheckpointError: The checkpoint has no classes, or its stem or blocks do not fit.
    """
    if not get_task(checkpoint.architecture.task).has_classes:
        raise CheckpointError(
            f"{checkpoint.path} is a {checkpoint.architecture.name} network: expected a classifier or a segmenter "
            "(--init-from)."
        )
    fresh, given = (
        {name: tensor for name, tensor in state.items() if name.startswith(_HEADS)}
        for state in (model.state_dict(), checkpoint.state)
    )
    shapes = [{name: tensor.shape for name, tensor in head.items()} for head in (fresh, given)]
    body = {name: tensor for name, tensor in checkpoint.state.items() if name not in given}
    load_strictly(model, body | (given if shapes[0] == shapes[1] else fresh), checkpoint.path)


def _find_part(name: str) -> str:
    """Return the smallest part that can be added: a level ("wavemodules.0.layers.1.feedforward4"), or else a module."""
    level = _LEVEL.search(name)
    return name[: level.end()] if level else ".".join(name.split(".")[:2])


def _grow(weight: Tensor, fresh: Tensor) -> Tensor:
    """Append inputs of weight 0 and the fresh outputs, which are gates, and halve the gates before them.

    A weight that cannot grow to the shape is returned as it is.
    """
    if weight.ndim != fresh.ndim or any(old > new for old, new in zip(weight.shape, fresh.shape, strict=True)):
        return weight
    grown = fresh.clone()
    if fresh.ndim > 1:
        grown[:, weight.shape[1] :] = 0
    grown[tuple(map(slice, weight.shape))] = weight
    if len(fresh) > len(weight):
        grown[IMAGE_CHANNELS : len(weight)] /= 2
    return grown
