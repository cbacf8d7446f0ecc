"""Photos are scaled as the training did, and padded only where no size is named."""

import numpy as np
import pytest
from PIL import Image

from wavepaint.contract import PRESETS, Preprocessing, assets_folder
from wavepaint.runtime.recognition.preparation import prepare


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    with Image.open(assets_folder() / "verification" / "chelsea.jpg") as image:
        return np.asarray(image.convert("RGB").crop((0, 0, 250, 180)))


def test_imagenet_equals_resize_and_centre_crop(photo: np.ndarray) -> None:
    """The steps of the authors' evaluation: the shorter side to 224 pixels, bicubic, then the centre."""
    prepared = prepare(photo, PRESETS["imagenet"], 32, "symmetric")
    image = Image.fromarray(photo).resize((int(250 * 224 / 180), 224), Image.Resampling.BICUBIC)
    left = round((image.width - 224) / 2)
    expected = np.asarray(image.crop((left, 0, left + 224, 224))).transpose(2, 0, 1)[None] / 255
    assert prepared.image.shape == (1, 3, 224, 224)
    assert np.abs(prepared.image - expected).max() <= 1.01 / 255  # a level, because the crop is computed alone


def test_stretching_equals_pillow(photo: np.ndarray) -> None:
    prepared = prepare(photo, Preprocessing(size=(64, 96)), 32, "symmetric")
    expected = np.asarray(Image.fromarray(photo).resize((96, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(prepared.image[0], expected.astype(np.float32) / np.float32(255))
    assert (prepared.height, prepared.width) == (64, 96)


def test_without_a_size_the_photo_is_padded_to_the_multiple(photo: np.ndarray) -> None:
    prepared = prepare(photo, Preprocessing(), 64, "symmetric")
    assert prepared.image.shape == (1, 3, 192, 256)
    assert (prepared.height, prepared.width) == (180, 250)
    shown = prepared.image[0, :, :180, :250].transpose(1, 2, 0)
    assert np.array_equal(shown, photo.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("shape", [(1, 30_000, 3), (30_000, 1, 3), (1, 1, 3)])
def test_extreme_proportions_take_no_more_memory_than_the_result(shape: tuple[int, int, int]) -> None:
    prepared = prepare(np.full(shape, 128, np.uint8), PRESETS["imagenet"], 32, "symmetric")
    assert np.array_equal(prepared.image, np.full((1, 3, 224, 224), np.float32(128) / np.float32(255)))
