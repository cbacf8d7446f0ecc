"""Photos of any size are filled with runs of sizes in the plan's profiles."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.bundle import make_model
from tests.fakes.machine import Machine
from tests.fakes.tensorrt import write_plan
from wavepaint import Inpainter
from wavepaint.errors import EngineError
from wavepaint.runtime import inpainter as inpainter_module
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.session import Session
from wavepaint.runtime.engines.tensorrt.libraries import get_library
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession
from wavepaint.runtime.filling.options import FillOptions

MULTIPLE = 8
WHITE = """
<ir_version: 9, opset_import: ["" : 20]>
white (float[N,3,H,W] image, float[N,1,H,W] mask) => (float[N,3,H,W] image_out) {
    image_out = Max(image, mask)
}
"""
"""A network that fills holes with white."""

Size = tuple[int, int, int]
Profiles = tuple[tuple[Size, Size, Size], ...]
Open = Callable[..., Inpainter]


def make_profile(least: Size, most: Size) -> tuple[Size, Size, Size]:
    return least, least, most


BATCHES_OR_LARGE = make_profile((1, 64, 64), (8, 256, 256)), make_profile((1, 64, 64), (1, 1024, 1024))


@pytest.fixture(scope="module")
def white(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "white.onnx"
    onnx.save(onnx.parser.parse_model(WHITE), path)
    return path


@pytest.fixture
def open_with(machine: Machine, white: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Return a function that opens a plan with some profiles."""

    def open_(profiles: Profiles, **how: Any) -> Inpainter:
        path = tmp_path / "model.plan"
        write_plan(path, white, "float32", profiles)
        session = TensorRtSession(make_model(path, kind="tensorrt", size_multiple=MULTIPLE), get_library("tensorrt"))
        monkeypatch.setattr(inpainter_module, "open_session", lambda *_, **__: session)
        return Inpainter(**how)

    yield open_
    machine.require_all_freed()


def note_runs(inpainter: Inpainter, monkeypatch: pytest.MonkeyPatch) -> list[Size]:
    """Return a list that gets the sizes of the following runs."""
    runs: list[Size] = []
    run_many = inpainter._session.run_many

    def note(batch: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        runs.append((len(batch[0]), *batch[0].shape[2:]))
        return batch

    monkeypatch.setattr(inpainter._session, "run_many", lambda batches: run_many(map(note, batches)))
    return runs


def make_photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_large_patches_run_in_smaller_batches_if_the_profile_needs_it(
    open_with: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, hole = make_photo(900, 1600), np.zeros((900, 1600), bool)
    for left in (200, 1200):
        hole[300:450, left : left + 40] = hole[300:340, left : left + 150] = True
    small = np.zeros((900, 1600), bool)
    small[300:320, 200:220] = small[300:320, 1200:1220] = True
    with open_with(BATCHES_OR_LARGE) as inpainter:
        runs = note_runs(inpainter, monkeypatch)
        assert (inpainter.fill_array(photo, hole)[hole] == 255).all()
        assert runs == [(1, 320, 320)] * 2
        runs.clear()
        inpainter.fill_array(photo, small)
        assert runs == [(2, 256, 256)]


def test_tiles_have_the_largest_size_of_the_profile(open_with: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, hole = make_photo(901, 1203), np.zeros((901, 1203), bool)
    hole[::7] = True
    with open_with((make_profile((1, 64, 64), (4, 256, 256)),)) as inpainter:
        runs = note_runs(inpainter, monkeypatch)
        filled = inpainter.fill_array(photo, hole)
        assert {run[1:] for run in runs} == {(256, 256)}
    assert np.array_equal(filled[~hole], photo[~hole])
    assert (filled[hole] == 255).all()


def test_tiles_of_a_wide_profile_are_wide(open_with: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, hole = make_photo(901, 1203), np.zeros((901, 1203), bool)
    hole[::7] = True
    with open_with((make_profile((1, 64, 64), (4, 128, 512)),)) as inpainter:
        runs = note_runs(inpainter, monkeypatch)
        inpainter.fill_array(photo, hole)
        assert {run[1:] for run in runs} == {(128, 512)}


def test_patches_are_repeated_to_the_smallest_batch(open_with: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, hole = make_photo(300, 300), np.zeros((300, 300), bool)
    hole[100:120, 100:120] = True
    with open_with((make_profile((3, 64, 64), (4, 512, 512)),)) as inpainter:
        runs = note_runs(inpainter, monkeypatch)
        assert (inpainter.fill_array(photo, hole)[hole] == 255).all()
        assert [run[0] for run in runs] == [3]


def test_a_whole_photo_outside_every_profile_names_the_fix(open_with: Open) -> None:
    photo, hole = make_photo(300, 500), np.zeros((300, 500), bool)
    hole[100:120, 100:120] = True
    with (
        open_with((make_profile((1, 64, 64), (4, 256, 256)),)) as inpainter,
        pytest.raises(
            EngineError,
            match=r"1x504x304 is outside every profile of model.plan .*1x64x64 to 4x256x256.*wp export BUNDLE -o NEW "
            r"--engine tensorrt --shapes 64x64,64x64,504x304 --batches 1,1,4; or choose --strategy auto",
        ),
    ):
        inpainter.fill_array(photo, hole, FillOptions(strategy="whole"))


def test_a_plan_without_a_multiple_of_the_size_multiple_is_refused(open_with: Open, machine: Machine) -> None:
    with pytest.raises(EngineError, match="no size of which both sides are multiples of 8.*Export it again"):
        open_with((make_profile((1, 65, 65), (4, 71, 71)),))
    assert not machine.gpu.streams
    assert all(device.is_closed for device in machine.devices)


@st.composite
def plans(draw: st.DrawFn) -> Profiles:
    """One to three profiles, at least one of which contains a multiple of the size multiple."""

    def bounds(low: int, high: int) -> tuple[int, int]:
        first, last = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
        return first, last

    found = []
    for _ in range(draw(st.integers(1, 3))):
        ranges = [bounds(1, 5), *(bounds(1, draw(st.sampled_from([100, 300, 600]))) for _ in range(2))]
        least, most = zip(*ranges, strict=True)
        found.append(make_profile(least, most))
    fit = [
        all(-(-low // MULTIPLE) * MULTIPLE <= high for low, high in zip(least[1:], most[1:], strict=True))
        for least, _, most in found
    ]
    return tuple(found) if any(fit) else (*found, make_profile((1, 60, 60), (1, 70, 70)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    profiles=plans(),
    height=st.integers(1, 500),
    width=st.integers(2, 500),
    boxes=st.lists(st.tuples(*[st.integers(0, 499)] * 2, *[st.sampled_from([1, 40, 200])] * 2), min_size=1, max_size=3),
    strategy=st.sampled_from(["auto", "crop", "tile", "whole"]),
    is_smooth=st.booleans(),
    max_batch=st.sampled_from([None, 1, 3]),
    max_memory_mb=st.sampled_from([None, 3000]),
)
def test_every_run_is_in_a_profile(
    open_with: Open,
    white: Path,
    monkeypatch: pytest.MonkeyPatch,
    profiles: Profiles,
    height: int,
    width: int,
    boxes: list[tuple[int, int, int, int]],
    strategy: Any,
    is_smooth: bool,
    max_batch: int | None,
    max_memory_mb: int | None,
) -> None:
    photo, hole = make_photo(height, width), np.zeros((height, width), bool)
    for top, left, down, right in boxes:
        hole[top % height : top % height + down, left % width : left % width + right] = True
    hole[0, 0], hole[-1, -1] = False, True
    if is_smooth:
        photo[~hole] = 255
    options = FillOptions(strategy=strategy)
    with open_with(profiles, max_batch=max_batch, max_memory_mb=max_memory_mb) as inpainter:
        runs = note_runs(inpainter, monkeypatch)
        takes_whole = any(sizes.pad(height, width, MULTIPLE) for sizes in inpainter._session.sizes)
        if strategy == "whole" and not takes_whole:
            with pytest.raises(EngineError, match="is outside every profile"):
                inpainter.fill_array(photo, hole, options)
            assert not runs
            return
        filled = inpainter.fill_array(photo, hole, options)
        assert runs
        assert all(inpainter._session.takes(*run) for run in runs)
        assert all(side % MULTIPLE == 0 for run in runs for side in run[1:])
    session: Session = OrtSession(make_model(white, size_multiple=MULTIPLE), threads=1)
    monkeypatch.setattr(inpainter_module, "open_session", lambda *_, **__: session)
    with Inpainter() as inpainter:
        expected = inpainter.fill_array(photo, hole, options)
    assert np.array_equal(filled[~hole], expected[~hole])
    assert np.array_equal(filled[~hole], photo[~hole])
    if is_smooth:  # then a lower resolution loses nothing
        assert (filled == 255).all()
