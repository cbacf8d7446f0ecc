"""The scheduler fills photos through an engine: in shared calls, in sizes that fit, in smaller patches if necessary."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from wavepaint.errors import EngineError, EngineMemoryError, WavePaintError
from wavepaint.runtime.filling.memory import MIN_PIXELS
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.filling.scheduler import Scheduler, Task
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.sizes import SizeRange

Check = Callable[[np.ndarray], None]


class FakeEngine:
    """Fills holes with grey, after a check of the images, and notes the shapes of its batches."""

    size_multiple = 8
    memory_factor = 1.0

    def __init__(self, check: Check = lambda images: None, sizes: SizeRange | None = None) -> None:
        self.check, self.sizes = check, (sizes or SizeRange(),)
        self.batches: list[tuple[int, int, int]] = []

    def run_many(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[np.ndarray]:
        for images, masks in batches:
            assert images.shape == (len(masks), 3, *masks.shape[2:])
            self.batches.append((len(masks), *masks.shape[2:]))
            self.check(images)
            yield np.where(masks > 0, np.float32(0.5), images)

    def explain_refusal(self, batch: int, height: int, width: int) -> str:
        return f"the engine takes no batch of {batch}x{width}x{height}"


def fill(
    engine: FakeEngine, photos: list[tuple[np.ndarray, np.ndarray]], options: FillOptions | None = None, batch: int = 1
) -> list[Photo | WavePaintError]:
    scheduler = Scheduler(
        engine, padding="reflect", crop_size=10**6, bytes_per_pixel=100.0, max_batch=batch, max_memory_mb=None,
        streams=1,
    )  # fmt: skip
    return scheduler.fill([Task(Photo(pixels), hole, hole, options or FillOptions()) for pixels, hole in photos])


def assert_filled(result: Photo | WavePaintError, pixels: np.ndarray, hole: np.ndarray) -> None:
    assert isinstance(result, Photo), result
    assert (result.pixels[hole] == 128).all()
    assert np.array_equal(result.pixels[~hole], pixels[~hole])


@pytest.fixture
def large() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = np.zeros((1100, 1300), bool)
    mask[100:1000, 100:1200] = rng.random((900, 1100)) < 0.3
    return rng.integers(0, 100, (1100, 1300, 3), dtype=np.uint8), mask


@pytest.fixture
def small() -> list[tuple[np.ndarray, np.ndarray]]:
    """Six photos with a small hole each, the second of them white."""
    hole = np.zeros((70, 90), bool)
    hole[20:30, 40:50] = True
    return [(np.full((70, 90, 3), 255 if number == 1 else number, np.uint8), hole) for number in range(6)]


def test_photos_of_one_size_share_a_call(small: list[tuple[np.ndarray, np.ndarray]]) -> None:
    engine = FakeEngine()
    for result, photo in zip(fill(engine, small, batch=4), small, strict=True):
        assert_filled(result, *photo)
    assert engine.batches == [(4, 72, 96), (2, 72, 96)]


def test_in_a_shared_call_only_the_photo_that_causes_a_failure_fails(
    small: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    def refuse_white(images: np.ndarray) -> None:
        if any(image.mean() > 0.98 for image in images):
            raise EngineError("dazzled")

    results = fill(FakeEngine(refuse_white), small, batch=3)
    assert [isinstance(result, EngineError) for result in results] == [False, True, False, False, False, False]
    assert_filled(results[0], *small[0])


def limit(num_pixels: int) -> Check:
    def check(images: np.ndarray) -> None:
        if images[:, 0].size > num_pixels:
            raise EngineMemoryError("Failed to allocate memory.")

    return check


def test_an_engine_out_of_memory_gets_smaller_patches(large: tuple[np.ndarray, np.ndarray]) -> None:
    engine = FakeEngine(limit(400_000))
    (result,) = fill(engine, [large])
    assert_filled(result, *large)
    assert np.prod(engine.batches[0]) > 1_000_000
    assert np.prod(engine.batches[-1]) <= 400_000


def test_memory_that_never_suffices_is_a_clear_error(large: tuple[np.ndarray, np.ndarray]) -> None:
    engine = FakeEngine(limit(1000))
    (auto,), (whole,) = fill(engine, [large]), fill(engine, [large], FillOptions(strategy="whole"))
    assert isinstance(auto, EngineMemoryError)
    assert isinstance(whole, EngineMemoryError)
    assert "was not filled: Failed to allocate memory." in str(auto)
    assert str(auto).endswith("or scale the photo down.")
    assert str(whole).endswith("or choose --strategy auto.")
    assert np.prod(engine.batches[-2]) <= MIN_PIXELS


def test_an_engine_gets_only_sizes_of_its_range(large: tuple[np.ndarray, np.ndarray]) -> None:
    small = large[0][:20, :30], large[1][190:210, 190:220]
    for strategy in ("auto", "crop", "tile"):
        engine = FakeEngine(sizes=SizeRange((1, 64, 64), (8, 512, 512)))
        results = fill(engine, [small, large], FillOptions(strategy=strategy))  # type: ignore[arg-type]
        for result, photo in zip(results, (small, large), strict=True):
            assert isinstance(result, Photo)
            assert np.array_equal(result.pixels[~photo[1]], photo[0][~photo[1]])
        assert min(min(sides) for _, *sides in engine.batches) == 64
        assert max(max(sides) for _, *sides in engine.batches) <= 512
    (refused,) = fill(engine, [large], FillOptions(strategy="whole"))
    assert isinstance(refused, EngineError)
    assert "takes no batch of 1x1304x1104; or choose --strategy auto" in str(refused)


def test_an_engine_without_small_batches_gets_repeated_patches(small: list[tuple[np.ndarray, np.ndarray]]) -> None:
    engine = FakeEngine(sizes=SizeRange((4, 1, 1), (8, 512, 512)))
    for result, photo in zip(fill(engine, small[:3], batch=3), small, strict=False):
        assert_filled(result, *photo)
    assert engine.batches == [(4, 72, 96)]


def test_a_network_of_one_size_gets_real_pixels_and_padding_only_where_the_photo_ends() -> None:
    rng = np.random.default_rng(0)
    pixels, hole = rng.integers(0, 100, (700, 900, 3), dtype=np.uint8), np.zeros((700, 900), bool)
    hole[650:670, 860:890] = True
    seen: list[np.ndarray] = []
    engine = FakeEngine(seen.append, SizeRange((1, 500, 500), (1, 500, 500)))
    engine.size_multiple = 1
    (result,) = fill(engine, [(pixels, hole)])
    assert_filled(result, pixels, hole)
    assert engine.batches == [(1, 500, 500)]
    cut = pixels[200:, 400:].transpose(2, 0, 1).astype(np.float32) / 255
    assert np.abs(seen[0][0] - cut)[:, ~hole[200:, 400:]].max() < 1e-6
    (result,) = fill(engine, [(pixels[400:], hole[400:])])
    assert_filled(result, pixels[400:], hole[400:])
    assert engine.batches[1:] == [(1, 500, 500)]
