"""The Python API: fill the holes of photographs of any size.

from wavepaint import Inpainter

with Inpainter() as inpainter:
    inpainter.fill("photo.jpg", "mask.png").save("filled.png")
"""

import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wavepaint.contract import MASK_THRESHOLD, default_bundle_folder, read_bundle
from wavepaint.errors import ConfigError, ImageError, WavePaintWarning
from wavepaint.runtime.engines import Auto, EngineName, open_session
from wavepaint.runtime.image import ImageSource, MaskFrom, Photo, read_mask, read_photo, to_levels
from wavepaint.runtime.session import Closing, Precision
from wavepaint.runtime.tiling import find_regions, pad_to_multiple

DEFAULT_MAX_PIXELS = 1_500_000
"""Pixels of one engine run. The default model needs about 0.7 GB a megapixel in float32."""

Float = NDArray[np.float32]


class Inpainter(Closing):
    """A model, loaded once and used for many photos. Thread-safe; close it, or use it as a context manager.

    Args:
        bundle: A bundle's folder; None takes the model that ships with the package.
        engine: Who computes; ``auto`` takes the fastest that really works here.
        precision: Of the arithmetic; ``auto`` takes the engine's fastest that did not fail verification.
        threads: CPU threads of the engine; None leaves the choice to it.
        max_pixels: Largest area that passes the engine at once. A region with more pixels is filled at a lower
            resolution and scaled up, so this bounds memory at the price of detail in very large holes.

    Attributes:
        engine: What really runs, for people: engine, version, device, arithmetic.

    Raises:
        BundleError: The bundle is missing, altered or of another version.
        EngineError: The engine is not installed or does not load.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | None = None,
        *,
        engine: EngineName | Auto = "auto",
        precision: Precision | Auto = "auto",
        threads: int | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        if max_pixels < 1:
            raise ConfigError(f"max_pixels is {max_pixels}: expected 1 or more.")
        self.bundle = read_bundle(Path(bundle) if bundle is not None else default_bundle_folder())
        self.max_pixels = max_pixels
        self._session = open_session(self.bundle, engine=engine, precision=precision, threads=threads)
        self.engine = f"{self._session.engine} {self._session.precision}"

    def fill(
        self,
        image: ImageSource,
        mask: ImageSource,
        *,
        invert_mask: bool = False,
        mask_threshold: int = MASK_THRESHOLD,
        mask_from: MaskFrom = "luminance",
        resize_mask: bool = False,
    ) -> Image.Image:
        """Fill the hole of one photo.

        Args:
            image: A path, an encoded file's bytes, a PIL image or an array: uint8 (H, W), (H, W, 2), (H, W, 3) RGB or
                (H, W, 4) RGBA, or uint16 (H, W). An EXIF orientation is applied.
            mask: The same kinds, or bool (H, W). White (true) is the hole.
            invert_mask: Black is the hole instead.
            mask_threshold: From which level of 255 on a pixel counts as white.
            mask_from: ``"alpha"`` takes the transparent pixels of ``mask`` for the hole and makes them opaque.
            resize_mask: Fit a mask of another size to the image, by nearest neighbour.

        Returns:
            An image of the same size, depth and channels (a palette image as RGB). Pixels outside the hole are
            bit-identical, and so is alpha (but see ``mask_from``). ``info`` and ``format`` are the source's.

        Warns:
            WavePaintWarning: The mask is empty; the image is returned as it is.

        Raises:
            ImageError: See :func:`wavepaint.runtime.image.read_photo`; or sizes differ, or nothing is known.
            EngineError: The engine failed.
        """
        photo = read_photo(image)
        hole = read_mask(mask, invert=invert_mask, threshold=mask_threshold, mask_from=mask_from)
        return self.fill_photo(photo, hole, resize_mask=resize_mask, opaque_hole=mask_from == "alpha").to_pil()

    def fill_photo(
        self, photo: Photo, hole_HW: NDArray[np.bool_], *, resize_mask: bool = False, opaque_hole: bool = False
    ) -> Photo:
        """Fill a decoded photo; :meth:`fill` is this with decoding before it.

        Args:
            photo: The photo.
            hole_HW: (H, W), true in the hole.
            resize_mask: Fit a mask of another size, by nearest neighbour.
            opaque_hole: Make the hole opaque where the photo has alpha.
        """
        hole_HW = _fit_mask(photo, hole_HW, resize_mask)
        if not hole_HW.any():
            warnings.warn(
                "the mask is empty, so the image is returned unchanged. White marks the hole; --invert-mask swaps.",
                WavePaintWarning,
                stacklevel=2,
            )
            return photo
        if hole_HW.all():
            raise ImageError(
                f"the mask covers all of {photo.source}, so there is nothing to continue from. White marks the hole; "
                "--invert-mask swaps."
            )
        pixels = photo.pixels.copy()
        for region in find_regions(hole_HW):
            hole = hole_HW[region.slices]
            crop = pixels[region.slices]
            filled = self._fill_region(crop[..., : photo.num_colours], hole)
            crop[..., : photo.num_colours][hole] = filled[hole]
        if opaque_hole and photo.has_alpha:
            pixels[..., -1][hole_HW] = 255
        return photo.with_pixels(pixels)

    def _fill_region(
        self, colours: NDArray[np.uint8] | NDArray[np.uint16], hole: NDArray[np.bool_]
    ) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Fill (H, W, 1 or 3) of 8 or 16 bits; only the values inside the hole mean anything."""
        peak = np.iinfo(colours.dtype).max
        image: Float = colours.astype(np.float32) / np.float32(peak)
        num_colours = image.shape[2]
        if num_colours == 1:
            image = np.repeat(image, 3, axis=2)
        scale = (self.max_pixels / hole.size) ** 0.5
        if scale < 1:
            height, width = (max(int(side * scale), 1) for side in hole.shape)
            filled = _resize(self._run(*_shrink(image, hole, height, width)), *hole.shape)
        else:
            filled = self._run(image, hole)
        if num_colours == 1:
            filled = filled.mean(axis=2, keepdims=True)
        return to_levels(filled, colours.dtype)

    def _run(self, image: Float, hole: NDArray[np.bool_]) -> Float:
        """Run the engine on (H, W, 3) in [0, 1], padded to the size multiple by reflection and cropped back."""
        height, width = hole.shape
        multiple = self._session.size_multiple
        image_CHW = pad_to_multiple(image, multiple).transpose(2, 0, 1)
        mask = pad_to_multiple(hole, multiple).astype(np.float32)
        output = self._session.run(np.ascontiguousarray(image_CHW)[None], mask[None, None])
        filled: Float = output[0].transpose(1, 2, 0)[:height, :width]
        return filled

    def close(self) -> None:
        """Free the engine."""
        self._session.close()


def _fit_mask(photo: Photo, hole_HW: NDArray[np.bool_], resize_mask: bool) -> NDArray[np.bool_]:
    width, height = photo.size
    mask_height, mask_width = hole_HW.shape
    if (mask_width, mask_height) == (width, height):
        return hole_HW
    if not resize_mask:
        hint = ""
        if (mask_height, mask_width) == (width, height):
            hint = " The photo is turned by its EXIF orientation; draw the mask on the upright photo."
        raise ImageError(
            f"the image is {width}x{height} pixels and the mask {mask_width}x{mask_height}; they must be equal."
            f"{hint} --resize-mask fits the mask to the image."
        )
    resized = Image.fromarray(hole_HW).resize((width, height), Image.Resampling.NEAREST)
    return np.array(resized, dtype=np.bool_)


def _resize(image: Float, height: int, width: int) -> Float:
    """Resize (H, W, C) float32, antialiased when it shrinks."""
    channels = [
        np.asarray(Image.fromarray(image[..., c]).resize((width, height), Image.Resampling.BILINEAR))
        for c in range(image.shape[2])
    ]
    return np.stack(channels, axis=2)


def _shrink(image: Float, hole: NDArray[np.bool_], height: int, width: int) -> tuple[Float, NDArray[np.bool_]]:
    """Scale a region down without letting colours out of the hole: a pixel is the mean of its known sources.

    A pixel is known if at least half of what it averages is; so a thin line does not vanish, nor a hole grow.
    """
    known = (~hole).astype(np.float32)[..., None]
    share = _resize(known, height, width)
    colours = _resize(image * known, height, width) / np.maximum(share, 1e-3)
    return colours.astype(np.float32), share[..., 0] < 0.5
