"""A ComfyUI node that fills the masked part of images with WavePaint.

Copy this file into ``ComfyUI/custom_nodes``, and install WavePaint with an engine for ComfyUI's Python, for example
``pip install ".[cpu]"`` in the checkout. The node is *image/inpainting > WavePaint Fill*.
"""

from typing import Any, ClassVar

import numpy as np
import torch

from wavepaint import FillOptions, Inpainter
from wavepaint.errors import ImageError
from wavepaint.runtime.engines.registry import ENGINES

PEAK = 65_535
"""Largest 16-bit level. ComfyUI's floats keep more than 8 bits, and so do WavePaint's 16-bit fills."""


class WavePaintFill:
    """Fill the hole of each image. Pixels outside the hole keep their values exactly."""

    CATEGORY = "image/inpainting"
    FUNCTION = "fill"
    RETURN_TYPES = ("IMAGE",)
    DESCRIPTION = "Fills the masked part from its surroundings. There is no prompt, and no GPU is needed."

    _open: ClassVar[tuple[tuple[str, str], Inpainter] | None] = None
    """Bundle, engine and model of the last run. The model stays open, because loading it takes longer than a fill."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  ComfyUI's name
        pixels = {"default": 0, "min": 0, "max": 64}
        return {
            "required": {"image": ("IMAGE",), "mask": ("MASK",)},
            "optional": {
                "dilate": ("INT", {**pixels, "tooltip": "Pixels by which the hole grows."}),
                "feather": ("INT", {**pixels, "tooltip": "Pixels of transition in the ring that dilate adds."}),
                "engine": (["auto", *ENGINES], {"tooltip": "auto takes the fastest that works here."}),
                "bundle": ("STRING", {"default": "", "tooltip": "Folder of a bundle; empty for the default model."}),
            },
        }

    def fill(
        self,
        image: torch.Tensor,
        mask: torch.Tensor,
        dilate: int = 0,
        feather: int = 0,
        engine: Any = "auto",
        bundle: str = "",
    ) -> tuple[torch.Tensor]:
        """Fill a batch.

        Args:
            image: (B, H, W, 3) or (B, H, W, 4), in [0, 1].
            mask: (B, H, W), (1, H, W) or (H, W); above 0.5 is the hole. Without a hole the images stay as they are.
            dilate: See :class:`wavepaint.FillOptions`, also for ``feather``.
            engine: See :class:`wavepaint.Inpainter`, also for ``bundle``.

        Returns:
            The filled images, of the shape, dtype and device of ``image``.

        Raises:
            WavePaintError: The mask has another size, a setting makes no sense, or the engine fails.
        """
        holes = mask.reshape(-1, *mask.shape[-2:]).cpu().numpy() > 0.5
        if not holes.any():
            return (image,)
        if len(holes) not in (1, len(image)):
            raise ImageError(f"{len(image)} images came with {len(holes)} masks: expected one mask, or one for each.")
        options = FillOptions(dilate=dilate, feather=feather)
        inpainter = self._get_inpainter(bundle, engine)
        known = image.cpu().float().numpy()
        levels = np.rint(known.clip(0, 1) * PEAK).astype(np.uint16)
        filled = known.copy()
        for index, hole in enumerate(np.broadcast_to(holes, (len(levels), *holes.shape[1:]))):
            if hole.any():
                result = inpainter.fill_array(levels[index], hole, options)
                changed = result != levels[index]
                filled[index][changed] = result[changed] / np.float32(PEAK)
        return (torch.from_numpy(filled).to(image),)

    @classmethod
    def _get_inpainter(cls, bundle: str, engine: Any) -> Inpainter:
        key = (bundle, engine)
        if cls._open is None or cls._open[0] != key:
            former, cls._open = cls._open, None
            if former is not None:
                former[1].close()
            cls._open = key, Inpainter(bundle or None, engine=engine)
        return cls._open[1]


NODE_CLASS_MAPPINGS = {"WavePaintFill": WavePaintFill}
NODE_DISPLAY_NAME_MAPPINGS = {"WavePaintFill": "WavePaint Fill"}
