"""ONNX Runtime on a real GPU. Skipped without a GPU, or without the CUDA package of ONNX Runtime."""

from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest

from wavepaint.contract import Bundle, Precision, default_bundle_folder, read_bundle
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.session import make_batch
from wavepaint.runtime.inpainter import Inpainter

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        find_gpus() == [] or "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
        reason="needs an NVIDIA GPU and ONNX Runtime with CUDA",
    ),
]

TOLERANCE = 3e-5
"""Both sides sum in float32 in another order, and each may differ from float64 by 1e-5."""
MIN_PSNR_DB = 50.0
SIZES = [(1, 256, 256), (2, 64, 192), (4, 128, 128), (1, 512, 512)]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(default_bundle_folder())


def open_model(bundle: Bundle, precision: Precision) -> OrtSession:
    return OrtSession(bundle.get_model(bundle.find_artifact("onnx", precision)), device="cuda")


@pytest.fixture(scope="module")
def exact(bundle: Bundle) -> Iterator[OrtSession]:
    with OrtSession(bundle.get_model(bundle.find_artifact("onnx", "float32"))) as session:
        yield session


def test_float32_equals_the_cpu(bundle: Bundle, exact: OrtSession) -> None:
    with open_model(bundle, "float32") as session:
        assert session.device != "CPU"
        for size in SIZES:
            np.testing.assert_allclose(session.run(*make_batch(*size)), exact.run(*make_batch(*size)), atol=TOLERANCE)


def test_float16_is_close_and_keeps_known_pixels(bundle: Bundle, exact: OrtSession) -> None:
    with open_model(bundle, "float16") as session:
        for size in SIZES:
            image, mask = make_batch(*size)
            found, hole = session.run(image, mask), np.broadcast_to(mask > 0, image.shape)
            error = np.mean((found - exact.run(image, mask))[hole] ** 2)
            assert -10 * np.log10(error) >= MIN_PSNR_DB, size
            np.testing.assert_array_equal(found[~hole], image[~hole])


def test_results_repeat_and_parts_are_timed(bundle: Bundle) -> None:
    batch = make_batch(2, 256, 256)
    with open_model(bundle, "float16") as session:
        first = session.run(*batch)
        parts = session.time_parts(*batch, num_runs=3, repeats=4)
        np.testing.assert_array_equal(session.run(*batch), first)
    assert len(parts) == 3
    assert all(time > 0 for part in parts for time in part)


def test_a_photo_keeps_its_known_pixels(photo: np.ndarray, hole: np.ndarray) -> None:
    with Inpainter(engine="ort-cuda") as inpainter:
        filled = inpainter.fill_array(photo, hole)
    assert (filled[~hole] == photo[~hole]).all()
    assert (filled[hole] != photo[hole]).any()
