"""A hole whose edge cuts through an object gets a number of pixels to grow by; other holes get none."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from wavepaint.runtime.filling.morphology import erode, grow_hole
from wavepaint.runtime.filling.tightness import suggest_dilation

ORANGE = (250, 130, 20)


def draw_object(size: tuple[int, int], scale: int = 1) -> Image.Image:
    """Return how much an object with a soft rim covers each pixel, as levels of grey."""
    cover = Image.new("L", size, 0)
    ImageDraw.Draw(cover).ellipse([150 * scale, 90 * scale, 260 * scale, 180 * scale], fill=255)
    ImageDraw.Draw(cover).ellipse([220 * scale, 60 * scale, 330 * scale, 130 * scale], fill=255)
    return cover.filter(ImageFilter.GaussianBlur(0.8 * scale))


def paste(photo: np.ndarray, cover: Image.Image) -> np.ndarray:
    pasted = Image.fromarray(photo)
    pasted.paste(ORANGE, mask=cover)
    return np.asarray(pasted)


@pytest.fixture
def cover(photo: np.ndarray) -> Image.Image:
    return draw_object((photo.shape[1], photo.shape[0]))


@pytest.fixture
def shape(cover: Image.Image) -> np.ndarray:
    return np.asarray(cover) >= 128


@pytest.mark.parametrize("rim", [1, 2, 4, 8])
def test_a_rim_outside_of_the_hole_is_measured(
    photo: np.ndarray, cover: Image.Image, shape: np.ndarray, rim: int
) -> None:
    image, hole = paste(photo, cover), erode(shape, rim)
    suggested = suggest_dilation(image, hole)
    assert rim + 1 <= suggested <= rim + 7
    assert not (shape & ~grow_hole(hole, suggested)).any()
    assert suggest_dilation(image, grow_hole(hole, suggested)) == 0


@pytest.mark.parametrize("margin", [1, 3, 8, 20])
def test_a_hole_around_the_object_is_not_too_tight(
    photo: np.ndarray, cover: Image.Image, shape: np.ndarray, margin: int
) -> None:
    assert suggest_dilation(paste(photo, cover), grow_hole(shape, margin)) == 0


def test_one_tight_hole_among_several_is_found(photo: np.ndarray, cover: Image.Image, shape: np.ndarray) -> None:
    hole = erode(shape, 4)
    hole[250:290, 20:120] = True
    assert suggest_dilation(paste(photo, cover), hole) > 4


def test_grey_and_16_bit_photos_give_the_same_number(photo: np.ndarray, cover: Image.Image, shape: np.ndarray) -> None:
    image, hole = paste(photo // 3, cover), erode(shape, 4)
    deep = image.astype(np.uint16) * 257
    assert suggest_dilation(deep, hole) == suggest_dilation(image, hole)
    assert 5 <= suggest_dilation(image[..., :1].copy(), hole) <= 10


def test_on_a_large_photo_wider_rims_are_found(photo: np.ndarray) -> None:
    size = (2600, 600)
    cover = draw_object(size, scale=3)
    image, shape = paste(np.asarray(Image.fromarray(photo).resize(size)), cover), np.asarray(cover) >= 128
    assert 18 <= suggest_dilation(image, erode(shape, 18)) <= 30
    assert suggest_dilation(image, grow_hole(shape, 8)) == 0


def test_a_rim_beside_an_object_that_was_painted_over_is_found(photo: np.ndarray, shape: np.ndarray) -> None:
    for paint in ((255, 0, 255), (0, 0, 0), (255, 255, 255)):
        image = photo.copy()
        image[shape] = paint
        assert suggest_dilation(image, shape) == 0
        assert suggest_dilation(image, erode(shape, 3)) > 3


def test_edges_and_textures_that_enter_the_hole_are_not_its_rim(photo: np.ndarray, shape: np.ndarray) -> None:
    assert suggest_dilation(photo, shape) == 0
    horizon = np.zeros_like(photo)
    horizon[130:] = 200
    stripes = np.zeros_like(photo)
    stripes[:, np.arange(photo.shape[1]) % 24 < 12] = 200
    noise = np.random.default_rng(0).integers(0, 256, photo.shape, dtype=np.uint8)
    smooth = np.full_like(photo, 90)
    for image in (horizon, stripes, noise, smooth):
        assert suggest_dilation(image, shape) == 0


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (100, 100), (40, 900)], ids=str)
@pytest.mark.parametrize("share", [0, 0.5, 0.9, 1])
def test_what_cannot_be_judged_gets_no_number(size: tuple[int, int], share: float) -> None:
    hole = np.zeros(size, bool)
    hole[: round(share * size[0])] = True
    assert suggest_dilation(np.zeros((*size, 3), np.uint8), hole) == 0


def test_a_scratch_is_not_judged(photo: np.ndarray) -> None:
    image, hole = photo.copy(), np.zeros(photo.shape[:2], bool)
    image[:, 200:204] = 255
    hole[:, 201:203] = True
    assert suggest_dilation(image, hole) == 0
