"""What is said where a photograph cannot be encoded."""

import numpy as np
import pytest
from PIL import Image

from wavepaint.errors import OutputError
from wavepaint.runtime.images import Photo, encode_photo


@pytest.mark.parametrize("error", [MemoryError(), OSError("out of memory when writing image file")])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_where_memory_is_short_no_other_format_is_recommended(
    monkeypatch: pytest.MonkeyPatch, kind: str, error: Exception
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OutputError, match="no memory left to encode 30x20 pixels. Close other programs") as caught:
        encode_photo(Photo(np.zeros((20, 30, 3), np.uint8), format=kind))
    assert "PNG can hold it" not in str(caught.value)


def test_png_is_recommended_for_what_another_format_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ValueError("EXIF data is too long")

    monkeypatch.setattr(Image.Image, "save", fail)
    for kind, ending in (("JPEG", "too long. PNG can hold it: use a name in .png."), ("PNG", "is too long.")):
        with pytest.raises(OutputError) as caught:
            encode_photo(Photo(np.zeros((20, 30, 3), np.uint8), format=kind))
        assert str(caught.value).endswith(ending)
