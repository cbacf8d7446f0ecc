"""A segmenter returns the class of each pixel, at the photo's size, whatever the network's sizes are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fakes.class_bundle import write_class_bundle
from wavepaint.contract import SEGMENTATION, Preprocessing
from wavepaint.errors import OutputError
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.recognition.segmenter import Segmenter, make_class_map, make_class_overlay, make_palette

EXPECTED = np.repeat(np.repeat(np.array([[0, 1], [2, 0]], np.uint16), 20, axis=0), 26, axis=1)  # 40 x 52


def make_photo() -> np.ndarray:
    """Return a photo of red, green and blue rectangles."""
    return (np.eye(3)[EXPECTED] * 255).astype(np.uint8)


@pytest.mark.parametrize("pool", [1, 4, 8])
@pytest.mark.parametrize("size", [None, (40, 56), (80, 96)])
def test_each_pixel_has_the_class_of_its_colour(tmp_path: Path, pool: int, size: tuple[int, int] | None) -> None:
    """Padding is cut off and scaling is undone. Only pixels near a border may get the neighbour's class."""
    write_class_bundle(tmp_path / "bundle", SEGMENTATION, preprocessing=Preprocessing(size=size), model={"pool": pool})
    with Segmenter(tmp_path / "bundle") as segmenter:
        found = segmenter.segment(make_photo())
    assert found.shape == EXPECTED.shape
    differs = np.argwhere(found != EXPECTED)
    distance = np.minimum(np.abs(differs[:, 0] + 0.5 - 20), np.abs(differs[:, 1] + 0.5 - 26))
    assert (distance < pool).all()
    if pool == 1 and size is None:
        assert not len(differs)


def test_an_exif_orientation_is_applied(tmp_path: Path) -> None:
    write_class_bundle(tmp_path / "bundle", SEGMENTATION)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.rot90(make_photo())
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "photo.png", exif=exif)
    with Segmenter(tmp_path / "bundle") as segmenter:
        assert np.array_equal(segmenter.segment(tmp_path / "photo.png"), EXPECTED)


def test_the_map_is_a_palette_image_of_class_numbers(tmp_path: Path) -> None:
    make_class_map(EXPECTED).save(tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), EXPECTED)
        assert np.array_equal(np.asarray(image.convert("RGB")), make_palette()[EXPECTED])


def test_the_palette_is_that_of_pascal_voc() -> None:
    palette = make_palette()
    assert palette[[0, 1, 2, 3, 15, 20]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [192, 128, 128], [0, 64, 128],
    ]  # fmt: skip
    assert len({tuple(colour) for colour in palette.tolist()}) == 256


def test_more_classes_than_colours_are_refused() -> None:
    with pytest.raises(OutputError, match="class 256 does not fit a palette image"):
        make_class_map(np.full((2, 2), 256, np.uint16))


def test_the_overlay_is_half_photo_and_half_colours() -> None:
    overlay = make_class_overlay(Photo(pixels=make_photo()), EXPECTED)
    assert overlay[0, 0].tolist() == [127, 0, 0]  # class 0 is black
    assert overlay[0, -1].tolist() == [64, 127, 0]  # green, and class 1 is dark red
