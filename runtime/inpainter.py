"""The Python API: fill the holes of photos of any size.

Example::

    from wavepaint import Inpainter

    with Inpainter() as inpainter:
        inpainter.fill("photo.jpg", "mask.png").save("filled.png")
"""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import NoneType

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wavepaint.arguments import check_int, check_type
from wavepaint.contract import INPAINTING, Precision, default_bundle_folder, read_bundle
from wavepaint.errors import ConfigError, ImageError, PhotoAsMaskError, WavePaintError, WavePaintWarning
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.engines.registry import check_execution, open_session
from wavepaint.runtime.engines.session import Closeable
from wavepaint.runtime.filling.options import FillOptions, check_options, fit_hole
from wavepaint.runtime.filling.scheduler import Scheduler, Task
from wavepaint.runtime.filling.strategy import OnProgress
from wavepaint.runtime.images.mask_kinds import is_black_and_white
from wavepaint.runtime.images.photo import ImageSource, Photo
from wavepaint.runtime.images.read import Mask, decode_mask, read_photo

_DEFAULT_CROP_SIZE = 256
"""Side in pixels of the training crops if the bundle does not state it; the papers use this size."""


class Inpainter(Closeable):
    """A model, loaded once and used for many photos. Thread-safe; close it, or use it as a context manager.

    Args:
        bundle: Folder of a bundle; None for the model that ships with the package.
        engine: The engine that runs the model; ``auto`` takes the fastest that works on this machine.
        precision: Arithmetic precision; ``float32`` means exact weights too. ``auto`` takes the engine's fastest
            verified precision, and never one that failed verification.
        threads: CPU threads for all streams together; None lets the engine choose.
        streams: Number of concurrent runs, each from a thread of the caller; they share ``threads``.
        max_memory_mb: Bound on the memory of the process, in MiB, with one photo being filled in each stream: larger
            regions are filled in tiles. The estimate rests on measurements of each engine. None: 2048, or as much as
            a photo needs.
        max_batch: Most patches of one size in one call of the engine. None: the engine's default, 1 on CPUs.

    Attributes:
        engine: Human-readable engine, version, device, arithmetic precision, and that of the weights if it differs.
        device: "CPU", or the GPU's name.
        precision: The end of ``engine``: arithmetic precision, and that of the weights if it differs.
        streams: As the argument.
        max_batch: As the argument, or the engine's default.

    Raises:
        BundleError: The bundle is missing, altered, of another version or of another task.
        EngineError: The engine is not installed or does not load.
        ConfigError: An argument is out of range.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | None = None,
        *,
        engine: EngineName | Auto = "auto",
        precision: Precision | Auto = "auto",
        threads: int | None = None,
        streams: int = 1,
        max_memory_mb: int | None = None,
        max_batch: int | None = None,
    ) -> None:
        check_type("bundle", bundle, (str, os.PathLike, NoneType), "a folder's path, or None for the model that ships")
        check_execution(engine, precision, threads)
        check_int("streams", streams, 1)
        if max_memory_mb is not None:
            check_int("max_memory_mb", max_memory_mb, 1, unit="MiB", flag="--max-memory")
        if max_batch is not None:
            check_int("max_batch", max_batch, 1)
        self.bundle = read_bundle(Path(bundle) if bundle is not None else default_bundle_folder())
        self.bundle.require_task(INPAINTING)
        self.max_memory_mb = max_memory_mb
        self.streams = streams
        self._session = open_session(self.bundle, engine=engine, precision=precision, threads=threads, streams=streams)
        self.max_batch = max_batch or self._session.max_batch
        self.device, self.precision = self._session.device, self._session.arithmetic
        self.engine = f"{self._session.engine} {self.precision}"
        manifest = self.bundle.manifest
        self._scheduler = Scheduler(
            self._session,
            padding=manifest.padding,
            crop_size=manifest.crop_size or _DEFAULT_CROP_SIZE,
            bytes_per_pixel=manifest.activation_bytes_per_pixel,
            max_batch=self.max_batch,
            max_memory_mb=max_memory_mb,
            streams=streams,
        )

    def fill(self, image: ImageSource, mask: ImageSource, options: FillOptions | None = None) -> Image.Image:
        """Fill the hole of one photo.

        Args:
            image: A path, an encoded file's bytes, a PIL image or an array: uint8 or uint16 of (H, W), (H, W, 2),
                (H, W, 3) RGB or (H, W, 4) RGBA. An EXIF orientation is applied.
            mask: The same kinds, or bool (H, W). White (true) marks the hole.
            options: How to read the mask and fill the hole.

        Returns:
            An image of the same size, depth and channels (a palette image as RGB), with the source's ``info`` and
            ``format``. Pixels outside the hole are bit-identical, and so is alpha unless ``mask_from`` is "alpha".

        Warns:
            WavePaintWarning: The mask is empty; the image is returned unchanged.

        Raises:
            ImageError: See :func:`wavepaint.runtime.images.read.read_photo`. Also if sizes differ, if the mask covers
                the whole photo, or if the photo has 16 bits in each of several channels, which PIL images do not
                support: use :meth:`fill_array`.
            EngineError: The engine failed.
            ConfigError: The photo does not fit the allowed memory.
        """
        photo, options = read_photo(image), check_options(options)
        photo.check_pil()
        return self.fill_photo(photo, read_fitting_mask(mask, photo, options).hole, options).to_pil()

    def fill_array(
        self, image: ImageSource, mask: ImageSource, options: FillOptions | None = None
    ) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Fill the hole of one photo of any depth, as :meth:`fill` does.

        Returns:
            (H, W) for a grey photo, else (H, W, 2), (H, W, 3) or (H, W, 4), uint8 or uint16 as the source.
        """
        photo, options = read_photo(image), check_options(options)
        pixels = self.fill_photo(photo, read_fitting_mask(mask, photo, options).hole, options).pixels
        return pixels[..., 0] if pixels.shape[2] == 1 else pixels

    def fill_photo(self, photo: Photo, hole_HW: NDArray[np.bool_], options: FillOptions | None = None) -> Photo:
        """Fill a decoded photo, as :meth:`fill` does after decoding.

        Args:
            photo: The photo.
            hole_HW: (H, W), true in the hole.
            options: How to fill the hole. Options for reading the mask are ignored, except that ``mask_from="alpha"``
                makes the hole opaque.
        """
        (result,) = self.fill_photos([(photo, hole_HW)], options)
        if isinstance(result, WavePaintError):
            raise result
        return result

    def fill_photos(
        self,
        photos: Iterable[tuple[Photo, NDArray[np.bool_]]],
        options: FillOptions | None = None,
        *,
        on_progress: Callable[[int, float], object] = lambda index, share: None,
    ) -> list[Photo | WavePaintError]:
        """Fill several photos, with patches of one size in one call of the engine.

        A photo that fails does not affect the others: its place contains the error that :meth:`fill_photo` would raise.

        Args:
            photos: The photos, each with its hole as in :meth:`fill_photo`.
            options: How to fill the holes.
            on_progress: Called with the index of a photo and the share of it that is done, 0 to 1, after each crop and
                tile.

        Raises:
            ConfigError: ``photos`` or one of its elements is of another type.
        """
        options = check_options(options)
        check_type("photos", photos, Iterable, "a list of pairs: a Photo, and its hole")
        pairs = [_check_pair(pair) for pair in photos]
        prepared = [
            _prepare(photo, hole, options, partial(on_progress, index)) for index, (photo, hole) in enumerate(pairs)
        ]
        filled = iter(self._scheduler.fill([task for task in prepared if isinstance(task, Task)]))
        return [next(filled) if isinstance(result, Task) else result for result in prepared]

    def close(self) -> None:
        """Free the engine."""
        self._session.close()


def _check_pair(pair: tuple[Photo, NDArray[np.bool_]]) -> tuple[Photo, NDArray[np.bool_]]:
    if not isinstance(pair, Sequence) or len(pair) != 2:
        raise ConfigError("an element of photos is not a pair: expected (photo, hole_HW).")
    photo, hole = pair
    check_type("photo", photo, Photo, "a Photo, as read_photo returns it")
    if not isinstance(hole, np.ndarray) or hole.dtype != np.bool_ or hole.ndim != 2:
        raise ConfigError("hole_HW is not an array of dtype bool and shape (H, W), true in the hole.")
    return photo, hole


def _prepare(
    photo: Photo, hole_HW: NDArray[np.bool_], options: FillOptions, on_progress: OnProgress
) -> Task | Photo | WavePaintError:
    """Return the task for a photo; the photo itself for an empty mask, or the error that prevents the task."""
    try:
        holes = fit_hole(photo, hole_HW, options)
    except ImageError as error:
        return error
    if holes is not None:
        return Task(photo, *holes, options, on_progress)
    warnings.warn(
        f"the mask of {photo.source} is empty, so the photo is returned unchanged. White marks the hole; "
        "--invert-mask swaps.",
        WavePaintWarning,
        stacklevel=4,
    )
    return photo


def read_fitting_mask(source: ImageSource, photo: Photo, options: FillOptions) -> Mask:
    """Decode the mask of a photo as the options say.

    Raises:
        ImageError: See :func:`wavepaint.runtime.images.read.read_mask`. A mask of another size is refused before it is
            decoded, unless ``resize_mask`` is set.
        PhotoAsMaskError: The mask is a photograph, and ``mask_from`` does not say what to take from it.
    """
    mask = decode_mask(
        source,
        invert=options.invert_mask,
        threshold=options.mask_threshold,
        mask_from=options.mask_from,
        size=None if options.resize_mask else photo.size,
    )
    if mistake := _find_mistake(photo, mask):
        raise PhotoAsMaskError(mistake)
    return mask


def _find_mistake(photo: Photo, mask: Mask) -> str:
    """Return what is wrong with a photograph that is given as a mask; nothing for a mask."""
    if mask.kind == "cutout":
        return (
            f"{mask.source} is a photograph with transparent parts. Pass --mask-from alpha to fill those, or "
            "--mask-from alpha --invert-mask to fill the rest."
        )
    if mask.kind != "photo":
        return ""
    if is_black_and_white(photo.pixels):
        return (
            f"{mask.source} is a photograph, and {photo.source} is black and white: they seem to be swapped. Give the "
            "photo first and its mask second."
        )
    return (
        f"{mask.source} is a photograph, not a mask. A mask is white where the photo is to be filled, and black "
        "elsewhere. --mask-from luminance takes the light parts of any picture."
    )
