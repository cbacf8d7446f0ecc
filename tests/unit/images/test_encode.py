"""Errors of encoding name the cause, and recommend another format only if it helps."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from wavepaint.errors import OutputError
from wavepaint.runtime.images import Photo, encode_photo


@pytest.mark.parametrize("error", [MemoryError(), OSError("out of memory when writing image file")])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_out_of_memory_recommends_no_other_format(monkeypatch: pytest.MonkeyPatch, kind: str, error: Exception) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OutputError, match="no memory left to encode 30x20 pixels. Close other programs") as caught:
        encode_photo(Photo(np.zeros((20, 30, 3), np.uint8), format=kind))
    assert "PNG can hold it" not in str(caught.value)


def test_png_is_recommended_if_another_format_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ValueError("EXIF data is too long")

    monkeypatch.setattr(Image.Image, "save", fail)
    for kind, ending in (("JPEG", "too long. PNG can hold it: use a name in .png."), ("PNG", "is too long.")):
        with pytest.raises(OutputError) as caught:
            encode_photo(Photo(np.zeros((20, 30, 3), np.uint8), format=kind))
        assert str(caught.value).endswith(ending)


def test_a_photo_is_encoded_before_any_file_was_decoded() -> None:
    """In a fresh process, because Pillow loads its plugins once."""
    code = (
        "import numpy as np\nfrom wavepaint.runtime.images import Photo, encode_photo\n"
        "print(encode_photo(Photo(np.zeros((2, 2, 3), np.uint8)))[1:4])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "b'PNG'"
