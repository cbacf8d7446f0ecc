"""Validation pairs: fixed photos and masks, without broken photos."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.photo_folder import write_photos
from wavepaint.data.masks import MaskSampler
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.data.validation_set import load_validation
from wavepaint.errors import TrainingError, WavePaintWarning


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def source(folder: Path) -> PhotoSource:
    return open_source(folder)


def test_validation_pairs_equal_those_of_earlier_runs(source: PhotoSource) -> None:
    pairs = load_validation(source, source.names, size=64, masks=MaskSampler(("medium",)))
    digest = hashlib.sha256(b"".join(part.tobytes() for pair in pairs for part in pair)).hexdigest()
    assert digest[:16] == "eae328296d3450a6"


def test_limited_validation_spreads_over_all_photos(source: PhotoSource) -> None:
    masks = MaskSampler(("medium",))
    every = load_validation(source, source.names, size=64, masks=masks)
    few = load_validation(source, source.names, size=64, masks=masks, max_photos=2)
    assert len(few) == 2
    assert np.array_equal(few[0][0], every[0][0])
    assert np.array_equal(few[1][0], every[2][0])


def test_broken_photos_are_left_out_and_the_others_keep_their_masks(folder: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "deep a.png"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    source, masks = open_source(tmp_path), MaskSampler(("thin",))
    whole = load_validation(source, source.names, size=64, masks=masks)
    (tmp_path / "b.png").write_bytes(b"no photo")
    with pytest.warns(WavePaintWarning, match=r"skipped: .*b\.png"):
        rest = load_validation(source, source.names, size=64, masks=masks)
    for pair, expected in zip(rest, (whole[0], whole[2]), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(pair, expected, strict=True))
    with pytest.raises(TrainingError, match="more than 0 photos are broken"):
        load_validation(source, source.names, size=64, masks=masks, max_broken=0)
    with pytest.raises(TrainingError, match="no photo to validate on"), pytest.warns(WavePaintWarning):
        load_validation(source, ["b.png"], size=64, masks=masks)
