"""The builder's calls to TensorRT 10 and 11, compared with the real bindings of both, without a GPU.

The wheel of the bindings is small, and its libraries are not available here. It imports with empty stand-ins for them.
Every object that the builder uses is a mock with exactly the attributes of the real class, and every call is compared
with the real signatures and enums.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

_PROGRAM = '''
import json, os, sys
from pathlib import Path
from unittest.mock import create_autospec, patch

import tensorrt_bindings as real
from tests.parity.signatures import find_wrong_calls
from wavepaint.contract import Artifact, Model
from wavepaint.errors import EngineError
from wavepaint.runtime.engines.gpus import Gpu
from wavepaint.runtime.engines.tensorrt import build
from wavepaint.runtime.engines.tensorrt.libraries import TensorRtLibrary
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions

folder = Path(sys.argv[1])
(folder / "model.onnx").write_bytes(bytes([8, 9]))  # a model that contains only its version
builder, network, config, profile, parser, cache, refusal = (
    create_autospec(kind, instance=True, spec_set=True)
    for kind in (real.Builder, real.INetworkDefinition, real.IBuilderConfig, real.IOptimizationProfile,
                 real.OnnxParser, real.ITimingCache, real.ParserError)
)
builder.create_network.return_value = network
builder.create_builder_config.return_value = config
builder.create_optimization_profile.return_value = profile
config.create_timing_cache.return_value = config.get_timing_cache.return_value = cache
cache.serialize.return_value = b"measured kernels"
config.set_timing_cache.return_value = True
parser.parse.return_value = True


def build_network(network, config):
    monitor = config.progress_monitor
    assert isinstance(monitor, real.IProgressMonitor)
    monitor.phase_start("Building", None, 2)
    monitor.phase_start("Timing", "Building", 4)
    for step in range(4):
        assert monitor.step_complete("Timing", step)
    monitor.phase_finish("Timing")
    assert monitor.step_complete("Building", 0)
    monitor.phase_finish("Building")
    return b"a plan"


builder.build_serialized_network.side_effect = build_network


class Library:
    """The real module except for the two classes that need the real library."""

    def __getattr__(self, name):
        return {"Builder": lambda logger: builder, "OnnxParser": lambda network, logger: parser}.get(
            name
        ) or getattr(real, name)


model = Model(folder / "model.onnx", Artifact(path="model.onnx", kind="onnx", precision="float16"), 8)
options = PlanOptions(workspace_mb=256, optimization_level=3, timing_cache=folder / "kernels.cache")
shares = []
with patch.object(TensorRtLibrary, "load", lambda self: Library()), patch.object(
    build, "find_gpus", lambda: [Gpu("GPU", "sm90", 80_000)]
):
    def run():
        return build.build_plan(model, folder / "out.plan", TensorRtLibrary(), options,
                                on_progress=lambda phase, share: shares.append(share))
    details = run()
    run()  # the cache is read back
    parser.parse.return_value = False
    parser.num_errors = 1
    parser.get_error.return_value = refusal
    refusal.node_name.return_value, refusal.node_operator.return_value = "node_7", "Teleport"
    refusal.desc.return_value = "no such operator"
    try:
        run()
        refused = ""
    except EngineError as error:
        refused = str(error)
with patch.object(TensorRtLibrary, "load", lambda self: real), patch.object(
    build, "find_gpus", lambda: [Gpu("GPU", "sm90", 80_000)]
):
    try:
        run()
        not_started = ""
    except EngineError as error:
        not_started = str(error)

wrong = find_wrong_calls(
    (builder, real.Builder), (config, real.IBuilderConfig), (profile, real.IOptimizationProfile),
    (parser, real.OnnxParser), (cache, real.ITimingCache),
)
print(json.dumps({
    "version": real.__version__, "details": details, "refused": refused, "not_started": not_started,
    "wrong": wrong, "shares": shares, "plan": (folder / "out.plan").read_text(),
    "cache": (folder / "kernels.cache").read_text(), "calls": sorted({name for name, *_ in config.method_calls}),
    "flags": builder.create_network.call_args.args[0],
    "strongly_typed": 1 << int(real.NetworkDefinitionCreationFlag.STRONGLY_TYPED),
    "read_back": config.create_timing_cache.call_args_list[1].args[0].decode(),
    "shapes": [list(map(list, call.args[1:])) for call in profile.set_shape.call_args_list[:2]],
    "pool": [str(config.set_memory_pool_limit.call_args.args[0]), config.set_memory_pool_limit.call_args.args[1]],
    "level": config.builder_optimization_level, "cleared": str(config.clear_flag.call_args.args[0]),
}), flush=True)
os._exit(0)  # on the way out the bindings may call the libraries, whose stand-ins are empty
'''


@pytest.mark.skipif(sys.platform != "linux", reason="the stand-ins are built as Linux libraries")
def test_the_builder_calls_only_what_exists(bindings: dict[str, str], tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env=bindings,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["version"] == bindings["EXPECTED"]
    assert found["wrong"] == []
    assert found["flags"] == found["strongly_typed"]
    assert found["plan"] == "a plan"
    assert found["cache"] == found["read_back"] == "measured kernels"
    assert found["shapes"] == [
        [[1, 3, 64, 64], [1, 3, 512, 512], [4, 3, 1024, 1024]],
        [[1, 1, 64, 64], [1, 1, 512, 512], [4, 1, 1024, 1024]],
    ]
    assert found["pool"] == ["MemoryPoolType.WORKSPACE", 256 << 20]
    assert found["level"] == 3
    assert found["cleared"] == "BuilderFlag.TF32"
    assert ("set_preview_feature" in found["calls"]) == (not found["version"].startswith("10.0."))
    assert found["shares"][0] == 0
    assert found["shares"] == sorted(found["shares"][: len(found["shares"]) // 2]) * 2
    assert found["shares"][-1] == 1
    assert found["details"]["compute_capabilities"] == ["sm90"]
    assert not found["details"]["ahead_of_time"]
    assert "node 'node_7' (Teleport): no such operator" in found["refused"]
    assert "does not start" in found["not_started"]
