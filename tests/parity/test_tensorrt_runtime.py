"""A session's calls, compared with the real bindings of TensorRT 10 and 11 and with TensorRT-RTX, without a GPU.

As in test_tensorrt_bindings.py, every object that a session uses is a mock with exactly the attributes of the real
class, and every call is compared with the real signatures. The GPU is simulated.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.fakes.bundle import make_model

_PROGRAM = '''
import json, sys
from pathlib import Path
from unittest.mock import create_autospec, patch

import numpy as np
from tests.fakes.gpu import SimulatedDevice, SimulatedGpu
from tests.parity.signatures import find_wrong_calls
from wavepaint.contract import Artifact, Model
from wavepaint.errors import EngineError
from wavepaint.runtime.engines.tensorrt.libraries import TensorRtLibrary, get_library
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession

if sys.argv[1] == "tensorrt":
    import tensorrt_bindings as real
else:
    import tensorrt_rtx as real

runtime, engine, context = (
    create_autospec(kind, instance=True, spec_set=True)
    for kind in (real.Runtime, real.ICudaEngine, real.IExecutionContext)
)
runtime.deserialize_cuda_engine.return_value = engine
names = ["image", "mask", "image_out"]
engine.num_io_tensors, engine.num_optimization_profiles = 3, 1
engine.get_tensor_name.side_effect = lambda index: names[index]
engine.get_tensor_mode.side_effect = lambda name: (
    real.TensorIOMode.OUTPUT if name == "image_out" else real.TensorIOMode.INPUT
)
engine.get_tensor_dtype.return_value = real.DataType.FLOAT
engine.get_tensor_shape.return_value = real.Dims((-1, 3, -1, -1))
sides = ((1, 3, 8, 8), (1, 3, 16, 16), (2, 3, 64, 64))
engine.get_tensor_profile_shape.return_value = [real.Dims(shape) for shape in sides]
engine.create_execution_context.return_value = context
for method in ("set_optimization_profile_async", "set_input_shape", "set_tensor_address", "execute_async_v3"):
    getattr(context, method).return_value = True
context.get_tensor_shape.return_value = real.Dims((1, 3, 32, 16))
context.update_device_memory_size_for_shapes.return_value = 1000
mocks = [(runtime, real.Runtime), (engine, real.ICudaEngine), (context, real.IExecutionContext)]
if sys.argv[1] != "tensorrt":
    config = create_autospec(real.IRuntimeConfig, instance=True, spec_set=True)
    engine.create_runtime_config.return_value = config
    kernels = create_autospec(real.IRuntimeCache, instance=True, spec_set=True)
    config.create_runtime_cache.return_value = kernels
    kernels.serialize.return_value = b"compiled kernels"
    context.is_stream_capturable.return_value = True
    mocks += [(config, real.IRuntimeConfig), (kernels, real.IRuntimeCache)]

gpu = SimulatedGpu()
addresses = {}
context.set_tensor_address.side_effect = lambda name, address: addresses.update({name: address}) or True
def execute(stream):
    gpu.write(addresses["image_out"], np.full(32 * 16 * 3, 0.5, np.float32).view(np.uint8))
    return True
context.execute_async_v3.side_effect = execute


class Library:
    """The real module except for the class that needs the real library."""

    def __getattr__(self, name):
        return (lambda logger: runtime) if name == "Runtime" else getattr(real, name)


model = Model(Path("model.plan"), Artifact(path="model.plan", kind=sys.argv[1], precision="float32"))
library = get_library(sys.argv[1])
with patch.object(TensorRtLibrary, "load", lambda self: Library()):
    with TensorRtSession(model, library, content=b"a plan", device=SimulatedDevice(gpu)) as session:
        image, mask = np.zeros((1, 3, 32, 16), np.float32), np.zeros((1, 1, 32, 16), np.float32)
        outputs = [float(session.run(image, mask).mean()) for _ in range(3)]
        profiles, graphs = [vars(profile) for profile in session.profiles], gpu.count("capture")
        has_captured = not session.graph_problem
    engine.create_execution_context.return_value = None
    with TensorRtSession(model, library, content=b"a plan", device=SimulatedDevice(gpu)) as session:
        try:
            session.run(image, mask)
            refused = ""
        except EngineError as error:
            refused = str(error)
print(json.dumps({
    "version": real.__version__, "wrong": find_wrong_calls(*mocks), "outputs": outputs, "profiles": profiles,
    "graphs": graphs, "has_captured": has_captured, "refused": refused, "strategy": str(
        engine.create_execution_context.call_args.args[0]),
    "scratch": context.set_device_memory.call_args.args[1] if hasattr(context, "set_device_memory") else "an address",
    "calls": sorted({name for mock, _ in mocks for name, *_ in mock.method_calls}),
    "kernels": "" if sys.argv[1] == "tensorrt" else str(config.dynamic_shapes_kernel_specialization_strategy),
}))
'''


def _run(library: str, environment: dict[str, str]) -> dict[str, object]:
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, library],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, object] = json.loads(result.stdout)
    assert found["wrong"] == []
    assert found["outputs"] == [0.5] * 3
    assert found["profiles"] == [{"min": [1, 8, 8], "opt": [1, 16, 16], "max": [2, 64, 64]}]
    assert found["has_captured"]
    assert "makes no execution context: no reason given" in str(found["refused"])
    assert {"deserialize_cuda_engine", "execute_async_v3", "set_optimization_profile_async"} <= {*found["calls"]}  # type: ignore[misc]
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the stand-ins are built as Linux libraries")
def test_the_session_calls_only_what_tensorrt_has(bindings: dict[str, str]) -> None:
    found = _run("tensorrt", bindings)
    assert found["version"] == bindings["EXPECTED"]
    assert found["graphs"] == 1
    assert "USER_MANAGED" in str(found["strategy"])
    assert found["scratch"] == ("an address" if bindings["EXPECTED"].startswith("10.0.") else 1000)


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="TensorRT-RTX is not installed")
def test_the_session_calls_only_what_tensorrt_rtx_has() -> None:
    found = _run("tensorrt-rtx", {**os.environ})
    assert found["graphs"] == 0
    expected = {"create_runtime_config", "set_runtime_cache", "serialize", "deserialize", "is_stream_capturable"}
    assert expected <= {*found["calls"]}  # type: ignore[misc]
    assert "EAGER" in str(found["kernels"])


def test_the_real_tensorrt_rtx_refuses_a_file_that_is_no_plan(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (Linux x86-64 and Windows only)")
    from wavepaint.runtime.engines.tensorrt.libraries import get_library
    from wavepaint.runtime.engines.tensorrt.plan import LoadedPlan, PlanRefusedError

    model = make_model(tmp_path / "x.plan", kind="tensorrt-rtx")
    with pytest.raises(PlanRefusedError, match="TensorRT-RTX .* refuses x.plan: .*"):
        LoadedPlan(model, b"no plan" * 100, get_library("tensorrt-rtx"))
