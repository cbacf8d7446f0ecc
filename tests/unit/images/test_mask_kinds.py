"""Masks in colour or on a transparent layer are read as they are meant; white on black is read as it always was."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tests.image_files import encoded, png
from wavepaint.errors import ImageError
from wavepaint.runtime.images import read_mask
from wavepaint.runtime.images.mask_kinds import is_black_and_white
from wavepaint.runtime.images.read import decode_mask

SIZE = (160, 120)
RED, GREEN, YELLOW, NAVY = (255, 0, 0), (0, 255, 0), (255, 255, 0), (0, 0, 128)


def draw(mode: str, background: Any, *paints: Any) -> Image.Image:
    """Return a picture with one soft disc for each paint."""
    image = Image.new(mode, SIZE, background)
    for number, paint in enumerate(paints):
        disc = Image.new("L", SIZE, 0)
        ImageDraw.Draw(disc).ellipse([20 + 50 * number, 30, 55 + 50 * number, 80], fill=255)
        disc = disc.filter(ImageFilter.GaussianBlur(1))
        if mode in ("LA", "RGBA"):
            colour = paint[:-1] if mode == "RGBA" else paint[0]
            layer = Image.new(mode[:-1], SIZE, colour)
            layer.putalpha(disc.point(lambda value, alpha=paint[-1]: value * alpha // 255))
            image.alpha_composite(layer) if mode == "RGBA" else image.paste(
                layer, mask=disc.point(lambda v: 255 * (v > 0))
            )
        else:
            image.paste(paint, mask=disc)
    return image


def discs(number: int) -> np.ndarray:
    """Return where the first discs are."""
    return np.asarray(draw("L", 0, *[255] * number)) >= 64


def kind(source: Any, *, invert: bool = False) -> str:
    return decode_mask(source, invert=invert, threshold=128, mask_from="auto", size=None).kind


def assert_read_as_always(mask: Any) -> None:
    for invert in (False, True):
        for threshold in (1, 128, 140):
            expected = read_mask(mask, invert=invert, threshold=threshold, mask_from="luminance")
            assert np.array_equal(read_mask(mask, invert=invert, threshold=threshold), expected)


@pytest.mark.parametrize(
    ("mode", "paints"),
    [
        ("RGBA", [(*RED, 255)]),
        ("RGBA", [(*RED, 128)]),
        ("RGBA", [(0, 0, 0, 255)]),
        ("RGBA", [(*NAVY, 255), (*YELLOW, 255)]),
        ("RGBA", [(255, 255, 255, 110)]),
        ("LA", [(0, 255)]),
    ],
    ids=str,
)
def test_the_paint_of_a_transparent_layer_is_the_hole(mode: str, paints: list[Any]) -> None:
    image = draw(mode, (0,) * len(mode), *paints)
    faint = min(paint[-1] for paint in paints)
    for source in (image, encoded(image, "PNG"), encoded(image, "WEBP", lossless=True), np.asarray(image)):
        assert kind(source) == "layer"
        assert np.array_equal(read_mask(source), np.asarray(image)[..., -1] >= 64)
        assert np.array_equal(read_mask(source, invert=True), ~read_mask(source))
    if faint == 255:
        assert np.array_equal(read_mask(image), discs(len(paints)))
    if mode == "RGBA":
        deep = np.asarray(image).astype(np.uint16) * 257
        assert np.array_equal(read_mask(png(deep)), read_mask(image))
        palette = image.quantize(8)
        assert "transparency" in Image.open(io.BytesIO(encoded(palette, "PNG"))).info
        assert np.array_equal(read_mask(encoded(palette, "PNG")), np.asarray(palette.convert("RGBA"))[..., -1] >= 64)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP"])
@pytest.mark.parametrize("paints", [[RED], [RED, YELLOW], [NAVY, GREEN, RED]], ids=str)
def test_coloured_strokes_on_black_are_the_hole(paints: list[Any], file_format: str) -> None:
    source = encoded(draw("RGB", "black", *paints), file_format)
    assert kind(source) == "strokes on black"
    assert (read_mask(source) != discs(len(paints))).mean() < 0.01
    assert np.array_equal(read_mask(source, invert=True), ~read_mask(source))


def test_a_palette_of_class_colours_on_black_is_the_hole() -> None:
    index = Image.new("P", SIZE, 0)
    index.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 64, 0, 0])
    for number in (1, 2, 3):
        ImageDraw.Draw(index).rectangle([30 * number, 20, 30 * number + 15, 60], fill=number)
    assert np.array_equal(read_mask(encoded(index, "PNG")), np.asarray(index) > 0)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("paint", [RED, YELLOW], ids=str)
def test_coloured_strokes_on_white_need_a_flag(paint: Any, file_format: str) -> None:
    source = encoded(draw("RGB", "white", paint), file_format)
    with pytest.raises(ImageError, match="coloured strokes on white.*--invert-mask.*--mask-from luminance"):
        read_mask(source)
    assert (read_mask(source, invert=True) != discs(1)).mean() < 0.01
    assert read_mask(source, mask_from="luminance").mean() > 0.8


@pytest.mark.parametrize(
    "mask",
    [
        draw("L", 0, 255),
        draw("L", 255, 0),
        draw("1", 0, 1),
        draw("L", 0, 255, 128, 90),
        draw("L", 0, 255).filter(ImageFilter.GaussianBlur(12)),
        Image.linear_gradient("L"),
        draw("RGB", "black", "white"),
        draw("RGB", "black", YELLOW, GREEN),
        draw("RGB", "black", "white", RED),
        draw("RGB", (68, 1, 84), YELLOW),
        draw("RGBA", (0, 0, 0, 255), (255, 255, 255, 255)),
        draw("RGBA", (0, 0, 0, 0), (255, 255, 255, 255)),
        draw("RGBA", (0, 0, 0, 0), (255, 255, 255, 255), (0, 0, 0, 255)),
        draw("RGBA", (0, 0, 0, 0), (*YELLOW, 255)),
        draw("LA", (0, 0), (255, 255)),
        Image.new("L", SIZE, 0),
        Image.new("RGBA", SIZE, (0, 0, 0, 0)),
        np.asarray(draw("L", 0, 255)).astype(np.uint16) * 257,
    ],
    ids=range(18),
)
def test_masks_that_can_be_read_by_luminance_are_read_as_always(mask: Any) -> None:
    assert_read_as_always(mask)
    if isinstance(mask, Image.Image) and mask.mode in ("L", "RGB"):
        for quality in (20, 90):
            assert_read_as_always(encoded(mask, "JPEG", quality=quality))


def test_a_photograph_is_recognised_in_colour_in_grey_and_with_transparent_parts(photo: np.ndarray) -> None:
    image = Image.fromarray(photo)
    for source in (photo, image.convert("L"), encoded(image, "JPEG", quality=40), encoded(image.quantize(64), "PNG")):
        assert kind(source) == "photo"
    erased = image.convert("RGBA")
    erased.putalpha(draw("L", 255, 0).resize(image.size))
    assert kind(erased) == "cutout"
    assert not is_black_and_white(photo)


@pytest.mark.parametrize("radius", [0, 1, 2, 4, 16])
@pytest.mark.parametrize("quality", [10, 50, 90, None])
def test_a_soft_or_compressed_mask_is_never_taken_for_a_photograph(radius: int, quality: int | None) -> None:
    rng = np.random.default_rng(radius)
    mask = Image.new("L", (320, 320), 0)
    for _ in range(25):
        ImageDraw.Draw(mask).line([*map(int, rng.integers(0, 320, 8))], fill=255, width=int(rng.integers(1, 12)))
    mask = mask.filter(ImageFilter.GaussianBlur(radius))
    assert kind(mask if quality is None else encoded(mask, "JPEG", quality=quality)) == "levels"
