"""Sets of photographs and holes: fixed, and of the kind that their names say."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from wavepaint.bench.quality_sets import SETS, Case, describe_set, load_set
from wavepaint.data.masks import MaskSampler
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.data.validation_set import load_validation
from wavepaint.errors import TrainingError
from wavepaint.metrics.lines import measure_lines

SIDE = 96


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> PhotoSource:
    """Three pictures with straight edges at many angles."""
    folder = tmp_path_factory.mktemp("houses")
    for number in range(3):
        picture = Image.new("RGB", (240, 180), (60, 90, 140))
        draw = ImageDraw.Draw(picture)
        draw.polygon([(20, 100 + number), (130, 20), (220, 110), (220, 170), (20, 170)], fill=(200, 190, 170))
        draw.rectangle([60 + 10 * number, 110, 110 + 10 * number, 160], fill=(90, 40, 30))
        picture.save(folder / f"{number}.png")
    return open_source(folder)


@pytest.fixture(scope="module")
def scenes(houses: PhotoSource) -> list[Case]:
    return load_set(houses, "lines", size=SIDE)


def touched_sides(mask: np.ndarray) -> list[float]:
    """Return the shares of the four sides of an image that the hole covers."""
    return [float(side.mean()) for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1])]


@pytest.mark.parametrize("name", SETS)
def test_each_set_is_the_same_in_every_run_and_every_hole_leaves_something(houses: PhotoSource, name: str) -> None:
    cases, again = (load_set(houses, name, size=SIDE, limit=2) for _ in range(2))
    for case, same in zip(cases, again, strict=True):
        assert np.array_equal(case.photo, same.photo)
        assert np.array_equal(case.mask, same.mask)
        assert case.photo.shape == (SIDE, SIDE, 3)
        assert case.mask.shape == (SIDE, SIDE)
        assert set(np.unique(case.mask)) == {0, 1}
    assert len({case.mask.tobytes() for case in cases}) > 1
    assert describe_set(name)


def test_lamas_sets_are_the_validation_masks_of_training(houses: PhotoSource) -> None:
    for (_, photo, mask), pair in zip(
        load_set(houses, "thick", size=SIDE),
        load_validation(houses, houses.names, size=SIDE, masks=MaskSampler(("thick",))),
        strict=True,
    ):
        assert np.array_equal(photo, pair[0])
        assert np.array_equal(mask, pair[1])


def test_holes_grow_with_the_size(houses: PhotoSource) -> None:
    small, large = (load_set(houses, "medium", size=size, limit=2) for size in (256, 512))
    for a, b in zip(small, large, strict=True):
        assert np.array_equal(np.kron(a.mask, np.ones((2, 2), np.uint8)), b.mask)
    (unscaled, _) = load_set(houses, "medium", size=512, limit=2, mask_scale=1)
    assert not np.array_equal(unscaled.mask, large[0].mask)


def test_border_holes_lie_over_one_side_a_corner_and_along_a_side_in_turn(houses: PhotoSource) -> None:
    cases = load_set(houses, "border", size=SIDE)
    for index, (_, _, mask) in enumerate(cases):
        covered = sorted(touched_sides(mask), reverse=True)
        assert covered[0] > 0
        if index % 3 == 0:
            assert sum(share == 1 for share in covered) == 0
        elif index % 3 == 1:
            assert min(covered[:2]) > 0
            assert covered[2:] == [0, 0]
        else:
            assert covered[0] == 1
            assert covered[3] == 0
            assert max(covered[1:3]) <= 0.45 + 1 / SIDE


def test_straight_edges_cross_the_holes_of_the_lines_set(houses: PhotoSource, scenes: list[Case]) -> None:
    assert len(scenes) > len(houses.names)
    for case in scenes:
        assert measure_lines(case.photo, case.photo, case.mask).num_lines >= 1
        blurred = np.where(case.mask[..., None] > 0, cv2.blur(case.photo, (41, 41)), case.photo)
        assert measure_lines(case.photo, blurred, case.mask).num_joined == 0
    assert len({(case.photo.tobytes(), case.mask.tobytes()) for case in scenes}) == len(scenes)


def test_photos_without_straight_edges_give_no_lines_set(tmp_path: Path) -> None:
    Image.new("RGB", (120, 120), (90, 90, 90)).save(tmp_path / "plain.png")
    with pytest.raises(TrainingError, match="'lines': give more photos"):
        load_set(open_source(tmp_path), "lines", size=SIDE)


def test_silhouettes_come_from_a_folder_if_there_is_one(houses: PhotoSource, tmp_path: Path) -> None:
    bar = Image.new("L", (100, 100))
    ImageDraw.Draw(bar).rectangle([45, 5, 54, 94], fill=255)
    bar.save(tmp_path / "bar.png")
    for case in load_set(houses, "silhouettes", size=256, silhouettes=tmp_path):
        widest = cv2.distanceTransform(np.pad(case.mask, 1), cv2.DIST_L2, 5).max()
        assert widest < 16, "a bar is thin"
    assert describe_set("silhouettes") != describe_set("silhouettes", tmp_path)


def test_a_limit_spreads_over_the_photos(houses: PhotoSource) -> None:
    names = [case.name for case in load_set(houses, "thin", size=SIDE, limit=2)]
    assert names == [houses.names[index] for index in (0, 1)]
    assert len(load_set(houses, "thin", size=SIDE, limit=99)) == 3
