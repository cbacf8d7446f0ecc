"""Building plans: real TensorRT-RTX plans ahead of time without a GPU, and the errors of builds."""

import _thread
import importlib
import threading
import time
from pathlib import Path

import onnx
import pytest

from tests.fakes.bundle import make_model
from tests.fakes.gpu import SimulatedGpu
from tests.fakes.tensorrt import SimulatedTensorRt
from wavepaint.contract import Bundle
from wavepaint.errors import ConfigError, EngineError
from wavepaint.runtime.engines.gpus import Gpu, find_gpus
from wavepaint.runtime.engines.tensorrt import build as build_module
from wavepaint.runtime.engines.tensorrt.build import build_plan
from wavepaint.runtime.engines.tensorrt.callbacks import get_logger
from wavepaint.runtime.engines.tensorrt.libraries import RTX_CAPABILITIES, get_library
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile

RTX = get_library("tensorrt-rtx")

SMALL = PlanOptions(profiles=(Profile(max=(2, 512, 512)),))


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (Linux x86-64 and Windows only)")


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"min": (1, 128, 64), "opt": (1, 64, 64)}, r"height is 128, 64, 1024: expected min <= opt <= max"),
        ({"max": (1, 256, 256)}, "height is 64, 512, 256"),
        ({"min": (0, 64, 64)}, "batch is 0, 1, 4"),
        ({"max": (1, 99_999, 1024)}, "reaches 99999 pixels"),
    ],
)
def test_invalid_profiles_are_refused(profile: dict[str, tuple[int, int, int]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Profile(**profile)


def test_a_profile_must_fit_the_size_multiple() -> None:
    Profile().require_multiple(32)
    with pytest.raises(ConfigError, match="side is 100, and this model takes multiples of 16, such as 96 or 112"):
        Profile(min=(1, 100, 100)).require_multiple(16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profiles": ()}, "at least one profile"),
        ({"targets": ("sm86", "sm86")}, "name one twice"),
        ({"workspace_mb": 0}, "workspace is 0 MiB"),
        ({"optimization_level": 6}, "optimization level is 6: expected 0 to 5"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PlanOptions(**options)  # type: ignore[arg-type]


def test_targets_depend_on_library_and_gpu(rtx: None) -> None:
    assert get_library("tensorrt").choose_targets((), ["sm90"]) == ()
    assert RTX.choose_targets((), ["sm89"]) == ("current",)
    assert RTX.choose_targets((), ["sm150"]) == ("any",)  # newer than the library
    with pytest.raises(EngineError, match=r"compute capability 9\.0; it supports 7\.5.*12\.1 and newer.*--sm any"):
        RTX.choose_targets((), ["sm90"])
    assert RTX.choose_targets(("sm86",), ["sm90"]) == ("sm86",)  # for another machine
    assert RTX.choose_targets((), []) == ("any",)
    assert RTX.choose_targets(("any",), ["sm89"]) == ("any",)
    assert RTX.choose_targets(("sm120",), ["sm89"]) == ("sm120",)
    with pytest.raises(EngineError, match="needs the NVIDIA GPU it builds for.*--engine tensorrt-rtx"):
        get_library("tensorrt").choose_targets((), [])
    with pytest.raises(ConfigError, match="only for the GPU of this machine"):
        get_library("tensorrt").choose_targets(("sm90",), ["sm90"])
    with pytest.raises(ConfigError, match="unknown target 'sm61'.*75, 80, 86, 89, 120"):
        RTX.choose_targets(("sm61",), [])
    with pytest.raises(ConfigError, match="unknown target 'any'.* or for any by itself"):
        RTX.choose_targets(("sm86", "any"), [])


def test_the_compute_capabilities_are_those_that_tensorrt_rtx_names(rtx: None) -> None:
    names = vars(importlib.import_module("tensorrt_rtx").ComputeCapability)
    assert tuple(name.lower() for name in names if name.startswith("SM")) == RTX_CAPABILITIES


def test_tensorrt_rtx_builds_for_the_targets_in_the_manifest(
    rtx: None, full_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it builds for all GPUs from Ampere on. It needs a GPU to build only for that one."""
    chosen: list[tuple[str, int]] = []
    tensorrt_rtx = importlib.import_module("tensorrt_rtx")
    config_type = tensorrt_rtx.IBuilderConfig
    set_one = config_type.set_compute_capability
    monkeypatch.setattr(
        config_type,
        "set_compute_capability",
        lambda config, capability, index: chosen.append((capability.name, index)) or set_one(config, capability, index),
    )
    artifact = full_bundle.find_artifact("onnx", "float32")

    def build(targets: tuple[str, ...]) -> dict[str, object]:
        options = PlanOptions(profiles=SMALL.profiles, targets=targets)
        return build_plan(full_bundle.get_model(artifact), tmp_path / "p", RTX, options)

    assert build(("sm86", "sm89"))["compute_capabilities"] == ["sm86", "sm89"]
    assert chosen == [("SM86", 0), ("SM89", 1)]
    chosen.clear()
    assert build(("any",))["compute_capabilities"] == ["any"]
    assert chosen == []
    monkeypatch.setattr(build_module, "find_gpus", lambda: [Gpu("GPU", "sm89", 80_000)])
    if find_gpus() == []:
        with pytest.raises(EngineError, match="TensorRT-RTX .* cannot build model.onnx"):
            build(())
    else:
        assert build(())["compute_capabilities"] == ["sm89"]
    assert chosen == [("CURRENT", 0)]


def test_a_library_error_belongs_to_its_thread() -> None:
    """There is one logger for all threads. Errors of the library's own threads go to any thread that asks."""
    trt = SimulatedTensorRt(SimulatedGpu())
    logger = get_logger(trt)
    assert get_logger(SimulatedTensorRt(SimulatedGpu())) is logger
    logger.pop_last_error()
    logger.log("error", "mine, the first")
    logger.log("error", "mine")
    logger.log("info", "no error")
    popped: list[str] = []

    def other() -> None:
        logger.log("error", "another's")
        popped.append(logger.pop_last_error())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert popped == ["another's"]
    assert logger.pop_last_error() == "mine"
    assert logger.pop_last_error() == ""
    _thread.start_new_thread(lambda: logger.log("error", "of a thread Python did not start"), ())
    while not logger.errors:
        time.sleep(0.001)
    assert logger.pop_last_error() == "of a thread Python did not start"


def test_a_parser_error_names_the_node(rtx: None, full_bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(full_bundle.folder / "model.onnx")
    (first, *_) = [node for node in model.graph.node if node.op_type == "Conv"]
    first.op_type, first.domain = "Teleport", "example.org"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(EngineError, match=rf"cannot read odd.onnx: node '{first.name}' \(Teleport\)"):
        build_plan(make_model(tmp_path / "odd.onnx"), tmp_path / "p", RTX, SMALL)
    assert not (tmp_path / "p").exists()
