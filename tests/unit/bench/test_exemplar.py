"""Slower classical methods: known pixels stay, and a missing package is named. The packages themselves are fakes."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from wavepaint.bench.exemplar import open_exemplar
from wavepaint.errors import EngineError

IMAGE = np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8)
MASK = np.zeros((20, 24), np.uint8)
MASK[5:10, 6:12] = 1


def test_patchmatch_has_a_fixed_seed_and_keeps_known_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def inpaint(image: np.ndarray, mask: np.ndarray, patch_size: int) -> np.ndarray:
        assert (mask.dtype, patch_size) == (bool, 3)
        return np.full_like(image, 7)

    monkeypatch.setitem(sys.modules, "patchmatch", SimpleNamespace(inpaint=inpaint, set_random_seed=seeds.append))
    fill = open_exemplar("patchmatch")
    filled = fill(IMAGE, MASK)
    assert (filled[MASK > 0] == 7).all()
    assert np.array_equal(filled[MASK == 0], IMAGE[MASK == 0])
    fill(IMAGE, MASK)
    assert seeds == [0, 0]


@pytest.mark.parametrize("name", ["shift-map", "fsr-fast", "fsr-best"])
def test_xphoto_gets_a_mask_that_is_0_in_the_hole_and_keeps_known_pixels(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def inpaint(source: np.ndarray, mask: np.ndarray, filled: np.ndarray, flag: str) -> None:
        assert flag == name
        assert np.array_equal(mask == 0, MASK > 0)
        filled[:] = source + 1

    colour = {"COLOR_RGB2Lab": "lab", "COLOR_Lab2RGB": "rgb", "cvtColor": lambda image, space: 255 - image}
    flags = {"INPAINT_SHIFTMAP": "shift-map", "INPAINT_FSR_FAST": "fsr-fast", "INPAINT_FSR_BEST": "fsr-best"}
    fake = SimpleNamespace(xphoto=SimpleNamespace(inpaint=inpaint, **flags), **colour)
    monkeypatch.setitem(sys.modules, "cv2", fake)
    filled = open_exemplar(name)(IMAGE, MASK)
    assert np.array_equal(filled[MASK == 0], IMAGE[MASK == 0])
    step = -1 if name == "shift-map" else 1  # there, the fake inverts colours before and after
    assert np.array_equal(filled[MASK > 0], (IMAGE + np.uint8(step % 256))[MASK > 0])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "patchmatch", None)
    with pytest.raises(EngineError, match="pip install PyPatchMatch"):
        open_exemplar("patchmatch")
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace())
    with pytest.raises(EngineError, match="opencv-contrib-python-headless"):
        open_exemplar("fsr-fast")
