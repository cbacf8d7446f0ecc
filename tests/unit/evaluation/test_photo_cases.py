"""Photos with drawn holes, photos with the masks of a folder, and results that are matched with them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wavepaint.data.evaluation import write_evaluation_set
from wavepaint.data.sources import open_source
from wavepaint.errors import ConfigError, ImageError, TrainingError
from wavepaint.evaluation.photo_cases import DrawnCases, FolderCases, read_colours
from wavepaint.evaluation.subjects import ResultFolder

KINDS = ("squares", "boxes")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "deep/c.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def masks(photos: Path, tmp_path: Path) -> Path:
    """A mask for each photo; b has a second one."""
    folder = tmp_path / "masks"
    (folder / "deep").mkdir(parents=True)
    for name in ("a", "b_mask000", "b_mask001", "deep/c_mask"):
        mask = Image.new("L", (56, 40))
        mask.paste(255, (10, 10, 30, 20))
        mask.save(folder / f"{name}.png")
    return folder


def copy_results(photos: Path, folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(photos / "a.png").save(folder / name)
    return folder


def test_drawn_holes_are_those_that_wp_masks_writes(photos: Path, tmp_path: Path) -> None:
    source = open_source(photos)
    drawn = DrawnCases(source, KINDS, size=32, seed=5)
    write_evaluation_set(source, tmp_path / "set", KINDS, size=32, seed=5)
    written = FolderCases(tmp_path / "set", tmp_path / "set")
    loaded = {(key.set_name, Path(key.photo).with_suffix("").as_posix()): written.load(key) for key in written.keys}
    assert [key.set_name for key in drawn.keys] == list(KINDS) * 3
    assert len(loaded) == 6
    for key in drawn.keys:
        case, other = drawn.load(key), loaded[key.set_name, Path(key.photo).with_suffix("").as_posix()]
        np.testing.assert_array_equal(case.photo, other.photo)
        np.testing.assert_array_equal(case.mask, other.mask)


def test_another_seed_draws_other_holes(photos: Path) -> None:
    first, second = (DrawnCases(open_source(photos), ["boxes"], size=32, seed=seed) for seed in (0, 1))
    assert any((first.load(key).mask != second.load(key).mask).any() for key in first.keys)
    assert first.describe() != second.describe()


def test_broken_header_is_found_before_the_work(photos: Path) -> None:
    (photos / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(TrainingError, match="bad.png cannot be decoded"):
        DrawnCases(open_source(photos), ["boxes"], size=32)
    with pytest.raises(ConfigError, match="--masks is boxes,boxes"):
        DrawnCases(open_source(photos), ["boxes", "boxes"], size=32)


def test_every_mask_of_a_photo_is_a_case(photos: Path, masks: Path) -> None:
    cases = FolderCases(photos, masks)
    assert [(key.photo, key.mask) for key in cases.keys] == [
        ("a.png", "a.png"), ("b.png", "b_mask000.png"), ("b.png", "b_mask001.png"), ("deep/c.png", "deep/c_mask.png")
    ]  # fmt: skip
    case = cases.load(cases.keys[3])
    assert case.photo.shape == (40, 56, 3)
    assert case.mask.sum() == 200


def test_masks_and_results_below_the_photos_are_not_taken_for_photos(photos: Path, masks: Path) -> None:
    masks.rename(photos / "masks")
    copy_results(photos, photos / "results", "a.png")
    cases = FolderCases(photos, photos / "masks", [photos / "results"])
    assert len(cases.keys) == 4


def test_photos_of_one_name_and_several_formats_each_have_their_result(
    photos: Path, masks: Path, tmp_path: Path
) -> None:
    Image.open(photos / "a.png").save(photos / "a.bmp")
    names = ("a.bmp", "a.png", "b_mask000.png", "b_mask001.png", "deep/c.png")
    results = ResultFolder("own", copy_results(photos, tmp_path / "results", *names), FolderCases(photos, masks))
    assert results.describe()["num_results"] == 5


def test_results_above_the_photos_hide_none(photos: Path, masks: Path) -> None:
    assert len(FolderCases(photos, masks, [photos.parent]).keys) == 4


def test_folders_that_do_not_match_are_refused_with_the_first_names(photos: Path, masks: Path, tmp_path: Path) -> None:
    (masks / "a.png").rename(masks / "z.png")
    with pytest.raises(ImageError, match="^1 of the photos in .* have no mask in .*: a.png"):
        FolderCases(photos, masks)
    (photos / "a.png").unlink()
    with pytest.raises(ImageError, match="^1 of the masks in .* have no photo in .*: z.png"):
        FolderCases(photos, masks)
    (masks / "z.png").unlink()
    for name in ("b_mask000", "b_mask001", "deep/c_mask"):
        Image.new("L", (40, 40), 255).save(masks / f"{name}.png")
    with pytest.raises(ImageError, match="^3 of the masks .*: b_mask000.png is 40x40 and its photo 56x40, b_mask001"):
        FolderCases(photos, masks)
    with pytest.raises(ImageError, match=r"none is not a folder \(--mask-folder\)"):
        FolderCases(photos, tmp_path / "none")


def test_empty_mask_is_refused_by_name(photos: Path, masks: Path) -> None:
    Image.new("L", (56, 40)).save(masks / "a.png")
    cases = FolderCases(photos, masks)
    with pytest.raises(ImageError, match="a.png is empty: white marks the hole"):
        cases.load(cases.keys[0])


def test_results_are_named_after_photos_or_masks_with_any_ending(photos: Path, masks: Path, tmp_path: Path) -> None:
    cases = FolderCases(photos, masks)
    names = ("a.jpg", "b_mask000.png", "b_mask001.webp", "deep/c_mask.png")
    results = ResultFolder("own", copy_results(photos, tmp_path / "results", *names), cases)
    for key in cases.keys:
        assert results.fill(key, cases.load(key)).shape == (40, 56, 3)
    (tmp_path / "results" / "deep" / "c_mask.png").rename(tmp_path / "results" / "deep" / "c.png")
    ResultFolder("own", tmp_path / "results", cases)


def test_results_that_do_not_match_are_refused_with_the_first_names(photos: Path, masks: Path, tmp_path: Path) -> None:
    cases = FolderCases(photos, masks)
    folder = copy_results(photos, tmp_path / "results", "a.png", "b_mask000.png", "b_mask001.png")
    with pytest.raises(ImageError, match="^1 of 4 masks have no result in .*: deep/c_mask.png"):
        ResultFolder("own", folder, cases)
    copy_results(photos, folder, "deep/c.png", "deep/d.png")
    with pytest.raises(ImageError, match="^1 images in .* have no photo and mask: deep/d.png"):
        ResultFolder("own", folder, cases)
    (folder / "deep" / "d.png").rename(folder / "a.jpg")
    with pytest.raises(ImageError, match="^1 images in .* have no photo and mask: a.jpg"):
        ResultFolder("own", folder, cases)
    (folder / "a.png").rename(folder / "a.webp")
    with pytest.raises(ImageError, match="several results for one mask: a.jpg, a.webp"):
        ResultFolder("own", folder, cases)
    (folder / "a.jpg").unlink()
    (folder / "a.webp").unlink()
    Image.new("RGB", (10, 20)).save(folder / "a.png")
    with pytest.raises(ImageError, match="^1 results in .* have another size than the photo: a.png is 10x20 .* 56x40"):
        ResultFolder("own", folder, cases)
    with pytest.raises(ConfigError, match="pass --mask-folder"):
        ResultFolder("own", folder, DrawnCases(open_source(photos), ["boxes"], size=32))


def test_images_of_other_depths_and_channels_are_read_as_rgb_of_8_bits(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 3), 257 * 200, np.uint16)).save(tmp_path / "deep.png")
    assert read_colours(tmp_path / "deep.png").tolist() == np.full((2, 3, 3), 200).tolist()
    Image.new("LA", (3, 2), (90, 10)).save(tmp_path / "alpha.png")
    assert read_colours(tmp_path / "alpha.png").tolist() == np.full((2, 3, 3), 90).tolist()


def test_turned_photos_have_the_size_that_is_seen(photos: Path, masks: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.open(photos / "a.png")
    upright.rotate(90, expand=True).save(photos / "a.png", exif=exif)
    cases = FolderCases(photos, masks)
    np.testing.assert_array_equal(cases.load(cases.keys[0]).photo, np.asarray(upright))
