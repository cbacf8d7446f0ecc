"""A model that returns photos unchanged, at once."""

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

from wavepaint.errors import WavePaintError
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.inpainter import Inpainter


class _Fake:
    streams, max_batch, engine = 2, 1, "none"
    bundle = SimpleNamespace(manifest=SimpleNamespace(name="fake"))

    def fill_photos(
        self, pairs: Sequence[tuple[Photo, Any]], options: FillOptions, *, on_progress: Callable[[int, float], object]
    ) -> Iterator[Photo | WavePaintError]:
        return (photo for photo, _ in pairs)


def fake_inpainter() -> Inpainter:
    """Return an object that is enough of an inpainter to fill batches of photos."""
    return cast(Inpainter, _Fake())
