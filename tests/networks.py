"""Small and random networks that several folders share."""

import torch

from wavepaint.metrics.lpips import LPIPS, Network

BARE = {"num_modules": 1, "blocks_per_module": 1, "final_dim": 8, "mult": 2, "ff_channel": 8, "level": 1}
"""Hyper-parameters of the paper's network with one block, without what this project adds."""


def make_random_lpips(network: Network, seed: int = 0) -> LPIPS:
    """Return LPIPS with random convolutions and random heads that are not negative."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = LPIPS(network)
    for head in module.heads.parameters():
        head.abs_()
    return module
