"""Sessions on a simulated GPU, and ONNX Runtime's results to compare with."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.bundle import make_model
from tests.fakes.machine import Machine
from tests.fakes.tensorrt import write_plan
from tests.unit.engines.tensorrt.batches import WIDE
from wavepaint.contract import Bundle, IoDtype, Precision
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.tensorrt.library import Library, get_library
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession

Open = Callable[..., TensorRtSession]


@pytest.fixture
def open_plan(machine: Machine, full_bundle: Bundle, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens a plan of a model. After the test nothing may be left on the GPU."""
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
