"""A batch of photos in Python is filled lazily, in order, several at once, and in bounded memory."""

import shutil
import threading
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wavepaint import Inpainter, inpaint_many
from wavepaint.contract import Bundle
from wavepaint.errors import ImageError
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.pipeline import map_groups


@pytest.fixture(scope="module")
def inpainter(tiny_bundle: Bundle) -> Iterator[Inpainter]:
    with Inpainter(tiny_bundle.folder, engine="ort-cpu", streams=2, threads=2) as opened:
        yield opened


def test_results_come_in_order_and_equal_single_fills(
    inpainter: Inpainter, photo: np.ndarray, hole: np.ndarray
) -> None:
    shifted = [(np.roll(photo, step, axis=1), np.roll(hole, step, axis=1)) for step in range(5)]
    filled = list(inpaint_many(shifted, inpainter))
    for (image, mask), result in zip(shifted, filled, strict=True):
        assert isinstance(result, Image.Image)
        assert np.array_equal(np.asarray(result), inpainter.fill_array(image, mask))


def test_an_endless_source_is_read_only_a_few_pairs_ahead(
    inpainter: Inpainter, photo: np.ndarray, hole: np.ndarray
) -> None:
    taken: list[int] = []

    def endless() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number in count():
            taken.append(number)
            yield photo, hole

    results = inpaint_many(endless(), inpainter)
    assert taken == []
    assert len(list(islice(results, 3))) == 3
    assert len(taken) <= 3 + inpainter.streams + 2
    results.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fill")]


def test_an_error_is_raised_or_yielded_in_its_place(inpainter: Inpainter, photo: np.ndarray, hole: np.ndarray) -> None:
    deep = photo.astype(np.uint16)
    pairs = [(photo, hole), (photo, np.ones_like(hole)), (photo, hole[:10]), (deep, hole), (photo, hole)]
    with pytest.raises(ImageError, match="covers all"):
        list(inpaint_many(pairs, inpainter))
    kinds = [type(result) for result in inpaint_many(pairs, inpainter, on_error="yield")]
    assert kinds == [Image.Image, ImageError, ImageError, ImageError, Image.Image]


def test_an_error_names_the_file_of_its_photo(inpainter: Inpainter, photo_files: tuple[Path, Path]) -> None:
    image, mask = photo_files
    Image.new("L", (8, 8)).save(mask)
    (error,) = inpaint_many([photo_files], inpainter, on_error="yield")
    assert isinstance(error, ImageError)
    assert str(error).startswith(f"{image} with {mask}: the image is 451x300 pixels and the mask 8x8")


def test_an_error_of_the_source_is_raised(inpainter: Inpainter, photo: np.ndarray, hole: np.ndarray) -> None:
    def broken() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield photo, hole
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(inpaint_many(broken(), inpainter, on_error="yield"))


def test_without_an_inpainter_the_model_that_ships_fills(photo: np.ndarray, hole: np.ndarray) -> None:
    (filled,) = inpaint_many([(photo, hole)], options=FillOptions(invert_mask=False))
    assert isinstance(filled, Image.Image)
    assert np.array_equal(np.asarray(filled)[~hole], photo[~hole])


def test_photos_of_one_size_share_a_call_of_the_engine(
    tiny_bundle: Bundle, photo: np.ndarray, hole: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Inpainter(tiny_bundle.folder, engine="ort-cpu", max_batch=4) as batched:
        run, sizes = batched._session.run, []

        def note(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
            sizes.append(len(image))
            return run(image, mask)

        monkeypatch.setattr(batched._session, "run", note)
        spots = np.zeros_like(hole)
        spots[100:110, 100:110] = True
        together = list(inpaint_many([(np.roll(photo, step, axis=0), spots) for step in range(6)], batched))
        assert sorted(sizes) == [2, 4]
        singly = [batched.fill_array(np.roll(photo, step, axis=0), spots) for step in range(6)]
    for one, other in zip(together, singly, strict=True):
        assert np.array_equal(np.asarray(one), other)


def test_groups_run_at_once_and_work_not_yet_started_is_dropped() -> None:
    begun, both = [], threading.Barrier(2, timeout=20)

    def work(group: list[int]) -> list[int]:
        begun.append(group)
        if len(begun) <= 2:
            both.wait()  # passes only if two run at one time
        time.sleep(0.01)
        return [-item for item in group]

    results = map_groups(work, range(1000), workers=2, group_size=3)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 4


def test_a_bundle_may_be_removed_while_it_is_in_use(tiny_bundle: Bundle, tmp_path: Path, photo: np.ndarray) -> None:
    shutil.copytree(tiny_bundle.folder, tmp_path / "copy")
    with Inpainter(tmp_path / "copy", engine="ort-cpu") as opened:
        shutil.rmtree(tmp_path / "copy")
        mask = np.zeros(photo.shape[:2], bool)
        mask[5:9, 5:9] = True
        assert opened.fill_array(photo, mask).shape == photo.shape
