"""One optimizer step of a classifier or a segmenter: cross-entropy."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavepaint.contract import Preprocessing
from wavepaint.models.normalized_network import NormalizedNetwork
from wavepaint.training.config import ClassTrainConfig
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.network_step import Batch, NetworkStep
from wavepaint.training.schedule import Schedule

UNLABELLED = -100
"""Number of the class of pixels that no loss counts; PyTorch's own."""


def fit_logits(logits: Tensor, target: Tensor) -> Tensor:
    """Return logits in float32, those of pixels at the size of the target (N, H, W): bilinear, as in ``wp segment``."""
    logits = logits.float()
    if logits.ndim == 4 and logits.shape[2:] != target.shape[1:]:
        return F.interpolate(logits, target.shape[1:], mode="bilinear", align_corners=False)
    return logits


class ClassStep(NetworkStep):
    """Updates the weights of a classifier or a segmenter, one step at a time.

    Args:
        config: The configuration of the run.
        model: The network, on its device.
        schedule: The optimizer and learning rate of each step.
        context: The processes of the run.
        device: The device of the network.
        autocast_dtype: bfloat16 or float16; None is float32 throughout.
        preprocessing: The normalisation of the images.
    """

    def __init__(
        self,
        config: ClassTrainConfig,
        model: nn.Module,
        schedule: Schedule,
        context: DistributedContext,
        device: torch.device,
        *,
        autocast_dtype: torch.dtype | None,
        preprocessing: Preprocessing,
    ) -> None:
        graph = NormalizedNetwork(model, preprocessing).to(device)
        super().__init__(config, model, schedule, context, device, autocast_dtype=autocast_dtype, graph=graph)
        self._label_smoothing = config.classes.label_smoothing

    def run(self, micro_batches: Sequence[Batch], step: int) -> dict[str, Tensor]:
        """Take one step; see :meth:`NetworkStep.run`.

        Args:
            micro_batches: Images with classes (n,), or (n, S, S) of pixels.
            step: Number of the step, from 0.
        """
        # Every micro-batch divides by the mean number of labels. Its mean over all micro-batches and processes is then
        # that over all labels, wherever they are.
        counts = torch.stack([(target != UNLABELLED).sum() for _, target in micro_batches])
        totals = self._context.sum(torch.stack([counts.sum(), torch.ones_like(counts).sum()])).clamp_min(1)
        num_labels = totals[0] / totals[1]
        self._start(step)
        loss = torch.zeros((), device=self.device)
        for index, (image, target) in enumerate(micro_batches, start=1):
            with self._synchronised_if(index == len(micro_batches)):
                part = self._compute(image, target) / num_labels / len(micro_batches)
                self.scaler.scale(part).backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        means = {"loss": loss, "cross_entropy": loss}
        grad_norm = self._step_network()
        if not self.scaler.is_enabled():  # the scaler skips steps that overflow in float16
            means["grad_norm"] = grad_norm
        return means

    def _compute(self, image: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy of a micro-batch, added up over its labels."""
        image = image.contiguous(memory_format=self._layout)
        with self._autocast():
            logits = self._predict(image)
        return F.cross_entropy(
            fit_logits(logits, target),
            target,
            ignore_index=UNLABELLED,
            reduction="sum",
            label_smoothing=self._label_smoothing,
        )
