"""Sources: every container gives the same photos, and errors have one line."""

import io
import multiprocessing
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.hostile.archives import lying_zip, pax, tar_chain, tar_header, tar_member, zip_bomb
from tests.hostile.images import jpeg_of_scans
from wavepaint.data.names import PackedNames, sort_key
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.errors import TrainingError, WavePaintWarning

NAMES = ("n01/a.JPEG", "n01/b.png", "n01 more/c.webp", "z.jpg", "deep/er/ä.png")


def encode(name: str) -> bytes:
    pixels = np.random.default_rng(len(name)).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    kind = {"JPEG": "JPEG", "jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name.rsplit(".", 1)[1]]
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def write_tree(folder: Path) -> Path:
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode(name))
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.jpg").write_text("no photo")
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "t.png").write_text("no photo")
    return folder


def write_tar(path: Path, names: tuple[str, ...] = NAMES, prefix: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        for name in (*names, "notes.txt", "__MACOSX/._a.jpg"):
            content = encode(name) if name in NAMES else b"no photo"
            info = tarfile.TarInfo(prefix + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, names: tuple[str, ...] = NAMES, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name in names:
            archive.writestr(name, encode(name))
        archive.writestr("notes.txt", "no photo")
    return path


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


def test_files_without_an_ending_count_if_they_start_like_an_image(tree: Path) -> None:
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


def refusal(path: Path) -> str:
    with pytest.raises(TrainingError) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_path_without_photos_is_refused_with_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "it is empty" in refusal(tmp_path / "empty")
    (tmp_path / "empty" / "a.csv").touch()
    assert "1 .csv" in refusal(tmp_path / "empty")
    (tmp_path / "empty" / "delta00000.npy").touch()
    assert "CelebA-HQ's deltas" in refusal(tmp_path / "empty")
    assert "does not exist" in refusal(tmp_path / "none")
    (tmp_path / "a.parquet").touch()
    assert "of another kind" in refusal(tmp_path / "a.parquet")
    assert "no photos" in refusal(write_tar(tmp_path / "x.tar", ()))


def test_error_of_an_unlistable_folder_names_it(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    assert refusal(tree) == f"{tree} cannot be listed: Permission denied."


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz"])
def test_compressed_tars_are_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / name).touch()
    assert "compressed tar" in refusal(tmp_path / "shards" / name)
    assert "compressed tar" in refusal(tmp_path / "shards")


@pytest.mark.parametrize("cut", [0.3, 0.5, 0.8])
def test_truncated_archives_are_refused(tmp_path: Path, cut: float) -> None:
    for path in (write_tar(tmp_path / "x.tar"), write_zip(tmp_path / "x.zip")):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content.rstrip(b"\0")) * cut)])
        assert f"cannot be read as a {path.suffix[1:]}" in refusal(path)


def test_damaged_header_in_a_tar_is_not_taken_for_its_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar")
    content = bytearray(path.read_bytes())
    content[content.index(b"z.jpg")] ^= 255
    path.write_bytes(content)
    assert "damaged header" in refusal(path)


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
    assert reason in refusal(tmp_path / "x.tar")


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
    assert "'a.png' declares more bytes than there are" in refusal(tmp_path / "x.zip")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["x.tar", "x.zip", "train_X.bin"])
def test_pipe_is_refused_without_waiting_for_it(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert "is a pipe or a device" in refusal(tmp_path / name)


def test_jpeg_with_excessive_scans_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_of_scans(3000, 3000, 10_000))
    with pytest.raises(TrainingError, match="a.jpg cannot be decoded .it is a JPEG of 1000. scans"):
        open_source(tmp_path).read("a.jpg")


def test_zip_without_random_access_is_refused(tmp_path: Path) -> None:
    assert "not compressed with deflate" in refusal(write_zip(tmp_path / "x.zip", compression=zipfile.ZIP_LZMA))


def test_zip_with_a_nameless_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"")
    path.write_bytes(path.read_bytes().replace(b"a.png", b"\0.png"))  # a name ends at its first NUL
    assert "a member has no name" in refusal(path)


def test_truncated_stl10_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "unlabeled_X.bin").write_bytes(bytes(96 * 96 * 3 + 5))
    assert "multiple of 27648" in refusal(tmp_path / "unlabeled_X.bin")
    (tmp_path / "unlabeled_X.bin").write_bytes(b"")
    assert "has 0 bytes" in refusal(tmp_path)
    os.truncate(tmp_path / "unlabeled_X.bin", 96 * 96 * 3 * 10**7)
    assert "at most 1,000,000 images" in refusal(tmp_path)


def test_archives_beside_photos_are_ignored_with_a_warning(tree: Path) -> None:
    write_tar(tree / "x.tar")
    with pytest.warns(WavePaintWarning, match="5 photos and 1 archives"):
        assert len(open_source(tree).names) == 5


@given(st.lists(st.text(st.characters(blacklist_characters="\0"), min_size=1, max_size=12), unique=True))
def test_packed_names_equal_the_names(names: list[str]) -> None:
    names = sorted((name.encode("utf-8", "ignore").decode() for name in names), key=sort_key)
    packed = PackedNames(names)
    assert list(packed) == names
    assert packed == names
    assert list(packed[1:]) == names[1:]
    for name in set(names):
        assert packed[packed.find(name)] == name
    with pytest.raises(KeyError):
        packed.find("\0")


def test_file_names_that_are_not_utf_8_round_trip() -> None:
    assert list(PackedNames(["\udcff.jpg"])) == ["\udcff.jpg"]


def test_many_names_need_little_memory_and_are_found_quickly() -> None:
    names = [f"train/n{i // 1000:08d}/image_{i:08d}.JPEG" for i in range(100_000)]
    packed = PackedNames(names)
    assert len(pickle.dumps(packed)) < 50 * len(names)
    assert [packed.find(names[i]) for i in range(0, 100_000, 9973)] == list(range(0, 100_000, 9973))
