"""Growing one network from the checkpoint of another with fewer modules, levels or inputs."""

import re

from torch import Tensor, nn

from wavepaint.errors import CheckpointError
from wavepaint.weights.checkpoint import Checkpoint, load_strictly

_LEVEL = re.compile(r"\.feedforward[1-4]")
_CAN_GROW = re.compile(r"\.feedforward[1-4]\.0\.weight$|\.conv\.0\.weight$|\.decoder2\.0\.")
_NUM_LEVELS = "prefill_num_levels"


def load_beginning(model: nn.Module, checkpoint: Checkpoint, architecture: str) -> None:
    """Begin from a checkpoint's weights; what it does not have yet begins without an effect.

    That is further modules of WavePaint, left as they are (the caller has made them begin as no change), further
    wavelet levels of its blocks, and detail that is borrowed: what layers see that they did not see before has a
    weight of 0. How much is borrowed begins as the caller has made it. Over how many levels a hole is prefilled is no
    weight: the configuration says it.
    """
    if checkpoint.architecture.name != architecture:
        raise CheckpointError(
            f"{checkpoint.path} is a {checkpoint.architecture.name} network: expected {architecture}, as this "
            "configuration says (--init-from)."
        )
    state = model.state_dict()
    # A block's only level has no number.
    begun = {
        name if name in state else name.replace(".feedforward.", ".feedforward1."): tensor
        for name, tensor in checkpoint.state.items()
    }
    if _NUM_LEVELS in begun and _NUM_LEVELS in state:
        begun[_NUM_LEVELS] = state[_NUM_LEVELS]
    known = {_find_part(name) for name in begun}
    for name, tensor in state.items():
        if name.startswith("wavemodules.") and _find_part(name) not in known:
            begun[name] = tensor
        elif name in begun and _CAN_GROW.search(name):
            begun[name] = _grow(begun[name], tensor)
    load_strictly(model, begun, checkpoint.path)


def _find_part(name: str) -> str:
    """Return what can be new as a whole: a level of a block, "wavemodules.0.layers.1.feedforward4", else a module."""
    level = _LEVEL.search(name)
    return name[: level.end()] if level else ".".join(name.split(".")[:2])


def _grow(weight: Tensor, fresh: Tensor) -> Tensor:
    """Append inputs of weight 0 and fresh outputs; what cannot be had by that is left for the caller to refuse."""
    if weight.ndim != fresh.ndim or any(old > new for old, new in zip(weight.shape, fresh.shape, strict=True)):
        return weight
    grown = fresh.clone()
    if fresh.ndim > 1:
        grown[:, weight.shape[1] :] = 0
    grown[tuple(map(slice, weight.shape))] = weight
    return grown
