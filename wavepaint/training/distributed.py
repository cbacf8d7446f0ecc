"""The processes of a run: one, or as many as ``torchrun`` started.

With one process every collective operation returns its input.
"""

import gc
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

from wavepaint.errors import ConfigError


@dataclass(frozen=True)
class DistributedContext:
    """The processes of a run.

    Attributes:
        rank: Index of this process.
        size: Number of processes.
        local_rank: Index of this process on its machine, and of its GPU.
        local_size: Number of processes on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def mean(self, values: Iterable[float]) -> list[float]:
        """Return the means of numbers over all processes."""
        numbers = list(values)
        if self.size == 1:
            return numbers
        tensor = torch.tensor(numbers, dtype=torch.float64, device=_collective_device())
        dist.all_reduce(tensor)
        return [float(number) / self.size for number in tensor]

    def any(self, flag: bool) -> bool:
        """Return whether the flag is true in any process."""
        return self.mean([float(flag)])[0] > 0

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, ordered by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes, on its device and without gradients."""
        if self.size == 1:
            return tensor
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total

    def wait(self) -> None:
        """Wait until every process gets here."""
        if self.size > 1:
            dist.barrier()

    def average_gradients(self, module: nn.Module) -> None:
        """Replace gradients by their means over all processes, in one message.

        DistributedDataParallel cannot wrap a discriminator, because gradient penalties differentiate with respect to
        its input.
        """
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(flat / self.size, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Wrap a network so that its backward pass averages gradients over all processes."""
        if self.size == 1:
            return model
        ids = [device.index] if device.type == "cuda" else None
        # Buffers agree without a broadcast, because batch statistics cover all processes.
        return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)


def _collective_device() -> torch.device:
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def join_distributed(device: str | None) -> DistributedContext:
    """Join the processes that ``torchrun`` started, if any.

    Args:
        device: The requested device. GPUs communicate over NCCL, CPUs over Gloo.

    Raises:
        ConfigError: ``torchrun`` started more processes than there are GPUs.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return DistributedContext()
    context = DistributedContext(
        rank=int(os.environ["RANK"]),
        size=int(os.environ["WORLD_SIZE"]),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
    )
    on_gpu = torch.cuda.is_available() and device != "cpu"
    if on_gpu and context.local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"torchrun started process {context.local_rank + 1} on a machine with {torch.cuda.device_count()} GPU(s). "
            "Pass --nproc-per-node with their number, or --device cpu."
        )
    if context.size > 1 and not dist.is_initialized():
        if on_gpu:
            torch.cuda.set_device(context.local_rank)
        dist.init_process_group("nccl" if on_gpu else "gloo")
    return context


def leave_distributed() -> None:
    """Leave the process group that :func:`join_distributed` joined.

    Every wrapped network must be freed before. A network freed later holds the last reference to the group, and its
    destructor then deadlocks with a thread that waits for Python (seen with Gloo in PyTorch 2.13).
    """
    if dist.is_available() and dist.is_initialized():
        gc.collect()
        dist.destroy_process_group()


def _sum_over_processes(x: Tensor) -> Tensor:
    """Sum with gradients, which dist.all_reduce does not support."""
    total: Tensor = all_reduce(x)  # type: ignore[no-untyped-call]
    return total


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the images of all processes, on any device.

    PyTorch's SyncBatchNorm runs only on GPUs and cannot be differentiated twice, which R1 needs. Every process must
    have the same number of images.
    """

    def forward(self, x_NCHW: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x_NCHW)
        with torch.autocast(x_NCHW.device.type, enabled=False):
            x = x_NCHW.float() if x_NCHW.dtype in (torch.bfloat16, torch.float16) else x_NCHW
            size = dist.get_world_size()
            mean = _sum_over_processes(x.mean(dim=(0, 2, 3))) / size
            centred = x - mean[:, None, None]
            variance = _sum_over_processes(centred.square().mean(dim=(0, 2, 3))) / size
            self._update(mean.detach(), variance.detach(), size * x.numel() // x.shape[1])
            scale = torch.rsqrt(variance + self.eps) * self.weight
            normalised: Tensor = centred * scale[:, None, None] + self.bias[:, None, None]
            return normalised.to(x_NCHW.dtype)

    def _update(self, mean_C: Tensor, variance_C: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        with torch.no_grad():
            self.running_mean.lerp_(mean_C, momentum)
            self.running_var.lerp_(variance_C * count / max(count - 1, 1), momentum)


def synchronise_batch_norm(model: nn.Module, context: DistributedContext, *, fused: bool) -> nn.Module:
    """Make the BatchNorm layers of a model compute their statistics over all processes.

    Args:
        model: The model.
        context: The processes of the run. With one process the model stays as it is.
        fused: Use PyTorch's SyncBatchNorm, which is faster. :class:`SyncedBatchNorm` names its limits.
    """
    if context.size == 1:
        return model
    if fused:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for name, child in list(model.named_children()):
        if type(child) is nn.BatchNorm2d:
            synced = SyncedBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
            synced.load_state_dict(child.state_dict())
            setattr(model, name, synced)
        else:
            synchronise_batch_norm(child, context, fused=fused)
    return model
