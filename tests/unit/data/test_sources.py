"""Sources: every container gives the same photos, and errors have one line."""

import multiprocessing
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.hostile.images import jpeg_of_scans
from tests.unit.data.containers import NAMES, encode, read_refusal, write_tar, write_tree, write_zip
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.errors import TrainingError, WavePaintWarning


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "photos")


def assert_same_photos(source: PhotoSource, tree: Path, prefix: str = "") -> None:
    expected = open_source(tree)
    assert [name.removeprefix(prefix) for name in source.names] == list(expected.names)
    assert len(source.names) == len(NAMES)
    for name in expected.names:
        assert np.array_equal(source.read(prefix + name), expected.read(name))
        assert source.measure(prefix + name) == (16, 12)


def test_folder_gives_its_photos_sorted_and_without_hidden_ones(tree: Path) -> None:
    source = open_source(tree)
    assert list(source.names) == ["deep/er/ä.png", "n01/a.JPEG", "n01/b.png", "n01 more/c.webp", "z.jpg"]
    photo = source.read("z.jpg")
    assert (photo.mode, photo.size) == ("RGB", (16, 12))


@pytest.mark.parametrize("prefix", ["", "./"])
def test_tar_gives_the_photos_of_the_folder(tree: Path, tmp_path: Path, prefix: str) -> None:
    assert_same_photos(open_source(write_tar(tmp_path / "x.tar", prefix=prefix)), tree)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_gives_the_photos_of_the_folder(tree: Path, tmp_path: Path, compression: int) -> None:
    assert_same_photos(open_source(write_zip(tmp_path / "x.zip", compression=compression)), tree)


def test_photos_of_shards_are_named_after_their_shard(tree: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    write_tar(shards / "s-000.tar", NAMES[:2])
    write_tar(shards / "s-001.tar", NAMES[2:4])
    write_zip(shards / "s-002.zip", NAMES[4:])
    source = open_source(shards)
    assert list(source.names) == [
        "s-000.tar/n01/a.JPEG", "s-000.tar/n01/b.png", "s-001.tar/n01 more/c.webp", "s-001.tar/z.jpg",
        "s-002.zip/deep/er/ä.png",
    ]  # fmt: skip
    expected = open_source(tree)
    for name in source.names:
        assert np.array_equal(source.read(name), expected.read(name.split("/", 1)[1]))


def test_stl10_is_column_major_and_unlabeled_comes_first(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)  # N, row, column, channel
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    images.transpose(0, 3, 2, 1).tofile(folder / "unlabeled_X.bin")
    (folder / "train_X.bin").write_bytes(bytes(96 * 96 * 3))
    for place in (folder / "unlabeled_X.bin", folder, tmp_path):
        source = open_source(place)
        assert list(source.names) == [f"unlabeled_X/{i:06d}" for i in range(3)]
        for name, image in zip(source.names, images, strict=True):
            assert np.array_equal(source.read(name), image)
    assert open_source(folder / "train_X.bin").names == ["train_X/000000"]


def test_files_without_a_suffix_are_photos_if_they_start_like_an_image(tree: Path) -> None:
    (tree / "00000007").write_bytes(encode("z.jpg"))
    (tree / "README").write_text("no photo")
    source = open_source(tree)
    assert set(source.names) == {*NAMES, "00000007"}
    assert np.array_equal(source.read("00000007"), source.read("z.jpg"))


def test_links_are_followed_and_cycles_of_links_end(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(tree)
    (tree / "ring").symlink_to(tmp_path / "data")
    assert sorted(open_source(tmp_path / "data").names) == sorted(f"train/{name}" for name in NAMES)


def test_photos_become_upright_rgb(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    Image.new("L", (8, 4), 100).save(tmp_path / "a.jpg", exif=exif)
    source = open_source(tmp_path)
    assert (source.read("a.jpg").size, source.read("a.jpg").mode) == ((4, 8), "RGB")
    assert source.measure("a.jpg") == (8, 4)


def read_in_child(source: PhotoSource, name: str, queue: "multiprocessing.Queue[bytes]") -> None:
    queue.put(source.read(name).tobytes())


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_sources_work_in_other_processes(tree: Path, tmp_path: Path, kind: str) -> None:
    path = {"folder": tree, "tar": write_tar(tmp_path / "x.tar"), "zip": write_zip(tmp_path / "x.zip")}[kind]
    source = open_source(path)
    again = pickle.loads(pickle.dumps(source))
    assert again.names == source.names
    expected = source.read("z.jpg").tobytes()
    assert again.read("z.jpg").tobytes() == expected
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[bytes] = context.Queue()
    children = [context.Process(target=read_in_child, args=(source, "z.jpg", queue)) for _ in range(2)]
    for child in children:
        child.start()
    assert [queue.get(timeout=30) for _ in children] == [expected] * 2
    for child in children:
        child.join()


def test_description_depends_on_names_and_sizes(tree: Path, tmp_path: Path) -> None:
    source = open_source(tree)
    before = source.describe()
    assert before["num_photos"] == 5
    assert before == open_source(write_zip(tmp_path / "x.zip")).describe()
    assert source.describe(["z.jpg"])["num_photos"] == 1
    assert source.describe(["z.jpg"]) != source.describe(["n01/b.png"])
    (tree / "z.jpg").write_bytes(encode("z.jpg") + b"\0")
    assert source.describe() != before
    (tree / "z.jpg").unlink()
    with pytest.raises(TrainingError, match="no longer exists"):
        source.describe()


def test_error_of_a_broken_photo_names_its_archive(tree: Path, tmp_path: Path) -> None:
    (tree / "z.jpg").write_bytes(encode("z.jpg")[:150])
    with pytest.raises(TrainingError, match=r"photos/z\.jpg cannot be decoded"):
        open_source(tree).read("z.jpg")
    with pytest.raises(TrainingError, match="there is no such photo"):
        open_source(write_tar(tmp_path / "x.tar")).read("none.jpg")
    archive = write_zip(tmp_path / "x.zip")
    content = bytearray(archive.read_bytes())
    content[content.index(b"z.jpg") + 60] ^= 255
    archive.write_bytes(content)
    with pytest.raises(TrainingError, match=r"x\.zip/z\.jpg cannot be decoded .*CRC"):
        open_source(archive).read("z.jpg")


def test_path_without_photos_is_refused_with_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "it is empty" in read_refusal(tmp_path / "empty")
    (tmp_path / "empty" / "a.csv").touch()
    assert "1 .csv" in read_refusal(tmp_path / "empty")
    (tmp_path / "empty" / "delta00000.npy").touch()
    assert "CelebA-HQ's deltas" in read_refusal(tmp_path / "empty")
    assert "does not exist" in read_refusal(tmp_path / "none")
    (tmp_path / "a.parquet").touch()
    assert "of another kind" in read_refusal(tmp_path / "a.parquet")
    assert "no photos" in read_refusal(write_tar(tmp_path / "x.tar", ()))


def test_error_of_an_unlistable_folder_names_it(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    assert read_refusal(tree) == f"{tree} cannot be listed: Permission denied."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["x.tar", "x.zip", "train_X.bin"])
def test_pipe_is_refused_without_waiting_for_it(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert "is a pipe or a device" in read_refusal(tmp_path / name)


def test_jpeg_with_excessive_scans_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_of_scans(3000, 3000, 10_000))
    with pytest.raises(TrainingError, match="a.jpg cannot be decoded .it is a JPEG of 1000. scans"):
        open_source(tmp_path).read("a.jpg")


def test_truncated_stl10_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "unlabeled_X.bin").write_bytes(bytes(96 * 96 * 3 + 5))
    assert "multiple of 27648" in read_refusal(tmp_path / "unlabeled_X.bin")
    (tmp_path / "unlabeled_X.bin").write_bytes(b"")
    assert "has 0 bytes" in read_refusal(tmp_path)
    os.truncate(tmp_path / "unlabeled_X.bin", 96 * 96 * 3 * 10**7)
    assert "at most 1,000,000 images" in read_refusal(tmp_path)


def test_archives_beside_photos_are_ignored_with_a_warning(tree: Path) -> None:
    write_tar(tree / "x.tar")
    with pytest.warns(WavePaintWarning, match="5 photos and 1 archives"):
        assert len(open_source(tree).names) == 5
