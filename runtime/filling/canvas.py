"""A photo that is being filled, and the patches of it that the engine fills."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from wavepaint.runtime.filling.morphology import soften_edge
from wavepaint.runtime.filling.regions import Region
from wavepaint.runtime.filling.scale import Bool, Float
from wavepaint.runtime.images.arrays import Levels, quantize, slice_rows


class Patch(NamedTuple):
    """Input of the engine: (H, W, 3) float32 in [0, 1], and (H, W), true in the hole."""

    image: Float
    hole: Bool


@dataclass(frozen=True)
class Canvas:
    """A photo being filled.

    Attributes:
        source: (H, W, 1 or 3) uint8 or uint16, never written.
        result: The same pixels; those in the hole are written.
        hole: (H, W), true where the fill goes.
        valid: (H, W), true where the source may be used: outside the hole, and where the hole was grown.
        feather: Width in pixels of the transition from fill to photo, inside the hole.
    """

    source: Levels
    result: Levels
    hole: Bool
    valid: Bool
    feather: int = 0

    def paste(self, region: Region, render: Callable[[Region], Float]) -> None:
        """Write a fill into the hole, strip by strip.

        Args:
            region: The part to write.
            render: Returns the fill of a window, in pixels of the photo, (H, W, 1 or 3) float32 in [0, 1].
        """
        for rows in slice_rows((region.height, region.width)):
            window = Region(region.left, region.top + rows.start, region.right, region.top + rows.stop)
            hole = self.hole[window.slices]
            if hole.any():
                values = render(window)
                if self.feather:
                    values = soften_edge(values, self.source, self.hole, self.valid, window, self.feather)
                self.result[window.slices][hole] = quantize(values[hole], self.result.dtype)

    def make_patch(self, image: Float, hole: Bool) -> Patch:
        """Return a patch with three channels, even for a grey photo."""
        return Patch(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image, hole)

    def match_channels(self, fill: Float) -> Float:
        """Return a fill with as many channels as the photo has colour channels."""
        return fill.mean(axis=2, keepdims=True) if self.source.shape[2] == 1 else fill
