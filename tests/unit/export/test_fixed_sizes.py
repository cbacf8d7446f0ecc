"""A bundle whose network takes one size only: what is made of it, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.fakes.bundle import write_bundle, write_model
from wavepaint.bench.cells import find_size, list_cells
from wavepaint.bench.entrants import Subject
from wavepaint.contract import Bundle, Model, SizeLimits
from wavepaint.errors import BundleError, ConfigError, EngineError
from wavepaint.export.byte_io import add_byte_io
from wavepaint.export.cases import verification_cases
from wavepaint.export.cost import measure_cost
from wavepaint.export.plans import EngineRequest, fit_profiles
from wavepaint.export.triton_repository import TritonRequest, write_triton_model
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile
from wavepaint.runtime.service.static_page import write_page
from wavepaint.runtime.sizes import SizeRange

ONLY: SizeLimits = ((1, 72, 96), (1, 72, 96))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "fixed", with_uint8=True, sizes=ONLY)


def open_float(bundle: Bundle) -> OrtSession:
    return OrtSession(bundle.get_model(bundle.find_artifact("onnx", "float32")))


def test_a_session_refuses_other_sizes_and_names_its_own(bundle: Bundle) -> None:
    with open_float(bundle) as session:
        assert session.run(np.zeros((1, 3, 72, 96), np.float32), np.ones((1, 1, 72, 96), np.float32)).shape[2:] == (
            72,
            96,
        )
        with pytest.raises(EngineError, match=r"takes 96x72 pixels in batches of 1, not 2 of 96x80\."):
            session.run(np.zeros((2, 3, 80, 96), np.float32), np.zeros((2, 1, 80, 96), np.float32))
        assert session.list_sizes_to_check() == [(1, 72, 96)]


def test_verification_stays_within_the_sizes() -> None:
    cases = verification_cases(8, limits=ONLY)
    assert {image.shape for _, image, _ in cases} == {(1, 3, 72, 96)}
    assert len(cases) == len({name for name, *_ in cases}) == 7
    ranged = verification_cases(8, limits=((2, 16, 16), (2, 64, 2000)))
    assert all(len(image) == 2 and 16 <= image.shape[2] <= 64 for _, image, _ in ranged)


def test_cases_of_networks_of_any_size_are_what_they_were() -> None:
    shapes = [image.shape for _, image, _ in verification_cases(8)]
    assert shapes[:4] == [(1, 3, 8, 8), (1, 3, 32, 56), (2, 3, 40, 24), (3, 3, 16, 16)]
    assert shapes[4:] == [(1, 3, 96, 96)] * 4 + [(1, 3, 256, 256), (1, 3, 96, 96)]


@pytest.mark.parametrize("size", [(1, 1), (30, 17), (64, 64), (70, 20)])
def test_bytes_are_mirrored_up_to_the_smallest_size(tmp_path: Path, size: tuple[int, int]) -> None:
    write_model(tmp_path / "model.onnx")
    onnx.save(add_byte_io(onnx.load(tmp_path / "model.onnx"), 8, "symmetric", (64, 40)), tmp_path / "bytes.onnx")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, *size, 3), dtype=np.uint8)
    mask = rng.integers(0, 256, (1, *size, 1), dtype=np.uint8)
    sides = max(-(-size[0] // 8) * 8, 64), max(-(-size[1] // 8) * 8, 40)
    pads = ((0, 0), (0, sides[0] - size[0]), (0, sides[1] - size[1]), (0, 0))
    padded = [np.pad(one, pads, mode="symmetric") for one in (image, mask)]
    artifact = write_bundle(tmp_path / "b", precisions=("float32",), with_uint8=True).manifest.artifacts[1]
    with OrtSession(Model(tmp_path / "bytes.onnx", artifact)) as session:
        small, large = session.run(image, mask), session.run(*padded)
    assert np.array_equal(small, large[:, : size[0], : size[1]])


def test_the_cost_is_measured_at_the_size(tmp_path: Path) -> None:
    write_model(tmp_path / "model.onnx")
    assert measure_cost(tmp_path / "model.onnx", 8, ONLY).macs_per_pixel == 81


def test_a_model_is_timed_at_the_sizes_that_it_takes(bundle: Bundle) -> None:
    subject = Subject("fixed", bundle, True)
    assert find_size(subject, 64, 1) == (1, 72, 96)
    assert find_size(subject, 80, 1) is None
    assert find_size(subject, 64, 2) is None
    cells = list_cells([subject], [32, 64, 256], [1, 2], engines=["ort-cpu"], precisions=["float32"])
    assert [(cell.batch, cell.height, cell.width) for cell in cells] == [(1, 72, 96)]
    assert not cells[0].has_quality  # photos are square


def test_the_default_profile_of_a_plan_is_fitted_and_a_chosen_one_refused() -> None:
    fitted = fit_profiles(EngineRequest(), ONLY, 8).options.profiles
    assert fitted == (Profile(min=ONLY[0], opt=ONLY[0], max=ONLY[0]),)
    assert fit_profiles(EngineRequest(), None, 8) == EngineRequest()
    chosen = EngineRequest(options=PlanOptions(profiles=(Profile(max=(2, 512, 512)),)))
    with pytest.raises(ConfigError, match=r"1x72x96 to 1x72x96.*--shapes, --batches"):
        fit_profiles(chosen, ONLY, 8)


def test_servers_and_pages_that_send_any_size_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"takes images of some sizes only.*wp serve"):
        write_triton_model(bundle, TritonRequest(repository=tmp_path / "models", name="fixed"))
    with pytest.raises(BundleError, match=r"takes images of some sizes only.*wp serve"):
        write_page(tmp_path / "page", bundle)
    single = replace(bundle, manifest=replace(bundle.manifest, sizes=((1, 8, 8), (1, 16_384, 16_384))))
    assert write_triton_model(single, TritonRequest(repository=tmp_path / "models", name="any")).max_batch_size == 1


def test_the_nearest_size_is_within_the_range() -> None:
    sizes = SizeRange((1, 64, 64), (4, 500, 500))
    assert sizes.clamp((9, 30, 900), 8) == (4, 64, 496)
    assert sizes.clamp((2, 65, 100), 8) == (2, 72, 104)
    assert SizeRange.from_limits(None) == SizeRange()
