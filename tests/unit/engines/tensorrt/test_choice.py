"""Which plans are listed, tried first and verified: only those that fit this machine."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.machine import Machine
from tests.unit.engines.tensorrt.plans import make_plan_artifact
from wavepaint.contract import Bundle
from wavepaint.errors import WavePaintWarning
from wavepaint.export.plans import EngineRequest, add_engines
from wavepaint.optional import make_install_command
from wavepaint.runtime.engines import gpus
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.registry import (
    find_obstacle,
    find_runnable,
    list_candidates,
    list_fastest,
    open_execution,
    open_session,
)
from wavepaint.runtime.engines.tensorrt.libraries import TensorRtLibrary, get_library
from wavepaint.runtime.engines.tensorrt.plan_cache import find_mismatch
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile

LOAD = TensorRtLibrary.load


def test_auto_uses_existing_plans_and_builds_none(planned: Bundle, full_bundle: Bundle, machine: Machine) -> None:
    with open_session(planned) as session:
        assert session.engine.startswith("TensorRT 11.0")
    with open_session(full_bundle) as session:
        assert not session.engine.startswith("TensorRT")
    with pytest.warns(WavePaintWarning):
        open_session(full_bundle, engine="tensorrt").close()
    with open_session(full_bundle) as session:  # the plan is cached now
        assert session.engine.startswith("TensorRT 11.0")
        assert session.rebuilt_because.endswith("has no plan for tensorrt")
    assert len(machine.builds) == 1


def test_candidates_with_a_plan_for_this_gpu_come_first(planned: Bundle, full_bundle: Bundle, machine: Machine) -> None:
    executions = [
        (execution.arithmetic, execution.artifact.path) for execution in list_candidates(full_bundle, "tensorrt")
    ]
    assert executions == [("float16", "model.fp16.onnx"), ("bfloat16", "model.bf16.onnx"), ("float32", "model.onnx")]
    mine, other = (
        make_plan_artifact(planned),
        replace(make_plan_artifact(planned, compute_capabilities=["sm75"]), path="other.plan"),
    )
    for artifacts in ([other, mine], [mine, other]):
        every = [*full_bundle.manifest.artifacts, *artifacts]
        bundle = Bundle(planned.folder, replace(full_bundle.manifest, artifacts=every))
        executions = [
            (execution.arithmetic, execution.artifact.path) for execution in list_candidates(bundle, "tensorrt")
        ]
        assert executions[0] == ("float32", "model.plan")  # it needs no build
        assert [execution.artifact.path for execution in list_candidates(bundle, "tensorrt", "float16")] == [
            "model.fp16.onnx"
        ]
        assert all(execution.artifact.kind == "onnx" for execution in list_candidates(bundle, "tensorrt-rtx"))
    assert {execution.engine for execution in list_fastest(planned)} >= {"tensorrt", "tensorrt-rtx"}


def test_there_are_at_least_two_streams(planned: Bundle, machine: Machine) -> None:
    execution = ExecutionConfig("tensorrt", planned.get_model(make_plan_artifact(planned)), "float32")
    for streams, num_streams in ((1, 2), (2, 2), (3, 3)):
        with open_execution(execution, streams=streams):
            assert len(machine.gpu.streams) == num_streams


def test_a_plan_is_runnable_only_where_it_fits(
    planned: Bundle, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = planned.get_model(make_plan_artifact(planned))
    assert find_obstacle(model) == ""
    assert find_runnable(model) == [ExecutionConfig("tensorrt", model, "float32")]
    other = planned.get_model(make_plan_artifact(planned, compute_capabilities=["sm86"]))
    assert "GPU here is sm120" in find_obstacle(other)
    monkeypatch.setattr(TensorRtLibrary, "load", LOAD)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert make_install_command("tensorrt") in find_obstacle(model)
    assert find_runnable(model) == []
    assert find_mismatch({}, get_library("tensorrt"), "11.0", "sm120").startswith("it was built by TensorRT None")


def test_verification_runs_plans_of_both_io_dtypes(
    full_bundle: Bundle, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wavepaint.export import plans as engine
    from wavepaint.export.verify import verify_bundle

    monkeypatch.setattr(engine, "build_plan", machine.build_plan)
    monkeypatch.setattr(engine, "find_gpus", gpus.find_gpus)
    request = EngineRequest(libraries=("tensorrt",), required=True, options=PlanOptions(profiles=(Profile(),)))
    built = add_engines(full_bundle, tmp_path / "built", request)
    plans = [artifact for artifact in built.manifest.artifacts if artifact.kind == "tensorrt"]
    assert plans[1].details["float_edges"] == plans[0].path
    only = replace(built.manifest, artifacts=[full_bundle.find_artifact("onnx"), *plans])
    reports = verify_bundle(Bundle(built.folder, only))
    for artifact in plans:
        (report,) = reports[artifact.path]
        assert report["passed"], report
        assert report["engine"].startswith("TensorRT 11.0")
        assert 0 < report["num_cases"] < 12  # the cases of 64 pixels and more
    machine.require_all_freed()
