"""LPIPS with random weights, for tests that need no official weights."""

import torch

from wavepaint.metrics.lpips import LPIPS, Network


def make_random_lpips(network: Network, seed: int = 0) -> LPIPS:
    """Return LPIPS with random convolutions and random heads that are not negative."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = LPIPS(network)
    for head in module.heads.parameters():
        head.abs_()
    return module
