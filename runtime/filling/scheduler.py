"""Fill photos by running their patches through an engine, several at a time where that is faster."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import BoundedSemaphore
from typing import NamedTuple, Protocol

import numpy as np
from wavepaint.contract import PadMode
from wavepaint.errors import ConfigError, EngineError, EngineMemoryError, WavePaintError
from wavepaint.runtime.filling.canvas import Canvas, Patch
from wavepaint.runtime.filling.memory import MIN_PIXELS, Limits, limit_pixels
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.filling.padding import pad_to_multiple
from wavepaint.runtime.filling.scale import Bool, Float
from wavepaint.runtime.filling.strategy import OnProgress, fill_canvas
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.sizes import SizeRange, pad_side

_MAX_THICKNESS = 2 / 3
"""Thickest hole that is filled at full resolution, as a share of the side of the training crops. A former default
model, trained on crops of 192 pixels, had an LPIPS of 0.319, 0.309, 0.306 and 0.296 inside thick holes of 19 photos of
256 pixels if the limit was 64, 80, 96 and 128 pixels. In eight photos of 768 pixels with holes three times as large the
limit made no difference."""

Result = Photo | WavePaintError


class SessionLike(Protocol):
    """The part of an engine's session that the scheduler needs; see :mod:`wavepaint.runtime.engines.session`."""

    @property
    def sizes(self) -> tuple[SizeRange, ...]: ...
    @property
    def size_multiple(self) -> int: ...
    @property
    def memory_factor(self) -> float: ...
    def run_many(self, batches: Iterable[tuple[Float, Float]]) -> Iterator[Float]: ...
    def explain_refusal(self, batch: int, height: int, width: int) -> str: ...


@dataclass(frozen=True)
class Task:
    """A photo to fill.

    Attributes:
        photo: The photo.
        marked: The hole that its mask marks: (H, W), true in the hole.
        hole: The hole to fill, in the same form.
        options: How to fill it.
        on_progress: See :func:`~wavepaint.runtime.filling.strategy.fill_canvas`. If the engine runs out of memory, the
            photo is filled again in smaller patches, and the share begins again.
    """

    photo: Photo
    marked: Bool
    hole: Bool
    options: FillOptions
    on_progress: OnProgress = lambda share: None

    def fill(self, limits: Limits) -> Generator[list[Patch], list[Float], Photo]:
        """Yield patches, receive their fills, and return the filled photo."""
        pixels, colours = self.photo.pixels.copy(), slice(0, self.photo.num_colours)
        source, result = self.photo.pixels[..., colours], pixels[..., colours]
        canvas = Canvas(source, result, self.hole, ~self.marked, self.options.feather)
        yield from fill_canvas(canvas, self.options.strategy, limits, self.on_progress)
        if self.options.mask_from == "alpha" and self.photo.has_alpha:
            pixels[..., -1][self.hole] = np.iinfo(pixels.dtype).max
        return replace(self.photo, pixels=pixels)


class _Call(NamedTuple):
    """One call of the engine: the padded size, and the indices of the patches."""

    size: tuple[int, int]
    indices: list[int]


class Scheduler:
    """Runs the patches of photos through one engine, within bounds of memory and streams. Thread-safe.

    Args:
        session: The engine's session.
        padding: numpy's mode for padding patches to the size multiple.
        crop_size: Side in pixels of the crops that the network was trained on.
        bytes_per_pixel: Peak memory of the live tensors for one pixel.
        max_batch: Most patches in one call of the engine.
        max_memory_mb: Bound on the memory of the process, in MiB; see
            :func:`~wavepaint.runtime.filling.memory.limit_pixels`.
        streams: Number of concurrent runs of the engine.
    """

    def __init__(
        self,
        session: SessionLike,
        *,
        padding: PadMode,
        crop_size: int,
        bytes_per_pixel: float,
        max_batch: int,
        max_memory_mb: int | None,
        streams: int,
    ) -> None:
        self._session, self._padding, self._crop_size = session, padding, crop_size
        self._bytes_per_pixel, self._max_batch = bytes_per_pixel, max_batch
        self._max_memory_mb, self._streams = max_memory_mb, streams
        self._turns = BoundedSemaphore(streams)

    def fill(self, tasks: Sequence[Task]) -> list[Result]:
        """Fill photos, with patches of one size in one call of the engine.

        Returns:
            For each task the filled photo, or the error that prevented it.
        """
        results: list[Result | None] = []
        ready: list[tuple[Task, Limits]] = []
        for task in tasks:
            try:
                ready.append((task, self._find_limits(task.photo)))
                results.append(None)
            except ConfigError as error:
                results.append(error)
        filled = iter(self._fill_all(ready))
        return [next(filled) if result is None else result for result in results]

    def _fill_all(self, tasks: list[tuple[Task, Limits]]) -> list[Result]:
        if len(tasks) > 1:
            try:
                return self._drive(tasks)
            except EngineError:  # the photo that caused it is unknown, so each is tried separately
                pass
        return [self._fill_one(task, limits) for task, limits in tasks]

    def _fill_one(self, task: Task, limits: Limits) -> Result:
        """Fill one photo, in ever smaller patches while the engine runs out of memory."""
        while True:
            try:
                return self._drive([(task, limits)])[0]
            except EngineMemoryError as error:
                is_whole = task.options.strategy == "whole"
                if is_whole or limits.max_pixels <= MIN_PIXELS:
                    remedy = "choose --strategy auto." if is_whole else "scale the photo down."
                    return EngineMemoryError(
                        f"{task.photo.source} was not filled: {error} Close other programs, or {remedy}"
                    )
                limits = replace(limits, max_pixels=max(limits.max_pixels // 2, MIN_PIXELS), max_batch=1)
            except EngineError as error:
                return error

    def _find_limits(self, photo: Photo) -> Limits:
        """Return the limits on one run of the engine for a photo.

        Raises:
            ConfigError: The photo does not fit the memory.
        """
        session = self._session
        bytes_per_pixel = self._bytes_per_pixel * session.memory_factor
        # A hole as large as the engine's largest input would have nothing known around it.
        side = min(self._crop_size, max(min(sizes.most[1:]) for sizes in session.sizes))
        return Limits(
            max_pixels=limit_pixels(photo, bytes_per_pixel, self._max_memory_mb, self._streams),
            max_batch=self._max_batch,
            thickness=max(round(side * _MAX_THICKNESS), 1),
            multiple=session.size_multiple,
            sizes=session.sizes,
        )

    def _drive(self, tasks: list[tuple[Task, Limits]]) -> list[Result]:
        """Run all tasks to the end. Patches of all tasks that are due at the same time run together.

        Raises:
            EngineError: The engine failed; which task caused it is unknown.
        """
        results: dict[int, Result] = {}
        fills = [task.fill(limits) for task, limits in tasks]
        replies: dict[int, list[Float] | None] = dict.fromkeys(range(len(fills)))
        while replies:
            due: dict[int, list[Patch]] = {}
            for index, reply in replies.items():
                try:
                    due[index] = next(fills[index]) if reply is None else fills[index].send(reply)
                except StopIteration as stop:
                    results[index] = stop.value
                except ConfigError as error:
                    results[index] = error
            if not due:
                break
            limits = min((tasks[index][1] for index in due), key=lambda limits: limits.max_pixels)
            outputs = iter(self._run([patch for patches in due.values() for patch in patches], limits))
            replies = {index: [next(outputs) for _ in patches] for index, patches in due.items()}
        return [results[index] for index in range(len(tasks))]

    def _run(self, patches: list[Patch], limits: Limits) -> list[Float]:
        """Run patches, in batches of one padded size, and crop the results to the patches' sizes."""
        calls = self._plan_calls(patches, limits)

        def make_batch(call: _Call) -> tuple[Float, Float]:
            multiple, padding, (size, indices) = limits.multiple, self._padding, call
            images = [pad_to_multiple(patches[i].image, multiple, padding, size).transpose(2, 0, 1) for i in indices]
            masks = [pad_to_multiple(patches[i].hole, multiple, padding, size)[None] for i in indices]
            return np.stack(images), np.stack(masks).astype(np.float32)

        fills: dict[int, Float] = {}
        with self._turns:
            for call, outputs in zip(calls, self._session.run_many(map(make_batch, calls)), strict=True):
                for i, output in zip(call.indices, outputs, strict=True):
                    rows, columns = patches[i].hole.shape
                    fills[i] = output.transpose(1, 2, 0)[:rows, :columns]
        return [fills[index] for index in range(len(patches))]

    def _plan_calls(self, patches: list[Patch], limits: Limits) -> list[_Call]:
        """Group patches by padded size into calls that memory and engine allow.

        Raises:
            EngineError: A whole photo is larger than the engine takes; crops and tiles always fit.
        """
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, patch in enumerate(patches):
            height, width = patch.hole.shape
            size = limits.pad(height, width)
            if size is None:
                sides = pad_side(height, limits.multiple), pad_side(width, limits.multiple)
                raise EngineError(f"{self._session.explain_refusal(1, *sides)}; or choose --strategy auto.")
            by_size.setdefault(size, []).append(index)
        calls: list[_Call] = []
        for size, same in by_size.items():
            while same:
                num_run = limits.choose_batch(len(same), *size)
                # If the engine takes no smaller batch, the last patch is repeated.
                calls.append(_Call(size, same[:num_run] + same[-1:] * (num_run - len(same))))
                same = same[num_run:]
        return calls
