"""Random outputs and targets with a hole in each."""

import numpy as np
import torch
from torch import Tensor

SIDE = 64
OUTPUT, TARGET = np.random.default_rng(0).random((2, 2, 3, SIDE, SIDE))
MASK = np.zeros((2, 1, SIDE, SIDE))
MASK[0, :, 10:30, 20:50] = 1
MASK[1, :, 5:9, 40:44] = 1
HOLE = np.broadcast_to(MASK, OUTPUT.shape).astype(bool)


def tensors() -> tuple[Tensor, Tensor, Tensor]:
    return torch.tensor(OUTPUT).float(), torch.tensor(TARGET).float(), torch.tensor(MASK).float()
