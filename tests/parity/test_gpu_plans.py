"""Plans on a real GPU, with the real libraries and packages for CUDA. Skipped without a GPU."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes.bundle import make_model
from tests.parity.conftest import require_gpu_package
from wavepaint.contract import Bundle
from wavepaint.errors import EngineError, EngineMemoryError
from wavepaint.export.plans import EngineRequest, add_engines
from wavepaint.export.verify import verify_bundle
from wavepaint.runtime.engines.cuda.open import DevicePackage, open_device
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.registry import get_engine
from wavepaint.runtime.engines.tensorrt.build import build_plan
from wavepaint.runtime.engines.tensorrt.libraries import Library, get_library
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(find_gpus() == [], reason="needs an NVIDIA GPU"),
]
OPTIONS = PlanOptions(
    profiles=(
        Profile(min=(1, 8, 8), opt=(1, 256, 256), max=(2, 512, 512)),
        Profile(min=(1, 8, 8), opt=(1, 64, 64), max=(4, 128, 128)),
    )
)


TOLERANCE = 2e-5
"""Both sides may differ from PyTorch by 1e-5."""


def make_batch(batch: int, height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.random((batch, 3, height, width), dtype=np.float32)
    return image, (rng.random((batch, 1, height, width)) < 0.4).astype(np.float32)


def open_session(path: Path, library: Library, **options: Any) -> TensorRtSession:
    return TensorRtSession(make_model(path, kind=library), get_library(library), **options)


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def built(request: pytest.FixtureRequest, tmp_path_factory: Any) -> tuple[Path, Library]:
    """A plan of the float32 model, built here.

    The tests are skipped on a GPU that the library does not support, such as Hopper in TensorRT-RTX.
    """
    library: Library = request.param
    require_gpu_package(library)
    if obstacle := get_engine(library).find_obstacle():
        pytest.skip(obstacle)
    half_bundle: Bundle = request.getfixturevalue("half_bundle")  # its export takes long, and is in vain if skipped
    path: Path = tmp_path_factory.mktemp("plan") / "model.plan"
    artifact = half_bundle.find_artifact("onnx", "float32")
    build_plan(half_bundle.get_model(artifact), path, get_library(library), OPTIONS)
    return path, library


@pytest.mark.parametrize("package", ["cuda-bindings", "pycuda"])
def test_results_equal_onnx_runtimes(built: tuple[Path, Library], half_bundle: Bundle, package: DevicePackage) -> None:
    require_gpu_package(package)
    path, library = built
    sizes = [(1, 256, 256), (2, 64, 104), (1, 256, 256), (4, 128, 8), (1, 512, 512)]
    device = open_device(package)
    with (
        open_session(path, library, device=device) as session,
        OrtSession(make_model(half_bundle.folder / "model.onnx")) as expected,
    ):
        batches = [make_batch(*size, seed=k) for k, size in enumerate(sizes * 4)]
        wanted = [expected.run(*batch) for batch in batches]
        for batch, result in zip(batches, wanted, strict=True):
            np.testing.assert_allclose(session.run(*batch), result, atol=TOLERANCE)
        for output, result in zip(session.run_many(batches), wanted, strict=True):
            np.testing.assert_allclose(output, result, atol=TOLERANCE)
        assert session.graph_problem == ""
        wrong: list[int] = []

        def work(first: int) -> None:
            for k in range(first, len(batches), 8):
                if not np.allclose(session.run(*batches[k]), wanted[k], atol=TOLERANCE):
                    wrong.append(k)

        threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        with pytest.raises(EngineError, match="outside every profile"):
            session.run(*make_batch(1, 8, 1024))


@pytest.mark.parametrize("package", ["cuda-bindings", "pycuda"])
def test_memory_is_freed_and_running_out_of_it_is_recognised(
    built: tuple[Path, Library], package: DevicePackage
) -> None:
    require_gpu_package(package)
    path, library = built
    with open_device(package) as device:
        with pytest.raises(EngineMemoryError):
            device.allocate(device.memory()[1] * 2)
        for turn in range(3):
            with open_session(path, library, device=open_device(package)) as session:
                session.run(*make_batch(1, 256, 256))
            if turn == 0:  # the first session loads kernels, which stay
                before = device.memory()[0]
        assert device.memory()[0] >= before - (8 << 20)


def test_plans_of_both_io_dtypes_pass_verification(
    built: tuple[Path, Library], half_bundle: Bundle, tmp_path: Path
) -> None:
    _, library = built
    request = EngineRequest(libraries=(library,), required=True, precisions=("float16",), options=OPTIONS)
    bundle = add_engines(half_bundle, tmp_path / "built", request)
    reports = verify_bundle(bundle)
    plans = [artifact.path for artifact in bundle.manifest.artifacts if artifact.kind == library]
    assert len(plans) == 2
    for path in plans:
        assert [report["passed"] for report in reports[path]] == [True], reports[path]
