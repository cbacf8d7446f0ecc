"""``wp infer`` says how it read a mask, and answers a mistake with one line that mends it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from wavepaint.runtime.filling.morphology import grow_hole

Files = tuple[Path, Path]

pytestmark = pytest.mark.usefixtures("fake_model")


def save_layer(path: Path, hole: np.ndarray, colour: tuple[int, int, int]) -> None:
    layer = np.zeros((*hole.shape, 4), np.uint8)
    layer[hole] = (*colour, 255)
    Image.fromarray(layer).save(path)


def test_the_hole_that_is_counted_includes_what_was_added(wp_here: Wp, photo_files: Files, hole: np.ndarray) -> None:
    report = photo_files[0].with_name("report.json")
    result = wp_here("infer", *photo_files, "--dilate", 6, "--report", report)
    share = grow_hole(hole, 6).mean()
    assert share > 1.2 * hole.mean()
    assert f"filled {share:.1%} of 451x300 px" in result.stderr.decode()
    (row,) = json.loads(report.read_text())["images"]
    assert row["hole"] == pytest.approx(share, abs=1e-6)


def test_a_layer_is_named_in_the_result_line_and_in_the_report(
    wp_here: Wp, photo_files: Files, hole: np.ndarray
) -> None:
    image, mask = photo_files
    save_layer(mask, hole, (255, 0, 0))
    result = wp_here("infer", image, mask, "--report", image.with_name("report.json"))
    assert result.stderr.decode().count("\n") == 1
    assert f"filled {hole.mean():.1%} of" in result.stderr.decode()
    assert result.stderr.decode().endswith("). The painted pixels of the mask's transparent layer are the hole\n")
    (row,) = json.loads(image.with_name("report.json").read_text())["images"]
    assert row["remarks"] == ["the painted pixels of the mask's transparent layer are the hole"]


@pytest.mark.parametrize(
    ("options", "words"),
    [((), "try --invert-mask"), (("--invert-mask",), "try without --invert-mask")],
)
def test_a_mask_that_seems_inverted_gets_a_hint(
    wp_here: Wp, photo_files: Files, hole: np.ndarray, options: tuple[str, ...], words: str
) -> None:
    Image.fromarray(hole if options else ~hole).save(photo_files[1])
    message = wp_here("infer", *photo_files, *options).stderr.decode()
    assert f"The hole covers more than 80% of the photo: if it is inverted, {words}" in message


def test_a_mask_of_levels_0_and_1_gets_the_threshold_that_reads_it(
    wp_here: Wp, photo_files: Files, hole: np.ndarray
) -> None:
    Image.fromarray(hole.astype(np.uint8)).save(photo_files[1])
    message = wp_here("infer", *photo_files).stderr.decode()
    assert "The brightest level of the mask is 1, below 128: try --mask-threshold 1" in message
    message = wp_here("infer", *photo_files, "--mask-threshold", 1, "--overwrite").stderr.decode()
    assert f"filled {hole.mean():.1%} of" in message


def test_swapped_arguments_are_noticed(wp_here: Wp, photo_files: Files) -> None:
    image, mask = photo_files
    assert_refused(wp_here("infer", mask, image), "photo.png is a photograph", "mask.png is black and white", "swapped")
    assert not mask.with_name("mask_filled.png").exists()


def test_a_photograph_is_refused_as_a_mask_unless_its_luminance_is_asked_for(
    wp_here: Wp, photo_files: Files, photo: np.ndarray
) -> None:
    image, mask = photo_files
    Image.fromarray(photo[::-1]).save(mask)
    assert_refused(wp_here("infer", image, mask), "mask.png is a photograph, not a mask", "--mask-from luminance")
    result = wp_here("infer", image, mask, "--mask-from", "luminance")
    assert result.returncode == 0, result.stderr.decode()


def test_a_photograph_with_transparent_parts_is_answered_with_the_flag_that_reads_it(
    wp_here: Wp, photo_files: Files, photo: np.ndarray, hole: np.ndarray
) -> None:
    image, mask = photo_files
    Image.fromarray(np.dstack([photo, np.where(hole, 0, 255).astype(np.uint8)])).save(mask)
    assert_refused(wp_here("infer", image, mask), "photograph with transparent parts", "--mask-from alpha")
    assert f"filled {hole.mean():.1%} of" in wp_here("infer", image, mask, "--mask-from", "alpha").stderr.decode()


def test_a_folder_of_photographs_is_refused_as_masks_in_one_line(wp_here: Wp, photo_files: Files) -> None:
    image, mask = photo_files
    folder = image.parent
    for number in range(5):
        for kind, source in (("photos", image), ("masks", mask)):
            (folder / kind).mkdir(exist_ok=True)
            (folder / kind / f"{number}.png").write_bytes(source.read_bytes())
    arguments = ("-o", folder / "out")
    assert_refused(
        wp_here("infer", folder / "masks", folder / "photos", *arguments),
        "the first 3 of 5 masks",
        "seem to be swapped",
    )
    assert_refused(wp_here("infer", folder / "photos", image, *arguments), "the first 3 of 5", "not a mask")
    assert not (folder / "out").exists()
    (folder / "masks" / "0.png").write_bytes(image.read_bytes())
    result = wp_here("infer", folder / "photos", folder / "masks", *arguments)
    assert "4 filled, 1 failed of 5" in result.stderr.decode()


def test_a_batch_counts_its_remarks_in_one_line_each(wp_here: Wp, photo_files: Files, hole: np.ndarray) -> None:
    image, mask = photo_files
    rows = ["image,mask,out"]
    for number, painted in enumerate((False, True, True)):
        if painted:
            save_layer(image.with_name(f"{number}.png"), hole, (200, 0, 0))
        rows.append(f"photo.png,{f'{number}.png' if painted else mask.name},{number}.png")
    image.with_name("list.csv").write_text("\n".join(rows))
    message = wp_here("infer", image.with_name("list.csv"), "-o", image.with_name("out")).stderr.decode()
    assert message.splitlines()[1:] == [
        f"2 of 3 photos: the painted pixels of the mask's transparent layer are the hole (first: {image})"
    ]


def test_a_tight_mask_is_answered_with_the_dilation_that_covers_the_rim(
    wp_here: Wp, photo_files: Files, photo: np.ndarray
) -> None:
    image, mask = photo_files
    painted, hole = photo.copy(), np.zeros(photo.shape[:2], bool)
    painted[80:200, 150:300] = (20, 60, 240)
    hole[84:196, 154:296] = True
    Image.fromarray(painted).save(image)
    Image.fromarray(hole).save(mask)
    report = image.with_name("report.json")
    message = wp_here("infer", image, mask, "--report", report).stderr.decode()
    (row,) = json.loads(report.read_text())["images"]
    suggested = row["suggested_dilate"]
    assert 5 <= suggested <= 8
    advice = f"he hole's edge cuts through what it should remove: try --dilate {suggested}"
    assert message.endswith(f"). T{advice}\n")
    assert row["remarks"] == [f"t{advice}"]
    assert "cuts through" not in wp_here("infer", *photo_files, "--dilate", suggested, "--overwrite").stderr.decode()
    still_tight = wp_here("infer", *photo_files, "--dilate", 1, "--overwrite").stderr.decode()
    assert f"try --dilate {suggested}" in still_tight
    (image.parent / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (image.parent / "photos" / name).write_bytes(image.read_bytes())
    batch = wp_here("infer", image.parent / "photos", mask, "-o", image.parent / "out").stderr.decode()
    assert batch.splitlines()[1:] == [f"2 of 2 photos: t{advice} (first: {image.parent / 'photos' / 'a.png'})"]
