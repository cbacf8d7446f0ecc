"""Blending two sets of weights of the same network.

If the second set started from the first, as a sharp second stage starts from a faithful first one, blended weights give
intermediate fills: less invented than the second's, less blurred than the first's.

Source: X. Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks" (2018), section 3.4,
network interpolation.
"""

from typing import Any

from torch import Tensor

from wavepaint.errors import CheckpointError, ConfigError
from wavepaint.weights.checkpoint import Checkpoint


def blend_weights(first: Checkpoint, second: Checkpoint, share: float) -> dict[str, Tensor]:
    """Return (1 - share) times the first's weights and batch statistics plus share times the second's.

    Integer entries (counters, settings) are the second's.

    Args:
        first: The result for share 0.
        second: The result for share 1.
        share: 0 to 1.

    Raises:
        ConfigError: The share is out of range.
        CheckpointError: The checkpoints are of different networks.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"--share is {share}: expected 0 (the first checkpoint) to 1 (the second).")
    if first.architecture.name != second.architecture.name or first.parameters != second.parameters:
        raise CheckpointError(
            f"{first.path} and {second.path} are not of the same network: {first.architecture.name} "
            f"{first.parameters} and {second.architecture.name} {second.parameters}."
        )
    return {
        name: first.state[name].lerp(tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in second.state.items()
    }


def describe_blend(first: Checkpoint, second: Checkpoint, share: float) -> dict[str, Any]:
    """Return the training record of a blend: the second's, with a record of the first."""
    return {
        **second.training,
        "blended_with": {
            "file": first.path.name,
            "sha256": first.sha256,
            "share_of_this": share,
            "training": first.training,
        },
        "validation": None,  # the blend has not been validated
    }
