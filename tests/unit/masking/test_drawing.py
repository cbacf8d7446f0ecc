"""Masks from rectangles, frames and colours: their size, their rim, and one line for every mistake."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.image_files import encoded, png
from wavepaint.errors import ConfigError, ImageError, WavePaintWarning
from wavepaint.runtime.filling.morphology import grow_hole
from wavepaint.runtime.images import read_photo
from wavepaint.runtime.masking import MaskOptions, draw_mask
from wavepaint.runtime.masking.colours import parse_colour

GREY = np.full((60, 100, 3), 128, np.uint8)


def rectangle(*sides: int | str) -> MaskOptions:
    return MaskOptions(rectangles=[sides])


def test_rectangles_count_from_the_left_and_top_edge() -> None:
    expected = np.zeros((60, 100), bool)
    expected[20:25, 10:40] = True
    np.testing.assert_array_equal(draw_mask(GREY, rectangle(10, 20, 30, 5)), expected)
    np.testing.assert_array_equal(draw_mask(GREY, rectangle("10%", "33.4%", "30%", 5)), expected)


def test_a_rectangle_beyond_the_photo_is_cut_with_a_warning() -> None:
    with pytest.warns(WavePaintWarning, match="100x60 pixels and is cut to 10x5"):
        hole = draw_mask(GREY, rectangle(90, 55, 40, 40))
    assert hole.sum() == 50


def test_a_border_has_one_width_or_four() -> None:
    hole = draw_mask(GREY, MaskOptions(border=(5,)))
    assert not hole[5:55, 5:95].any()
    assert hole.sum() == 60 * 100 - 50 * 90
    hole = draw_mask(GREY, MaskOptions(border=(1, 0, "2%", 3)))
    assert not hole[:57, 1:98].any()
    assert hole.sum() == 60 * 100 - 57 * 97


def test_sources_are_joined_and_grow_together_with_dilate() -> None:
    options = {"rectangles": [(50, 30, 4, 4)], "border": (2,)}
    joined = draw_mask(GREY, MaskOptions(**options))
    parts = [draw_mask(GREY, MaskOptions(**{name: value})) for name, value in options.items()]
    np.testing.assert_array_equal(joined, parts[0] | parts[1])
    np.testing.assert_array_equal(draw_mask(GREY, MaskOptions(**options, dilate=5)), grow_hole(joined, 5))


@pytest.mark.parametrize("name", ["#ff00ff", "FF00FF", "f0f", "#F0F", "magenta", "rgb(255, 0, 255)"])
def test_colours_have_many_names(name: str) -> None:
    assert parse_colour(name) == (255, 0, 255)


def test_paint_is_marked_with_its_rim() -> None:
    painted = GREY.copy()
    painted[20:30, 40:60] = (255, 0, 255)
    exact = draw_mask(painted, MaskOptions(colours=["magenta"], dilate=0))
    np.testing.assert_array_equal(exact, (painted == (255, 0, 255)).all(axis=2))
    np.testing.assert_array_equal(draw_mask(painted, MaskOptions(colours=["magenta"])), grow_hole(exact, 3))
    jpeg = encoded(Image.fromarray(painted), "JPEG", quality=85)
    changed = np.abs(np.asarray(Image.open(io.BytesIO(jpeg))).astype(int) - 128).max(axis=2) > 40
    hole = draw_mask(jpeg, MaskOptions(colours=["magenta"]))
    assert hole[changed].all()
    assert hole.mean() < 0.12


def test_tolerance_is_the_largest_difference_of_a_channel() -> None:
    painted = GREY.copy()
    painted[5, 5], painted[7, 7] = (250, 10, 250), (250, 10, 244)
    options: dict[str, Any] = {"colours": ["ff00ff", "#00ff00"], "dilate": 0}
    assert draw_mask(painted, MaskOptions(**options, tolerance=10)).sum() == 1
    assert draw_mask(painted, MaskOptions(**options, tolerance=11)).sum() == 2


def test_colours_are_those_on_the_screen(tmp_path: Path) -> None:
    """Magenta in a file whose profile swaps red and green is stored as cyan."""
    painted = GREY.copy()
    painted[10:40, 10:40] = (255, 0, 255)
    for deep in (painted, painted.astype(np.uint16) * 257):
        (tmp_path / "photo.png").write_bytes(png(deep))
        assert draw_mask(tmp_path / "photo.png", MaskOptions(colours=["magenta"], dilate=0)).sum() == 900
    wide = ImageCms.ImageCmsProfile(io.BytesIO(make_swapped_profile()))
    stored = painted[..., (1, 0, 2)]
    data = encoded(Image.fromarray(stored), "PNG", icc_profile=wide.tobytes())
    assert draw_mask(data, MaskOptions(colours=["magenta"], dilate=0)).sum() == 900


def make_swapped_profile() -> bytes:
    """Return sRGB's profile with the primaries of red and green exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    return bytes(profile.replace(b"rXYZ", b"tmp!").replace(b"gXYZ", b"rXYZ").replace(b"tmp!", b"gXYZ"))


def test_transparent_paint_is_not_seen() -> None:
    painted = np.dstack([GREY, np.full((60, 100), 255, np.uint8)])
    painted[:, :50, :3] = (255, 0, 255)
    painted[:30, :50, 3] = 0
    hole = draw_mask(painted, MaskOptions(colours=["magenta"], dilate=0))
    assert hole.sum() == 30 * 50
    assert hole[30:, :50].all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_mask_has_the_size_of_the_upright_photo(orientation: int) -> None:
    image = Image.fromarray(GREY)
    exif = image.getexif()
    exif[274] = orientation
    data = encoded(image, "JPEG", exif=exif)
    hole = draw_mask(data, rectangle(0, 0, 10, 5))
    assert hole.shape == read_photo(data).pixels.shape[:2]
    assert hole[:5, :10].all()


def test_a_source_that_marks_nothing_beside_others_is_warned_of() -> None:
    with pytest.warns(WavePaintWarning) as caught:
        hole = draw_mask(GREY, MaskOptions(border=(2,), colours=["magenta"], scratches="both"))
    assert hole.mean() < 0.15
    texts = [str(warning.message) for warning in caught]
    assert "found no scratches" in texts[0]
    assert "found no magenta" in texts[1]


@pytest.mark.filterwarnings("ignore::wavepaint.errors.WavePaintWarning")
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_all_kinds_of_photos_get_masks(mode: str) -> None:
    image = Image.new("L", (40, 30), 100)
    image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
    options = MaskOptions(rectangles=[(1, 2, 3, 4)], colours=["magenta"], scratches="both", dilate=0)
    assert draw_mask(encoded(image, "PNG"), options).sum() == 12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (rectangle(100, 0, 5, 5), "outside of the photo, which is 100x60 pixels"),
        (rectangle(0, 0, 0, 5), "has no area"),
        (rectangle(0, 0, "100%", "100%"), "covers the whole photo"),
        (MaskOptions(border=("50%",)), "covers the whole photo"),
        (MaskOptions(border=(0,)), "the border has no pixel"),
        (MaskOptions(scratches="dark"), "no dark scratches. Pass a --sensitivity above 50"),
        (MaskOptions(colours=["magenta"]), "differs by 128. Name the colour of the paint"),
        (MaskOptions(colours=["#a0a0a0"], tolerance=5), "differs by 32. If that is the paint, pass --tolerance 42"),
    ],
)
def test_masks_that_make_no_sense_are_refused(options: MaskOptions, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        draw_mask(GREY, options)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "at least one of --rect"),
        ({"rectangles": [(1, 2, 3)]}, "a rectangle (--rect) is 1,2,3: expected x,y,width,height"),
        ({"rectangles": [("1", "-2", "3", "4")]}, "1,-2,3,4"),
        ({"rectangles": ["1,2,3,4"]}, "'1,2,3,4'"),
        ({"rectangles": 5}, "rectangles is 5: expected a list of rectangles"),
        ({"rectangles": [np.zeros((2, 2), int)]}, "a rectangle (--rect) is "),
        ({"border": np.array([1, 2, 3, 4])}, "border is of type ndarray: expected a list"),
        ({"colours": "magenta"}, "colours is 'magenta': expected a list of colours"),
        ({"colours": [(255, 0, 255)]}, "an element of colours is of type tuple: expected text such as '#ff00ff'"),
        ({"border": (1, 2)}, "one width, or left,top,right,bottom"),
        ({"border": ("1.5",)}, "whole pixels"),
        ({"border": ("nan%",)}, "nan%"),
        ({"colours": ["not a colour"]}, "--from-color"),
        ({"colours": ["magenta"], "tolerance": 256}, "tolerance is 256"),
        ({"scratches": "red"}, "--scratches"),
        ({"scratches": "both", "sensitivity": 101}, "sensitivity is 101"),
        ({"scratches": "both", "scratch_width": 0}, "scratch_width is 0"),
        ({"border": (1,), "dilate": 65}, "dilate is 65 pixels"),
    ],
)
def test_options_name_the_flag_to_change(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MaskOptions(**settings)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_options_of_another_type_are_refused() -> None:
    with pytest.raises(ConfigError, match="^options is of type dict: expected MaskOptions"):
        draw_mask(GREY, {"border": [1]})  # type: ignore[arg-type]
