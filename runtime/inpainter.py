"""The Python API: fill the holes of photographs of any size.

from wavepaint import Inpainter

with Inpainter() as inpainter:
    inpainter.fill("photo.jpg", "mask.png").save("filled.png")
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import BoundedSemaphore
from types import NoneType

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from wavepaint.arguments import check_choice, check_int, check_type
from wavepaint.contract import default_bundle_folder, read_bundle
from wavepaint.errors import ConfigError, EngineError, EngineMemoryError, ImageError, WavePaintError, WavePaintWarning
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.engines.registry import ENGINES, PRECISIONS, open_session
from wavepaint.runtime.engines.session import Closeable, Precision
from wavepaint.runtime.filling.memory import max_pixels
from wavepaint.runtime.filling.options import Fill, FillOptions, check_options, fit_hole
from wavepaint.runtime.filling.regions import pad_side, pad_to_multiple
from wavepaint.runtime.filling.scale import Float
from wavepaint.runtime.filling.strategy import MIN_PIXELS, Limits, Patch
from wavepaint.runtime.images.photo import ImageSource, Photo
from wavepaint.runtime.images.read import read_photo

_UNKNOWN_CROP_SIDE = 256
"""Side of the crops a network was trained on, where its bundle does not say: that of the papers."""

_THICKEST_SHARE = 2 / 3
"""Of that side: the thickest hole that is filled at full resolution. The model that ships, trained on crops of 192
pixels, has an LPIPS of 0.319, 0.309, 0.306 and 0.296 inside thick holes of 19 photographs of 256 pixels where it is
64, 80, 96 and 128 pixels; in eight of 768 with holes three times as large it makes no difference."""


class Inpainter(Closeable):
    """A model, loaded once and used for many photos. Thread-safe; close it, or use it as a context manager.

    Args:
        bundle: A bundle's folder; None takes the model that ships with the package.
        engine: Who computes; ``auto`` takes the fastest that really works here.
        precision: Of the arithmetic; ``float32`` means exact weights too. ``auto`` takes the engine's fastest that was
            verified, and never one that failed.
        threads: CPU threads that compute, all streams together; None leaves the choice to it.
        streams: Runs of the engine at one time, from as many threads of the caller, with ``threads`` between them.
        max_memory_mb: Bound on the memory of the process, in MiB, with a photo filled in each stream: larger regions
            are filled in tiles. It is kept by an estimate, measured for each engine. None: 2048, or what a photo needs.
        max_batch: Patches of one size that go into one call of the engine at most. None: as many as make it faster,
            which on CPUs is 1.

    Attributes:
        engine: What really runs, for people: engine, version, device, arithmetic, and the weights where they differ.
        streams: As the argument.
        max_batch: As the argument, or the engine's own.

    Raises:
        BundleError: The bundle is missing, altered or of another version.
        EngineError: The engine is not installed or does not load.
        ConfigError: A number makes no sense.
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
        check_choice("engine", engine, (*ENGINES, "auto"), flag="--engine")
        check_choice("precision", precision, (*PRECISIONS, "auto"), flag="--precision")
        check_int("streams", streams, 1)
        if threads is not None:
            check_int("threads", threads, 1, flag="--threads")
        if max_memory_mb is not None:
            check_int("max_memory_mb", max_memory_mb, 1, unit="MiB", flag="--max-memory")
        if max_batch is not None:
            check_int("max_batch", max_batch, 1)
        self.bundle = read_bundle(Path(bundle) if bundle is not None else default_bundle_folder())
        self.max_memory_mb = max_memory_mb
        self.streams = streams
        self._session = open_session(self.bundle, engine=engine, precision=precision, threads=threads, streams=streams)
        self.max_batch = max_batch or self._session.max_batch
        self._turns = BoundedSemaphore(streams)
        self.engine = f"{self._session.engine} {self._session.arithmetic}"

    def fill(self, image: ImageSource, mask: ImageSource, options: FillOptions | None = None) -> Image.Image:
        """Fill the hole of one photo.

        Args:
            image: A path, an encoded file's bytes, a PIL image or an array: uint8 or uint16 of (H, W), (H, W, 2),
                (H, W, 3) RGB or (H, W, 4) RGBA. An EXIF orientation is applied.
            mask: The same kinds, or bool (H, W). White (true) is the hole.
            options: How.

        Returns:
            An image of the same size, depth and channels (a palette image as RGB). Pixels outside the hole are
            bit-identical, and so is alpha (but see ``mask_from``). ``info`` and ``format`` are the source's.

        Warns:
            WavePaintWarning: The mask is empty; the image is returned as it is.

        Raises:
            ImageError: See :func:`wavepaint.runtime.images.read.read_photo`; or sizes differ, or nothing is known, or
                the photo has 16 bits in each of several channels, which PIL images do not hold: see :meth:`fill_array`.
            EngineError: The engine failed.
            ConfigError: The photo does not fit the memory allowed.
        """
        photo, options = read_photo(image), check_options(options)
        photo.check_pil()
        return self.fill_photo(photo, options.read_mask(mask, photo.size), options).to_pil()

    def fill_array(
        self, image: ImageSource, mask: ImageSource, options: FillOptions | None = None
    ) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Fill the hole of one photo of any depth, as :meth:`fill` does.

        Returns:
            (H, W) for grey, else (H, W, 2), (H, W, 3) or (H, W, 4), uint8 or uint16 as the source.
        """
        photo, options = read_photo(image), check_options(options)
        pixels = self.fill_photo(photo, options.read_mask(mask, photo.size), options).pixels
        return pixels[..., 0] if pixels.shape[2] == 1 else pixels

    def fill_photo(self, photo: Photo, hole_HW: NDArray[np.bool_], options: FillOptions | None = None) -> Photo:
        """Fill a decoded photo; :meth:`fill` is this with decoding before it.

        Args:
            photo: The photo.
            hole_HW: (H, W), true in the hole.
            options: How; what concerns reading the mask has no effect, but ``mask_from="alpha"`` makes the hole opaque.
        """
        (result,) = self.fill_photos([(photo, hole_HW)], options)
        if isinstance(result, WavePaintError):
            raise result
        return result

    def fill_photos(
        self, photos: Sequence[tuple[Photo, NDArray[np.bool_]]], options: FillOptions | None = None
    ) -> list[Photo | WavePaintError]:
        """Fill several photos, with patches of one size in one call of the engine.

        What fails, fails alone: in its place the error is returned that :meth:`fill_photo` would raise.
        """
        options = check_options(options)
        for photo, asked in photos:
            check_type("photo", photo, Photo, "a Photo, as read_photo returns it")
            if not isinstance(asked, np.ndarray) or asked.dtype != np.bool_ or asked.ndim != 2:
                raise ConfigError("hole_HW is not an array of dtype bool and shape (H, W), true in the hole.")
        results: list[Photo | WavePaintError | None] = []
        fills: list[Fill] = []
        for photo, asked in photos:
            try:
                holes = fit_hole(photo, asked, options)
                if holes is not None:
                    fills.append(Fill(photo, *holes, options, self._limits(photo)))
            except (ImageError, ConfigError) as error:
                results.append(error)
                continue
            results.append(photo if holes is None else None)
            if holes is None:
                warnings.warn(
                    f"the mask of {photo.source} is empty, so it is returned unchanged. White marks the hole; "
                    "--invert-mask swaps.",
                    WavePaintWarning,
                    stacklevel=2,
                )
        if len(fills) == 1 or not self._fill_together(fills):
            for fill in fills:
                self._fill_alone(fill)
        finished = iter(fills)
        return [next(finished).finish() if result is None else result for result in results]

    def _fill_together(self, fills: list[Fill]) -> bool:
        """Fill several photos; return whether the engine did. Which of them is to blame is not known."""
        for fill in fills:
            fill.start()
        try:
            self._drive(fills)
        except EngineError:
            return False
        return True

    def _fill_alone(self, fill: Fill) -> None:
        """Fill one photo from the start, in smaller and smaller patches where the engine runs out of memory."""
        while True:
            fill.start()
            try:
                return self._drive([fill])
            except EngineMemoryError as error:
                whole = fill.options.strategy == "whole"
                if whole or fill.limits.max_pixels <= MIN_PIXELS:
                    way_out = "choose --strategy auto." if whole else "scale the photo down."
                    told = f"{fill.photo.source} was not filled: {error} Close other programs, or {way_out}"
                    fill.error = EngineMemoryError(told)
                    return None
                smaller = max(fill.limits.max_pixels // 2, MIN_PIXELS)
                fill.limits = replace(fill.limits, max_pixels=smaller, max_batch=1)
            except EngineError as error:
                fill.error = error
                return None

    def _limits(self, photo: Photo) -> Limits:
        manifest = self.bundle.manifest
        bytes_per_pixel = manifest.activation_bytes_per_pixel * self._session.memory_factor
        # A hole as large as what passes the engine at once would have nothing known around it.
        side = min(manifest.crop_size or _UNKNOWN_CROP_SIDE, max(min(sizes.most[1:]) for sizes in self._session.sizes))
        return Limits(
            max_pixels=max_pixels(photo, bytes_per_pixel, self.max_memory_mb, self.streams),
            max_batch=self.max_batch,
            thickness=max(round(side * _THICKEST_SHARE), 1),
            multiple=self._session.size_multiple,
            sizes=self._session.sizes,
        )

    def _drive(self, fills: list[Fill]) -> None:
        """Run all fills to their end, the patches that are due at one time together."""
        replies: dict[int, list[Float] | None] = dict.fromkeys(range(len(fills)))
        while replies:
            due: dict[int, list[Patch]] = {}
            for index, reply in replies.items():
                try:
                    steps = fills[index].steps
                    due[index] = next(steps) if reply is None else steps.send(reply)
                except StopIteration:
                    continue
                except ConfigError as error:
                    fills[index].error = error
            if not due:
                return
            limits = min((fills[index].limits for index in due), key=lambda limits: limits.max_pixels)
            outputs = iter(self._run([patch for patches in due.values() for patch in patches], limits))
            replies = {index: [next(outputs) for _ in patches] for index, patches in due.items()}

    def _run(self, patches: list[Patch], limits: Limits) -> list[Float]:
        """Run patches padded to sizes that the engine takes, those of one size in batches; crop what comes back."""
        multiple, padding = limits.multiple, self.bundle.manifest.padding
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, patch in enumerate(patches):
            height, width = patch.hole.shape
            size = limits.pad(height, width)
            if size is None:  # a whole photo; whatever else passes is cut to fit
                sides = pad_side(height, limits.multiple), pad_side(width, limits.multiple)
                raise EngineError(f"{self._session.refusal(1, *sides)}; or choose --strategy auto.")
            by_size.setdefault(size, []).append(index)
        calls: list[tuple[tuple[int, int], list[int]]] = []
        for size, same in by_size.items():
            while same:
                num_run = limits.choose_batch(len(same), *size)
                # Where the engine takes no fewer than there are, the last one is run several times.
                calls.append((size, same[:num_run] + same[-1:] * (num_run - len(same))))
                same = same[num_run:]

        def batch(call: tuple[tuple[int, int], list[int]]) -> tuple[Float, Float]:
            size, indices = call
            images = [pad_to_multiple(patches[i].image, multiple, padding, size).transpose(2, 0, 1) for i in indices]
            masks = [pad_to_multiple(patches[i].hole, multiple, padding, size)[None] for i in indices]
            return np.stack(images), np.stack(masks).astype(np.float32)

        fills: dict[int, Float] = {}
        with self._turns:
            for (_, indices), outputs in zip(calls, self._session.run_many(map(batch, calls)), strict=True):
                for i, output in zip(indices, outputs, strict=True):
                    rows, columns = patches[i].hole.shape
                    fills[i] = output.transpose(1, 2, 0)[:rows, :columns]
        return [fills[index] for index in range(len(patches))]

    def close(self) -> None:
        """Free the engine."""
        self._session.close()
