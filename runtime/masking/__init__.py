"""Masks without drawing: rectangles, frames, painted colours and scratches."""

from wavepaint.runtime.masking.drawing import MaskOptions, draw_mask

__all__ = ["MaskOptions", "draw_mask"]
