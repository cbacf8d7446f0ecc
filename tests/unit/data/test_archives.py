"""Archives of photos: broken, hostile and unsupported ones are refused in one line."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.hostile.archives import lying_zip, pax, tar_chain, tar_header, tar_member, zip_bomb
from tests.unit.data.containers import encode, read_refusal, write_tar, write_zip
from wavepaint.data.sources import open_source
from wavepaint.errors import TrainingError


def test_last_member_of_a_name_counts(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for value in (1, 2):
            stream = io.BytesIO()
            Image.new("RGB", (4, 4), (value, value, value)).save(stream, "PNG")
            info = tarfile.TarInfo("a.png")
            info.size = stream.tell()
            archive.addfile(info, io.BytesIO(stream.getvalue()))
    source = open_source(tmp_path / "x.tar")
    assert list(source.names) == ["a.png"]
    assert source.read("a.png").getpixel((0, 0)) == (2, 2, 2)


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz"])
def test_compressed_tars_are_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / name).touch()
    assert "compressed tar" in read_refusal(tmp_path / "shards" / name)
    assert "compressed tar" in read_refusal(tmp_path / "shards")


@pytest.mark.parametrize("cut", [0.3, 0.5, 0.8])
def test_truncated_archives_are_refused(tmp_path: Path, cut: float) -> None:
    for path in (write_tar(tmp_path / "x.tar"), write_zip(tmp_path / "x.zip")):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content.rstrip(b"\0")) * cut)])
        assert f"cannot be read as a {path.suffix[1:]}" in read_refusal(path)


def test_damaged_header_in_a_tar_is_not_taken_for_its_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar")
    content = bytearray(path.read_bytes())
    content[content.index(b"z.jpg")] ^= 255
    path.write_bytes(content)
    assert "damaged header" in read_refusal(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tar_header("a.png", -1024), "declares -1024 bytes"),
        (pax(size="-1536") + tar_header("a.png", 0), "leads back"),
        (tar_header("a.png", 10 * 2**30), "'a.png' declares 10737418240 bytes, more than there are"),
        (tar_header("a.png", 10**20), "more than there are"),
        (tar_header("a.png", 10**10, b"x"), "declares 10000000000 bytes"),
        (tar_chain(b"x", 3000), "recursion"),
        (tar_chain(b"L", 3000), "recursion"),
    ],
    ids=["negative", "negative by its pax header", "huge", "too huge to seek", "huge pax header", "pax", "long names"],
)
def test_tars_with_impossible_headers_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x.tar").write_bytes(tar_member("z.png", encode("z.jpg")) + content)
    assert reason in read_refusal(tmp_path / "x.tar")


def test_members_larger_than_any_photo_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "sparse.tar").write_bytes(tar_header("a.png", 10 * 2**30))
    os.truncate(tmp_path / "sparse.tar", 10 * 2**30 + 1024)
    (tmp_path / "bomb.zip").write_bytes(zip_bomb(4095))
    for name, size in (("sparse.tar", 10240), ("bomb.zip", 4095)):
        with pytest.raises(TrainingError, match=rf"{name}/a\.png cannot be decoded \({size} MiB, but a photo has at"):
            open_source(tmp_path / name).read("a.png")


def test_no_more_is_unpacked_than_a_zip_declares(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_bomb(4095, declared=1000))
    with pytest.raises(TrainingError, match="1001 bytes, but 1000 were expected"):
        open_source(tmp_path / "x.zip").read("a.png")
    (tmp_path / "x.zip").write_bytes(lying_zip({24: 2**32 - 2}, encode("a.png")))
    assert "'a.png' declares more bytes than there are" in read_refusal(tmp_path / "x.zip")


def test_zip_without_random_access_is_refused(tmp_path: Path) -> None:
    assert "not compressed with deflate" in read_refusal(write_zip(tmp_path / "x.zip", compression=zipfile.ZIP_LZMA))


def test_zip_with_a_nameless_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"")
    path.write_bytes(path.read_bytes().replace(b"a.png", b"\0.png"))  # a name ends at its first NUL
    assert "a member has no name" in read_refusal(path)
