"""Files that are not read are named for what they are, with the way to convert them."""

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.image_files import encoded, tiff
from wavepaint.errors import ImageError, WavePaintWarning
from wavepaint.optional import make_install_command
from wavepaint.runtime.images.read import read_photo
from wavepaint.runtime.pairing import find_jobs

GREY = np.zeros((4, 4), np.uint8)
HEIC = struct.pack(">I8s4s4s", 24, b"ftypheic", bytes(4), b"mif1") + bytes(40)


def tiff_with_preview() -> bytes:
    """Return a TIFF laid out like a raw file: a preview that refers to the picture itself."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(GREY, subfiletype=1, subifds=1)
        writer.write(GREY)
    return stream.getvalue()


KINDS = {
    "photo.cr2": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(99), "raw converter"),
    "photo.cr3": (b"\0\0\0\x18ftypcrx " + bytes(99), "raw converter"),
    "photo.raf": (b"FUJIFILMCCD-RAW 0201" + bytes(99), "raw converter"),
    "photo.orf": (b"IIRO\x08\0\0\0" + bytes(99), "raw converter"),
    "photo.rw2": (b"IIU\0\x18\0\0\0" + bytes(99), "raw converter"),
    "photo.nef": (tiff(GREY), "raw converter"),
    "photo.ARW": (tiff(GREY), "raw converter"),
    "dng.tif": (tiff(GREY, extratags=[(50706, "B", 4, (1, 4, 0, 0), True)]), "raw converter"),
    "nef.tif": (tiff_with_preview(), "raw converter"),
    "layers.psd": (b"8BPS\0\x01" + bytes(99), "Photoshop document"),
    "layers.xcf": (b"gimp xcf v011" + bytes(99), "GIMP project"),
    "page.pdf": (b"%PDF-1.7\n" + bytes(99), "PDF document"),
    "icon.svg": (b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg width="9"/>', "SVG drawing"),
    "bare.svg": (b"<svg></svg>", "SVG drawing"),
    "photo.jpg": (b"<!DOCTYPE html>\n<html><svg></svg></html>", "not an image but a web page"),
    "photo.jxl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "JPEG XL"),
    "light.exr": (b"v/1\x01" + bytes(99), "floating-point"),
    "film.mov": (b"\0\0\0\x14ftypqt  " + bytes(99), "a video"),
    "film.mp4": (b"\0\0\0\x18ftypmp42" + bytes(99), "a video"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_not_read_is_named_with_the_way_to_convert_it(name: str, tmp_path: Path) -> None:
    data, words = KINDS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageError, match=words) as caught:
        read_photo(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name} is ")


def test_the_content_of_a_file_counts_more_than_its_name(tmp_path: Path) -> None:
    for name in ("photo.heic", "photo.nef", "photo.psd", "photo.svg"):
        (tmp_path / name).write_bytes(encoded(Image.fromarray(GREY), "PNG"))
        assert read_photo(tmp_path / name).format == "PNG"


def test_a_heic_photo_names_the_extra_that_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for brand in (b"heic", b"mif1"):
        with pytest.raises(ImageError, match="is a HEIC photo. Save it as PNG or JPEG, or") as caught:
            read_photo(HEIC.replace(b"heic", brand))
        assert str(caught.value).endswith(make_install_command("heif"))


def test_avif_is_named_where_pillow_does_not_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    with pytest.raises(ImageError, match="is AVIF, which this installation of Pillow does not read"):
        read_photo(HEIC.replace(b"heic", b"avif"))


def test_a_folder_skips_no_picture_in_silence(tmp_path: Path) -> None:
    for name in ("a.heic", "b.png", "c.nef", "d.NEF", "e.gif", "notes.txt", "film.mov"):
        (tmp_path / name).write_bytes(b"")
    mask = tmp_path / "mask.tif"
    mask.write_bytes(b"")
    with pytest.warns(WavePaintWarning, match=r"1 \.gif, 2 \.nef skipped. Convert these") as caught:
        jobs = find_jobs(str(tmp_path), str(mask), tmp_path / "out")
    assert len(caught) == 1
    assert [(job.inputs[0].name, job.outputs[0].name) for job in jobs] == [("a.heic", "a.png"), ("b.png", "b.png")]
