"""A wrong argument to the Python API raises a ConfigError that names it, never a TypeError, KeyError or ValueError."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wavepaint import FillOptions, Inpainter, inpaint_many
from wavepaint.errors import ConfigError, WavePaintError
from wavepaint.runtime.images import Photo, encode_photo, read_mask, read_photo, write_photo

NOT_INTEGERS: list[Any] = ["2", 1.5, 2.0, True, float("nan"), float("inf"), [], b"1", {}, np.float32(2), 1j]
NOT_WORDS: list[Any] = ["x", "", None, 1, ("auto",), ["auto"], {"auto": 1}, b"auto"]
NOT_BOOLS: list[Any] = ["yes", 1, None, np.bool_(True), []]


@pytest.fixture(scope="module")
def inpainter() -> Iterator[Inpainter]:
    with Inpainter(engine="ort-cpu", threads=1) as opened:
        yield opened


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("invert_mask", NOT_BOOLS),
        ("resize_mask", NOT_BOOLS),
        ("mask_threshold", [*NOT_INTEGERS, None, 0, 256, -1, 10**400, 10**5000]),
        ("mask_from", NOT_WORDS),
        ("dilate", [*NOT_INTEGERS, None, -1, 65, 10**400]),
        ("feather", [*NOT_INTEGERS, None, -1, 65]),
        ("strategy", NOT_WORDS),
    ],
)
def test_fill_options_name_the_wrong_argument(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=rf"^{name} is .*expected") as caught:
            FillOptions(**{name: value})
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bundle", [5, 1.5, b"bundle", [], {}, True]),
        ("engine", NOT_WORDS),
        ("precision", NOT_WORDS),
        ("threads", [*NOT_INTEGERS, 0, -1]),
        ("streams", [*NOT_INTEGERS, None, 0, -1]),
        ("max_memory_mb", [*NOT_INTEGERS, 0, -1]),
        ("max_batch", [*NOT_INTEGERS, 0, -1]),
    ],
)
def test_an_inpainter_names_the_wrong_argument(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=rf"^{name} is .*expected"):
            Inpainter(**{name: value})


def test_numpy_integers_are_accepted(photo: np.ndarray, hole: np.ndarray) -> None:
    options = FillOptions(dilate=np.int64(3), mask_threshold=np.uint8(128))  # type: ignore[arg-type]
    with Inpainter(engine="ort-cpu", threads=np.int32(1)) as inpainter:  # type: ignore[arg-type]
        assert inpainter.fill_array(photo, hole, options).shape == photo.shape


def test_wrong_images_masks_and_options_are_refused(inpainter: Inpainter, photo: np.ndarray, hole: np.ndarray) -> None:
    wrong: list[Any] = [None, 5, 1.5, [1, 2], {}, object(), photo.astype(float), photo[..., 0, 0], "no such file\0"]
    for value in wrong:
        with pytest.raises(WavePaintError):
            inpainter.fill(value, hole)
        with pytest.raises(WavePaintError):
            inpainter.fill(photo, value)
    for options in ({}, {"dilate": 2}, "auto", 5, []):
        with pytest.raises(ConfigError, match="^options is"):
            inpainter.fill(photo, hole, options)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="^options is"):
            inpainter.fill_array(photo, hole, options)  # type: ignore[arg-type]


def test_a_decoded_photo_and_its_hole_are_checked(
    inpainter: Inpainter, photo: np.ndarray, hole: np.ndarray, photo_files: tuple[Path, Path]
) -> None:
    decoded = read_photo(photo_files[0])
    wrong_holes: list[Any] = [None, hole.astype(np.uint8), hole.astype(float), hole[None], "mask.png", 1]
    for wrong in wrong_holes:
        with pytest.raises(ConfigError, match="^hole_HW is not"):
            inpainter.fill_photo(decoded, wrong)
    with pytest.raises(ConfigError, match="^photo is of type ndarray: expected a Photo"):
        inpainter.fill_photo(photo, hole)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 5, 3)), np.zeros((4, 5), np.uint8), np.zeros((4, 0, 3), np.uint8), np.zeros((4, 5, 5), np.uint16), 5],
)
def test_a_photo_has_pixels_that_can_be_filled_and_written(pixels: Any) -> None:
    with pytest.raises(WavePaintError, match="pixels .*: expected"):
        Photo(pixels)


def test_a_photo_is_written_to_a_path_of_any_type(tmp_path: Path) -> None:
    photo = Photo(np.full((4, 5, 3), 7, np.uint8))
    write_photo(photo, str(tmp_path / "a.png"))
    assert np.array_equal(read_photo(str(tmp_path / "a.png")).pixels, photo.pixels)
    assert encode_photo(photo, "a.png") == (tmp_path / "a.png").read_bytes()
    for path in (None, 5, b"a.png"):
        with pytest.raises(ConfigError, match="^path is .*: expected a file's path"):
            write_photo(photo, path)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="^photo is of type ndarray: expected a Photo"):
        write_photo(photo.pixels, tmp_path / "b.png")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "values"),
    [("invert", NOT_BOOLS), ("threshold", [*NOT_INTEGERS, None, 0, 256]), ("mask_from", NOT_WORDS)],
)
def test_reading_a_mask_names_the_wrong_argument(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=rf"^{name} is .*expected"):
            read_mask(np.zeros((4, 5), bool), **{name: value})


def test_several_photos_come_from_any_iterable_of_pairs(
    inpainter: Inpainter, hole: np.ndarray, photo_files: tuple[Path, Path]
) -> None:
    decoded = read_photo(photo_files[0])
    (filled,) = inpainter.fill_photos(pair for pair in [(decoded, hole)])
    assert isinstance(filled, Photo)
    assert filled.size == decoded.size
    for wrong in ([decoded], [(decoded,)], [(decoded, hole, hole)], [5], "ab"):
        with pytest.raises(ConfigError, match="expected"):
            inpainter.fill_photos(wrong)  # type: ignore[arg-type]
    for nothing in (None, 5, decoded):
        with pytest.raises(ConfigError, match="^photos is .*: expected a list of pairs"):
            inpainter.fill_photos(nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": None}, "^pairs is None"),
        ({"pairs": [("a.png",)]}, "not a pair"),
        ({"pairs": [5]}, "not a pair"),
        ({"pairs": [], "inpainter": "default"}, "^inpainter is 'default'"),
        ({"pairs": [], "options": {}}, "^options is"),
        ({"pairs": [], "on_error": "ignore"}, "^on_error is 'ignore': expected raise, yield"),
    ],
)
def test_inpaint_many_names_the_wrong_argument(inpainter: Inpainter, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(inpaint_many(**{"inpainter": inpainter, **arguments}))
