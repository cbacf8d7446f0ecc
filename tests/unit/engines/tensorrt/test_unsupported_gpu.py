"""A GPU that TensorRT-RTX does not support is named at once, and other engines run in its place."""

import sys
import warnings
from dataclasses import replace

import pytest

from tests.fakes.machine import Machine, set_gpus
from wavepaint.contract import Bundle
from wavepaint.errors import EngineError
from wavepaint.export import plans
from wavepaint.export.plans import EngineRequest, find_builders
from wavepaint.runtime import doctor
from wavepaint.runtime.engines.gpus import Gpu
from wavepaint.runtime.engines.registry import find_runnable, get_engine, open_session

PROBLEM = (
    "TensorRT-RTX does not support the GPU here, which has compute capability 9.0; it supports 7.5, 8.0, 8.6, 8.9, "
    "12.0, 12.1 and newer. Use another engine: tensorrt or ort-cuda."
)


@pytest.fixture
def hopper(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    set_gpus(monkeypatch, Gpu("NVIDIA H200", "sm90", 143_000))
    return machine


@pytest.mark.parametrize(
    ("capability", "is_supported"),
    [("sm70", False), ("sm75", True), ("sm87", False), ("sm89", True), ("sm100", False), ("sm103", False),
     ("sm110", False), ("sm120", True), ("sm121", True), ("sm150", True)],
)  # fmt: skip
@pytest.mark.parametrize("is_installed", [True, False])
def test_gpus_between_the_named_ones_are_unsupported(
    capability: str, is_supported: bool, is_installed: bool, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_gpus(monkeypatch, Gpu("GPU", capability, 1))
    if not is_installed:
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert ("does not support" in get_engine("tensorrt-rtx").find_obstacle()) is not is_supported
    assert get_engine("tensorrt").find_obstacle() == ""


def test_a_newer_library_may_support_more(hopper: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (Linux x86-64 and Windows only)")
    monkeypatch.setattr(hopper.trt, "ComputeCapability", type("Newer", (), {"SM89": 1, "SM90": 2, "CURRENT": 3}))
    assert get_engine("tensorrt-rtx").find_obstacle() == ""


def test_the_gpu_is_named_even_if_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody should install a library that does not run."""
    set_gpus(monkeypatch, Gpu("NVIDIA H200", "sm90", 143_000))
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert get_engine("tensorrt-rtx").find_obstacle() == PROBLEM


def test_a_named_engine_fails_once_and_builds_nothing(hopper: Machine, full_bundle: Bundle) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(EngineError) as caught:
            open_session(full_bundle, engine="tensorrt-rtx")
    assert str(caught.value).endswith(PROBLEM)
    assert str(caught.value).count("does not support") == 1
    assert hopper.builds == []


def test_auto_runs_the_next_engine_in_silence(hopper: Machine, full_bundle: Bundle) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_session(full_bundle) as session:
            assert "TensorRT" not in session.engine
    assert hopper.builds == []


def test_doctor_has_one_line(hopper: Machine, full_bundle: Bundle) -> None:
    checks = [check for check in doctor.check_engines(full_bundle) if check.engine == "tensorrt-rtx"]
    assert [check.problem for check in checks] == [PROBLEM]


def test_a_plan_for_any_gpu_is_not_run(hopper: Machine, planned: Bundle) -> None:
    plan = planned.manifest.artifacts[-1]
    details = {**plan.details, "compute_capabilities": ["any"]}
    assert find_runnable(planned.get_model(replace(plan, kind="tensorrt-rtx", details=details))) == []


def test_a_plan_is_built_only_for_named_targets(
    hopper: Machine, full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "find_gpus", lambda: [Gpu("NVIDIA H200", "sm90", 143_000)])
    skipped: dict[str, str] = {}
    assert find_builders(EngineRequest(), 8, skipped.__setitem__) == ["tensorrt"]
    assert skipped == {"tensorrt-rtx": f"{PROBLEM} To build for other machines, add --sm any."}
    ahead = EngineRequest(libraries=("tensorrt-rtx",), required=True, target_groups=(("sm86",), ("any",)))
    assert find_builders(ahead, 8, skipped.__setitem__) == ["tensorrt-rtx"]
    with pytest.raises(EngineError, match="does not support"):
        find_builders(replace(ahead, target_groups=((),)), 8, skipped.__setitem__)
