"""``wp masks``: an evaluation set in the layout of LaMa's tools, and one line for every error."""

import hashlib
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from wavepaint.data.sources import open_source


def read_set(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return image and mask of each mask of a set, by the mask's name."""
    found = {}
    for path in sorted(folder.rglob("*_mask*.png")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        with Image.open(path) as mask, Image.open(folder / f"{name.rpartition('_mask')[0]}.png") as image:
            assert (image.mode, mask.mode) == ("RGB", "L")
            found[name] = np.asarray(image), np.asarray(mask)
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep").mkdir()
    for seed, name in enumerate(("a.png", "b.jpg", "deep/c.d.png", "deep/unmasked.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def hash_tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_several_kinds_get_a_folder_each(wp: Wp, photos: Path, tmp_path: Path) -> None:
    result = wp("masks", photos, "-o", tmp_path / "one", "--kinds", "thin", "--size", 64, "--per-image", 2)
    assert result.returncode == 0, result.stderr
    images = ["a", "b", "deep/c.d", "deep/unmsked"]  # LaMa's tools treat every name with "mask" as a mask
    assert set(hash_tree(tmp_path / "one")) == {
        "masks.json",
        *(f"{image}{end}.png" for image in images for end in ("", "_mask000", "_mask001")),
    }
    result = wp("masks", photos, "-o", tmp_path / "two", "--kinds", "thin,boxes", "--size", 64)
    assert result.returncode == 0, result.stderr
    assert set(hash_tree(tmp_path / "two")) == {
        "masks.json",
        *(f"{kind}/{image}{end}.png" for kind in ("thin", "boxes") for image in images for end in ("", "_mask000")),
    }
    record = json.loads((tmp_path / "two" / "masks.json").read_text())
    assert set(record["masks"]) == {"thin", "boxes"}
    assert "configs/data_gen/random_thin_256" in record["masks"]["thin"]
    # the masks of a photo do not depend on the rest of the set
    one, two = hash_tree(tmp_path / "one"), hash_tree(tmp_path / "two")
    assert one["a_mask000.png"] == two["thin/a_mask000.png"] != two["boxes/a_mask000.png"]
    assert one["a_mask000.png"] != one["a_mask001.png"]


def test_set_reads_back_as_photos_and_masks(wp_here: Wp, photos: Path, tmp_path: Path) -> None:
    assert wp_here("masks", photos, "-o", tmp_path / "set", "--kinds", "boxes,thin", "--size", 64).returncode == 0
    pairs = read_set(tmp_path / "set")
    assert list(pairs)[:4] == [
        "boxes/a_mask000", "boxes/b_mask000", "boxes/deep/c.d_mask000", "boxes/deep/unmsked_mask000",
    ]  # fmt: skip
    assert len(pairs) == 8
    for name, (image, mask) in pairs.items():
        assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((64, 64, 3), np.uint8, (64, 64), np.uint8)
        assert set(np.unique(mask)) == {0, 255}
        if name.startswith("boxes"):
            assert np.count_nonzero(mask) in (64, 144)


def test_files_depend_only_on_the_arguments(wp_here: Wp, photos: Path, tmp_path: Path) -> None:
    for out, seed in (("first", 3), ("second", 3), ("third", 4)):
        arguments = ("--kinds", "medium", "--size", 64, "--seed", seed)
        assert wp_here("masks", photos, "-o", tmp_path / out, *arguments).returncode == 0
    first, second, third = (hash_tree(tmp_path / out) for out in ("first", "second", "third"))
    assert first == second
    masks = [name for name in first if "mask0" in name]
    assert len(masks) == 4
    assert all(first[name] != third[name] for name in masks)
    assert first["a.png"] == third["a.png"]


def test_count_chooses_photos_and_replaces_broken_ones(wp_here: Wp, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    arguments = ("--kinds", "thin", "--size", 32, "--count", 3)
    assert wp_here("masks", tmp_path / "photos", "-o", tmp_path / "set", *arguments).returncode == 0
    chosen = {name.removesuffix("_mask000") for name in read_set(tmp_path / "set")}
    every = {"a", "b", "deep/c.d", "deep/unmsked"}
    assert len(chosen) == 3
    assert "b" in chosen
    (tmp_path / "photos" / "b.jpg").write_bytes(b"no photo")
    result = wp_here("masks", tmp_path / "photos", "-o", tmp_path / "other", *arguments)
    assert result.returncode == 0
    assert b"warning: skipped: " in result.stderr
    assert b"b.jpg cannot be decoded" in result.stderr
    assert {name.removesuffix("_mask000") for name in read_set(tmp_path / "other")} == every - {"b"}


def test_silhouettes_come_from_a_folder(wp_here: Wp, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cutouts").mkdir()
    Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), 5)).save(tmp_path / "cutouts" / "square.png")
    arguments = ("masks", photos, "-o", tmp_path / "set", "--kinds", "silhouettes", "--size", 64)
    assert_refused(wp_here(*arguments), "--silhouettes DIR")
    assert_refused(wp_here(*arguments, "--silhouettes", tmp_path / "none"), "is not a folder")
    assert wp_here(*arguments, "--silhouettes", tmp_path / "cutouts").returncode == 0
    assert len(read_set(tmp_path / "set")) == 4


def test_only_an_older_set_is_ever_replaced(wp_here: Wp, photos: Path, tmp_path: Path) -> None:
    arguments = ("masks", photos, "--kinds", "thin", "--size", 32, "-o")
    assert wp_here(*arguments, tmp_path / "set").returncode == 0
    assert_refused(wp_here(*arguments, tmp_path / "set"), "exists already", "--overwrite")
    assert wp_here(*arguments, tmp_path / "set", "--overwrite").returncode == 0
    before = hash_tree(photos)
    assert_refused(wp_here(*arguments, photos, "--overwrite"), "is one of the inputs")
    assert_refused(wp_here(*arguments, photos / "new"), "choose a separate folder")
    assert_refused(wp_here(*arguments, photos.parent, "--overwrite"), "one of the inputs")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    assert_refused(wp_here(*arguments, tmp_path / "other", "--overwrite"), "is not a set of masks")
    assert (tmp_path / "other" / "thesis.txt").exists()
    assert hash_tree(photos) == before


def test_photos_of_the_same_name_are_refused(wp_here: Wp, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (40, 40)).save(tmp_path / "photos" / name)
    assert_refused(wp_here("masks", tmp_path / "photos", "-o", tmp_path / "set"), "a.jpg and a.png", "a.png")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--kinds", "round"), "'round'"),
        (("--kinds", "thin,thin"), "each once"),
        (("--kinds", ""), "''"),
        (("--size", 1), "--size is 1"),
        (("--per-image", 0), "--per-image is 0"),
        (("--per-image", 1001), "1 to 1000"),
        (("--seed", -1), "--seed is -1"),
        (("--count", 9), "--count is 9"),
        (("--count", 0), "--count is 0"),
    ],
)
def test_refused_settings_name_their_flag(
    wp_here: Wp, photos: Path, tmp_path: Path, arguments: tuple[object, ...], word: str
) -> None:
    assert_refused(wp_here("masks", photos, "-o", tmp_path / "set", *arguments), word)
    assert not (tmp_path / "set").exists()


def test_few_photos_get_several_masks_each(wp_here: Wp, photos: Path, tmp_path: Path) -> None:
    arguments = ("masks", photos, "-o", tmp_path / "set", "--kinds", "squares", "--size", 32)
    assert_refused(wp_here(*arguments, "--count", 10), "expected 1 to 4, the photos in", "--per-image 3.")
    assert wp_here(*arguments, "--per-image", 3).returncode == 0
    assert len(read_set(tmp_path / "set")) == 12


def test_bad_photos_give_one_line(wp_here: Wp, photos: Path, tmp_path: Path) -> None:
    def refuse(place: Path, *words: str) -> None:
        assert_refused(wp_here("masks", place, "-o", tmp_path / "set"), *words)
        assert not (tmp_path / "set").exists()

    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "contains no photos", "it is empty")
    refuse(tmp_path / "none", "does not exist")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive, tarfile.open(tmp_path / "x.tar", "w") as tar:
        for path in photos.rglob("*.*"):
            archive.write(path, path.name)
            tar.add(path, path.name)
    assert len(open_source(tmp_path / "x.zip").names) == len(open_source(tmp_path / "x.tar").names) == 4
    for name in ("x.zip", "x.tar"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:15_000])
        refuse(tmp_path / name, f"cannot be read as a {name[2:]}")
    (tmp_path / "unlabeled_X.bin").write_bytes(bytes(1000))
    refuse(tmp_path / "unlabeled_X.bin", "cut off")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"no photo")
    refuse(tmp_path / "broken", "only 0 of the photos")
