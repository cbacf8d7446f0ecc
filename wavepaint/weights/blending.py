"""Between two sets of weights of one network.

Where one was trained on from the other, as a faithful first stage and a sharp second one, weights in between give
fills in between: less invented than the second's, less blurred than the first's.

Source: X. Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks" (2018), section 3.4,
network interpolation.
"""

from typing import Any

from torch import Tensor

from wavepaint.errors import CheckpointError, ConfigError
from wavepaint.weights.checkpoint import Checkpoint


def blend_weights(first: Checkpoint, second: Checkpoint, share: float) -> dict[str, Tensor]:
    """Return (1 - share) times the first's weights and batch statistics plus share times the second's.

    Entries that are not floating point (counters, settings) are the second's.

    Args:
        first: What share 0 gives.
        second: What share 1 gives.
        share: From 0 to 1.

    Raises:
        ConfigError: The share is outside of these.
        CheckpointError: The two are not of one network.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"--share is {share}: expected 0 (the first checkpoint) to 1 (the second).")
    if first.architecture.name != second.architecture.name or first.parameters != second.parameters:
        raise CheckpointError(
            f"{first.path} and {second.path} are not of one network: {first.architecture.name} {first.parameters} and "
            f"{second.architecture.name} {second.parameters}."
        )
    return {
        name: first.state[name].lerp(tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in second.state.items()
    }


def describe_blend(first: Checkpoint, second: Checkpoint, share: float) -> dict[str, Any]:
    """Return the training record of a blend: the second's, with what it was blended from."""
    return {
        **second.training,
        "blended_with": {
            "file": first.path.name,
            "sha256": first.sha256,
            "share_of_this": share,
            "training": first.training,
        },
        "validation": None,  # nobody has measured the blend
    }
