"""The metrics that validations report and that ``--monitor`` names."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A metric that can choose the best weights.

    Attributes:
        field: Its attribute of :class:`Metrics`.
        title: Its name in sentences.
        lower_is_better: Whether small values are good.
        scale: Factor of the value that is shown.
        unit: Unit of the value that is shown, with a space before it.
    """

    field: str
    title: str
    lower_is_better: bool = False
    scale: float = 1.0
    unit: str = ""

    def describe(self, value: float) -> str:
        """Return a value with its unit."""
        return f"{self.scale * value:.4g}{self.unit}"


MEASURES: dict[str, Measure] = {
    "psnr": Measure(field="psnr_db", title="PSNR inside the hole", unit=" dB"),
    "ssim": Measure(field="ssim", title="SSIM inside the hole"),
    "lpips": Measure(field="lpips", title="LPIPS inside the hole", lower_is_better=True),
    "top-1": Measure(field="top1", title="Top-1 accuracy", scale=100, unit=" %"),
    "top-5": Measure(field="top5", title="Top-5 accuracy", scale=100, unit=" %"),
    "mean-iou": Measure(field="mean_iou", title="Mean IoU", scale=100, unit=" %"),
    "pixel-accuracy": Measure(field="pixel_accuracy", title="Pixel accuracy", scale=100, unit=" %"),
}
"""The metrics by their names for ``--monitor``."""

MONITORS: Mapping[str, tuple[str, ...]] = {
    "inpaint": ("psnr", "ssim", "lpips"),
    "classify": ("top-1", "top-5"),
    "segment": ("mean-iou", "pixel-accuracy"),
}
"""The metrics of each kind of run."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What a validation measures. Subclasses have a field for each metric; None is not measured."""

    def rank_by(self, monitor: str) -> float:
        """Return the metric that ``--monitor`` names, negated if less is better."""
        measure = MEASURES[monitor]
        value = getattr(self, measure.field)
        if value is None:
            return -float("inf")
        return float(-value if measure.lower_is_better else value)

    def describe(self) -> str:
        """Return the metrics for a line of progress."""
        raise NotImplementedError

    def to_log(self) -> dict[str, Any]:
        """Return the entries of the log."""
        return {f"val_{name}": value for name, value in asdict(self).items()}

    def to_record(self) -> dict[str, Any]:
        """Return the entries of a checkpoint's training record."""
        return asdict(self)
