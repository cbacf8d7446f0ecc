"""A bundle with a plan, sessions on a simulated GPU, and ONNX Runtime's results to compare with."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.bundle import make_model
from tests.fakes.machine import Machine
from tests.fakes.tensorrt import write_plan
from tests.unit.engines.tensorrt.batches import WIDE
from tests.unit.engines.tensorrt.plans import PROFILE
from wavepaint.contract import Artifact, Bundle, IoDtype, Precision, describe_files, hash_file
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.tensorrt.libraries import Library, get_library
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession

Open = Callable[..., TensorRtSession]


@pytest.fixture
def open_plan(machine: Machine, full_bundle: Bundle, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens a plan of a model. After the test nothing must be left on the GPU."""
    opened = []

    def open_(
        onnx: Path | None = None,
        *,
        profiles: Any = (WIDE,),
        plan: dict[str, Any] | None = None,
        library: Library = "tensorrt",
        io_dtype: IoDtype = "float32",
        precision: Precision = "float32",
        **options: Any,
    ) -> TensorRtSession:
        path = tmp_path / "model.plan"
        write_plan(path, onnx or full_bundle.folder / "model.onnx", io_dtype, profiles, plan or {})
        model = make_model(path, kind=library, precision=precision, io_dtype=io_dtype)
        opened.append(TensorRtSession(model, get_library(library), **options))
        return opened[-1]

    yield open_
    for session in opened:
        session.close()
        session.close()
    opened.clear()
    if machine.trt.contexts:  # only a reference cycle may keep them
        gc.collect()
    machine.require_all_freed()


@pytest.fixture
def expected(full_bundle: Bundle) -> Iterator[OrtSession]:
    with OrtSession(make_model(full_bundle.folder / "model.onnx"), threads=1) as session:
        yield session


@pytest.fixture
def planned(machine: Machine, full_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A bundle with a plan that fits the machine."""
    folder = tmp_path / "planned"
    folder.mkdir()
    onnx = folder / "model.onnx"
    onnx.write_bytes((full_bundle.folder / "model.onnx").read_bytes())
    write_plan(folder / "model.plan", onnx, "float32", [list(PROFILE.values())])
    details = {
        "library_version": "11.0",
        "compute_capabilities": ["sm120"],
        "profiles": [PROFILE],
        "onnx": "model.onnx",
        "onnx_sha256": hash_file(onnx),
    }
    model = full_bundle.find_artifact("onnx")
    artifact = Artifact(path="model.plan", kind="tensorrt", precision="float32", details=details)
    manifest = replace(full_bundle.manifest, artifacts=[model, artifact], files=describe_files(folder))
    return Bundle(folder, manifest)
