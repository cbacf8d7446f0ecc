"""``wp mask``: from a photo or a folder to masks that ``wp infer`` takes, and one line for every error."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused


def read_mask_file(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


@pytest.fixture
def scratched(tmp_path: Path) -> Path:
    """A folder with two scratched scans, one of them in a subfolder, and a clean one."""
    folder = tmp_path / "scans"
    (folder / "deep").mkdir(parents=True)
    for name, column in (("a.jpg", 60), ("deep/b c.png", 90), ("clean.png", None)):
        pixels = np.full((120, 160, 3), 90, np.uint8)
        if column is not None:
            pixels[5:110, column] = 240
        Image.fromarray(pixels).save(folder / name, quality=95)
    return folder


@pytest.mark.usefixtures("fake_model")
def test_the_last_line_is_the_command_that_fills(wp_here: Wp, photo_files: tuple[Path, Path], tmp_path: Path) -> None:
    photo = photo_files[0].rename(tmp_path / "my photo.png")
    drawn = wp_here("mask", photo, "--rect", "10,20,30,40", "--border", "5", "--overlay", tmp_path / "overlay.jpg")
    assert drawn.returncode == 0
    assert drawn.stdout == b""
    result, following = drawn.stderr.decode().splitlines()
    mask = read_mask_file(tmp_path / "my photo_mask.png")
    assert set(np.unique(mask)) == {0, 255}
    assert result == f"{tmp_path}/my photo_mask.png: 2 holes, {(mask > 0).mean():.2%} of 451x300 px"
    with Image.open(tmp_path / "overlay.jpg") as overlay:
        assert overlay.size == (451, 300)
    words = shlex.split(following)
    assert words[:3] == ["next:", "wp", "infer"]
    filled = wp_here(*words[2:])
    assert filled.returncode == 0, filled.stderr
    assert (tmp_path / "my photo_filled.png").exists()


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("has_folder", [True, False], ids=["folder", "beside"])
def test_masks_of_a_folder_are_paired_by_infer(wp_here: Wp, scratched: Path, tmp_path: Path, has_folder: bool) -> None:
    out = ("-o", tmp_path / "masks") if has_folder else ()
    drawn = wp_here("mask", scratched, *out, "--scratches")
    assert drawn.returncode == 0, drawn.stderr
    assert b"3 photos: 2 with 2 holes, 1 without a hole" in drawn.stderr
    folder = tmp_path / "masks" if has_folder else scratched
    masks = {path.relative_to(folder).as_posix(): read_mask_file(path) for path in folder.rglob("*_mask.png")}
    assert {name: bool(mask.any()) for name, mask in masks.items()} == {
        "a_mask.png": True, "deep/b c_mask.png": True, "clean_mask.png": False,
    }  # fmt: skip
    assert masks["a_mask.png"][10:105, 60].all()
    words = shlex.split(drawn.stderr.decode().splitlines()[-1])
    assert words[-2:] == ["-o", "filled"]
    filled = wp_here(*words[2:-1], tmp_path / "filled")
    assert filled.returncode == 0, filled.stderr
    assert b"3 filled of 3" in filled.stderr
    # masks and overlays of an earlier run are no photos
    again = wp_here("mask", scratched, *out, "--scratches", "--resume")
    assert b"3 photos: 3 skipped" in again.stderr
    assert again.returncode == 0


@pytest.mark.parametrize(
    ("images", "overlays"),
    [(".", "."), (".", "deep/overlays"), ("*.png", "."), ("**/*.png", "new"), ("*/*_*", "../scans/deep/..")],
)
def test_overlays_that_would_be_taken_for_photos_are_refused(
    wp_here: Wp, scratched: Path, monkeypatch: pytest.MonkeyPatch, images: str, overlays: str
) -> None:
    monkeypatch.chdir(scratched)
    Image.new("RGB", (20, 20)).save("deep/a_b.png")
    before = sorted(scratched.rglob("*"))
    drawn = wp_here("mask", images, "--border", "2", "--overlay", overlays)
    assert_refused(drawn, "_overlay.png would lie among the photos", "--overlay")
    assert sorted(scratched.rglob("*")) == before


@pytest.mark.parametrize("overlays", [".", "deep", "deep/overlays"])
def test_overlays_that_a_pattern_does_not_match_may_lie_beside_the_photos(
    wp_here: Wp, scratched: Path, monkeypatch: pytest.MonkeyPatch, overlays: str
) -> None:
    monkeypatch.chdir(scratched)
    drawn = wp_here("mask", "*.jpg", "--border", "2", "--overlay", overlays)
    assert drawn.returncode == 0, drawn.stderr
    assert Path(overlays, "a_overlay.png").exists()


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("is_folder", [False, True])
def test_the_next_command_takes_names_that_begin_with_a_dash(
    wp_here: Wp, scratched: Path, monkeypatch: pytest.MonkeyPatch, is_folder: bool
) -> None:
    monkeypatch.chdir(scratched)
    name = "-scans" if is_folder else "-scan.png"
    Path("deep" if is_folder else "clean.png").rename(name)
    drawn = wp_here("mask", "--border", "2", *(["-o", "-masks"] if is_folder else []), "--", name)
    assert drawn.returncode == 0, drawn.stderr
    filled = wp_here(*shlex.split(drawn.stderr.decode().splitlines()[-1])[2:])
    assert filled.returncode == 0, filled.stderr


def test_a_bad_photo_stops_no_other(wp_here: Wp, scratched: Path, tmp_path: Path) -> None:
    (scratched / "broken.jpg").write_bytes(b"no photo")
    drawn = wp_here("mask", scratched, "-o", tmp_path / "masks", "--scratches", "--overlay", tmp_path / "overlays")
    assert drawn.returncode == 1
    assert b"error: " in drawn.stderr
    assert b"broken.jpg is not an image" in drawn.stderr
    assert b"4 photos: 2 with 2 holes, 1 without a hole, 1 failed" in drawn.stderr
    assert {path.name for path in (tmp_path / "overlays").rglob("*.png")} == {
        "a_overlay.png", "b c_overlay.png", "clean_overlay.png",
    }  # fmt: skip


def test_a_folder_in_which_nothing_is_found_is_an_error(wp_here: Wp, scratched: Path, tmp_path: Path) -> None:
    result = wp_here("mask", scratched, "-o", tmp_path / "masks", "--from-color", "magenta")
    assert_refused(result, "every mask that was written is empty", "a.jpg: nothing to mark")


def test_a_pattern_chooses_photos(wp_here: Wp, scratched: Path, tmp_path: Path) -> None:
    drawn = wp_here("mask", scratched / "*.png", "-o", tmp_path / "masks", "--border", "2")
    assert drawn.returncode == 0, drawn.stderr
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["clean_mask.png"]


def test_little_that_is_left_is_warned_of(wp_here: Wp, photo_files: tuple[Path, Path]) -> None:
    drawn = wp_here("mask", photo_files[0], "--border", "40%", "-o", photo_files[0].with_name("m.png"))
    assert drawn.returncode == 0
    assert b"warning: " in drawn.stderr
    assert b"covers 96% of the photo" in drawn.stderr


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("PHOTO",), ("--rect, --border, --from-color or --scratches",), 2),
        (("PHOTO", "--scratches", "red"), ("'red' is not one of",), 2),
        (("PHOTO", "--border", "2", "--overwrite", "--resume"), ("contradict",), 2),
        (("PHOTO", "--rect", "1,2,3"), ("--rect", "1,2,3"), 1),
        (("PHOTO", "--rect", "-1,2,3,4"), ("-1,2,3,4",), 1),
        (("PHOTO", "--rect", "500,2,3,4"), ("outside of the photo",), 1),
        (("PHOTO", "--border", "2", "-o", "PHOTO"), ("one of the inputs",), 1),
        (("PHOTO", "--border", "2", "-o", "MASK"), ("exists already", "--overwrite"), 1),
        (("PHOTO", "--border", "2", "-o", "m.jpg"), ("without loss", ".png"), 1),
        (("PHOTO", "--from-color", "magenta"), ("nothing to mark", "--from-color"), 1),
        (("NONE", "--border", "2"), ("does not exist",), 1),
        (("NONE/", "--border", "2", "-o", "masks"), ("does not exist", "a folder"), 1),
        (("PHOTO", "--border", "2", "--tolerance", "4"), ("--tolerance", "--from-color"), 2),
        (("PHOTO", "--border", "2", "--sensitivity", "80"), ("--sensitivity", "--scratches"), 2),
        (("EMPTY", "--border", "2"), ("contains no photo",), 1),
        (("list.csv", "--border", "2"), ("is a list",), 1),
        (("FOLDER", "--border", "2", "-o", "OUT", "--overlay", "OUT"), ("different folders",), 1),
    ],
)
def test_mistakes_are_one_line_and_leave_no_file(
    wp_here: Wp,
    photo_files: tuple[Path, Path],
    tmp_path: Path,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    status: int,
) -> None:
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    places = {"PHOTO": photo_files[0], "MASK": photo_files[1], "NONE": tmp_path / "none.png", "FOLDER": tmp_path,
              "EMPTY": tmp_path / "empty", "OUT": tmp_path / "out"}  # fmt: skip
    result = wp_here("mask", *(places.get(word, word) for word in arguments))
    assert_refused(result, *words, status=status)
    assert sorted(tmp_path.rglob("*")) == before


def test_photos_with_the_same_mask_are_refused(wp_here: Wp, scratched: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(scratched / "a.png")
    assert_refused(wp_here("mask", scratched, "-o", tmp_path / "masks", "--border", "2"), "would both become")
