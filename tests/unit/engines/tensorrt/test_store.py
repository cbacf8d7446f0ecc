"""A plan that does not fit is replaced by a new one with a warning, and cached plans are checked."""

import multiprocessing
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.fakes import tensorrt
from tests.fakes.bundle import make_model
from tests.fakes.machine import Machine, set_gpus
from wavepaint.contract import Artifact, Bundle, describe_files, hash_file
from wavepaint.errors import BundleError, EngineError, WavePaintWarning
from wavepaint.export.plans import EngineRequest, add_engines
from wavepaint.runtime.engines import gpus
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.registry import (
    find_obstacle,
    find_runnable,
    list_candidates,
    list_fastest,
    open_execution,
    open_session,
)
from wavepaint.runtime.engines.tensorrt import library as library_module
from wavepaint.runtime.engines.tensorrt import store
from wavepaint.runtime.engines.tensorrt.library import Library, TensorRtLibrary, get_library
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile
from wavepaint.runtime.engines.tensorrt.store import find_mismatch, open_plan, read_cached, serves

LOAD = TensorRtLibrary.load
PROFILE = {"min": [1, 8, 8], "opt": [1, 64, 64], "max": [2, 256, 256]}


@pytest.fixture
def planned(machine: Machine, full_bundle: Bundle, tmp_path: Path) -> Bundle:
    """A bundle with a plan that fits the machine."""
    folder = tmp_path / "planned"
    folder.mkdir()
    onnx = folder / "model.onnx"
    onnx.write_bytes((full_bundle.folder / "model.onnx").read_bytes())
    tensorrt.write_plan(folder / "model.plan", onnx, "float32", [list(PROFILE.values())])
    details = {
        "library_version": "11.0",
        "compute_capabilities": ["sm90"],
        "profiles": [PROFILE],
        "onnx": "model.onnx",
        "onnx_sha256": hash_file(onnx),
    }
    model = full_bundle.find_artifact("onnx")
    artifact = Artifact(path="model.plan", kind="tensorrt", precision="float32", details=details)
    manifest = replace(full_bundle.manifest, artifacts=[model, artifact], files=describe_files(folder))
    return Bundle(folder, manifest)


def make_plan_artifact(bundle: Bundle, **changes: Any) -> Artifact:
    artifact = bundle.manifest.artifacts[-1]
    return replace(artifact, details={**artifact.details, **changes})


def open_first(bundle: Bundle, artifact: Artifact | None = None, *, library: Library = "tensorrt", **how: Any) -> Any:
    artifact = artifact or bundle.manifest.artifacts[-1]
    return open_plan(bundle.get_model(artifact), get_library(library), **how)


def assert_matches_onnx_runtime(session: Any, bundle: Bundle) -> None:
    image = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    mask = np.zeros((1, 1, 64, 64), dtype=np.float32)
    mask[..., 20:40, 20:40] = 1
    with OrtSession(make_model(bundle.folder / "model.onnx"), threads=1) as expected:
        np.testing.assert_array_equal(session.run(image, mask), expected.run(image, mask))


def test_a_plan_that_fits_opens_without_a_warning(planned: Bundle, machine: Machine) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_first(planned) as session:
            assert session.path == planned.folder / "model.plan"
            assert session.rebuilt_because == ""
            assert_matches_onnx_runtime(session, planned)
    assert machine.builds == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"library_version": "10.9"}, "it was built by TensorRT 10.9, and TensorRT 11.0 is installed"),
        ({"compute_capabilities": ["sm86", "sm89"]}, "it was built for sm86, sm89, and the GPU here is sm90"),
        ({"compute_capabilities": []}, "it was built for no named GPU, and the GPU here is sm90"),
        ({"onnx_sha256": "0" * 64}, "it was built from another model.onnx than the one in the bundle"),
    ],
)
def test_a_plan_that_does_not_fit_is_replaced_once_with_a_warning(
    planned: Bundle, machine: Machine, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    artifact = make_plan_artifact(planned, **changes)
    with pytest.warns(WavePaintWarning, match=f"model.plan cannot be used: {reason}.*can take minutes, and cached in"):
        session = open_first(planned, artifact)
    with session:
        assert session.rebuilt_because == f"model.plan cannot be used: {reason}"
        assert session.path.parent == tmp_path / "cache" / "plans"
        assert_matches_onnx_runtime(session, planned)
    source, _, library, options = machine.builds[0]
    assert (source.path, source.artifact.path, source.artifact.kind, source.size_multiple, library.name) == (
        planned.folder / "model.onnx",
        "model.onnx",
        "onnx",
        8,
        "tensorrt",
    )
    assert options == PlanOptions(profiles=(Profile(min=(1, 8, 8), opt=(1, 64, 64), max=(2, 256, 256)),))
    with warnings.catch_warnings():  # the second time the plan is cached
        warnings.simplefilter("error")
        with open_first(planned, artifact) as session:
            assert session.rebuilt_because == f"model.plan cannot be used: {reason}"
            assert_matches_onnx_runtime(session, planned)
    assert len(machine.builds) == 1
    machine.require_all_freed()


def test_a_plan_that_the_library_refuses_is_built_again(planned: Bundle, machine: Machine) -> None:
    (planned.folder / "model.plan").write_bytes(b"half a plan")
    with pytest.warns(WavePaintWarning, match="model.plan cannot be used: TensorRT 11.0 refuses model.plan: Serial"):
        session = open_first(planned)
    with session:
        assert_matches_onnx_runtime(session, planned)
    machine.require_all_freed()


def test_a_bundle_without_plans_gets_one_for_sizes_up_to_1024(full_bundle: Bundle, machine: Machine) -> None:
    with pytest.warns(WavePaintWarning, match="has no plan for tensorrt-rtx.*can take minutes"):
        session = open_session(full_bundle, engine="tensorrt-rtx", precision="float32")
    with session:
        assert session.profiles == (Profile(min=(1, 8, 8)),)
        assert_matches_onnx_runtime(session, full_bundle)
    with open_session(full_bundle, engine="tensorrt-rtx", precision="float32") as session:
        assert_matches_onnx_runtime(session, full_bundle)
    assert [build[2].name for build in machine.builds] == ["tensorrt-rtx"]


def test_a_uint8_plan_starts_at_one_pixel(full_bundle: Bundle, machine: Machine) -> None:
    artifact = full_bundle.find_artifact("onnx", "float32", "uint8")
    with pytest.warns(WavePaintWarning):
        session = open_first(full_bundle, artifact)
    with session:
        assert session.io_dtype == "uint8"
        assert session.profiles[0].min == (1, 1, 1)


@pytest.mark.parametrize("change", ["profiles", "library_version", "io_dtype", "model", "capability"])
def test_a_cached_plan_depends_on_everything_it_is_built_from(
    planned: Bundle, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    unfit = {"compute_capabilities": ["sm75"]}
    with pytest.warns(WavePaintWarning):
        open_first(planned, make_plan_artifact(planned, **unfit)).close()
    artifact = make_plan_artifact(planned, **unfit)
    if change == "profiles":
        artifact = make_plan_artifact(planned, **unfit, profiles=[{**PROFILE, "max": [3, 256, 256]}])
    elif change == "library_version":
        machine.trt.__version__ = "11.1"
        machine.build = lambda *a, **k: {**tensorrt.build_plan(*a, **k), **_made_by(a[1], "11.1")}
    elif change == "io_dtype":
        artifact = replace(artifact, io_dtype="uint8")
        machine.build = _refuse_to_build
    elif change == "model":
        (planned.folder / "model.onnx").write_bytes(b"another")
        machine.build = _refuse_to_build
    else:
        set_gpus(monkeypatch, gpus.Gpu("Another GPU", "sm80", 1))
    expectation = pytest.raises(EngineError, match="asked") if machine.build is _refuse_to_build else nullcontext()
    with expectation, pytest.warns(WavePaintWarning, match="is built now"):
        open_first(planned, artifact).close()
    assert len(machine.builds) == 2
    if machine.build is not _refuse_to_build:  # the first stays cached
        assert len(list((tmp_path / "cache" / "plans").iterdir())) == 2


def _made_by(path: Path, version: str) -> dict[str, Any]:
    path.write_text(path.read_text().replace('"11.0"', f'"{version}"'))
    return {"library_version": version}


def _refuse_to_build(*arguments: Any, **callbacks: Any) -> dict[str, Any]:
    raise EngineError("asked to build")


def find_cached_plan(cache: Path) -> Path:
    (cached,) = (cache / "plans").iterdir()
    return cached


def damage_tail(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def damage_head(path: Path) -> None:
    path.write_bytes(b"{}\n" + path.read_bytes())


def damage_all(path: Path) -> None:
    path.write_bytes(b"\xff\x00")


@pytest.mark.parametrize("damage", [damage_tail, damage_head, damage_all])
def test_a_damaged_cached_plan_is_built_again(
    full_bundle: Bundle, machine: Machine, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    artifact = full_bundle.find_artifact("onnx")
    with pytest.warns(WavePaintWarning):
        open_first(full_bundle, artifact).close()
    cached = find_cached_plan(tmp_path / "cache")
    assert read_cached(cached)
    damage(cached)
    with pytest.warns(
        WavePaintWarning,
        match=f"{cached.name} cannot be used: it is damaged. A plan for this Simulated GPU is built now",
    ):
        session = open_first(full_bundle, artifact)
    with session:
        assert_matches_onnx_runtime(session, full_bundle)
    assert len(machine.builds) == 2
    assert read_cached(cached)


def test_a_cached_plan_that_is_refused_is_built_again(full_bundle: Bundle, machine: Machine, tmp_path: Path) -> None:
    artifact = full_bundle.find_artifact("onnx")
    with pytest.warns(WavePaintWarning):
        open_first(full_bundle, artifact).close()
    refused = b"another driver's"
    store._write_cached(find_cached_plan(tmp_path / "cache"), refused, {})
    with pytest.warns(WavePaintWarning, match=r"cached cannot be used: TensorRT 11.0 refuses"):
        open_first(full_bundle, artifact).close()
    machine.require_all_freed()


def test_a_plan_that_cannot_be_cached_is_used_with_a_warning(
    full_bundle: Bundle, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "file"))
    artifact = full_bundle.find_artifact("onnx")
    with pytest.warns(WavePaintWarning) as told:
        session = open_first(full_bundle, artifact)
    with session:
        assert_matches_onnx_runtime(session, full_bundle)
    assert "used but not cached, so the next start builds it again: cannot write" in str(told[1].message)
    assert "Set WAVEPAINT_CACHE to choose another folder" in str(told[1].message)


def test_a_build_needs_no_timing_cache_unless_one_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    config = SimpleNamespace(create_timing_cache=lambda content: content, set_timing_cache=lambda cache, flag: True)
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "file"))
    trt = SimpleNamespace(__version__="11.0")
    TensorRtLibrary().prepare_build(trt, config, (), None)
    with pytest.raises(EngineError, match="timing cache .* cannot be read"):
        TensorRtLibrary().prepare_build(trt, config, (), tmp_path / "file" / "kernels")


def _open_in_a_process(folder: Path, barrier: Any, results: Any) -> None:
    from wavepaint.contract import read_bundle

    with pytest.MonkeyPatch.context() as monkeypatch:
        from tests.fakes.machine import install

        machine = install(monkeypatch)

        def build(*arguments: Any, **callbacks: Any) -> dict[str, Any]:
            barrier.wait(60)  # both build before either caches its plan
            return tensorrt.build_plan(*arguments, **callbacks)

        machine.build = build
        warnings.simplefilter("ignore")
        bundle = read_bundle(folder)
        with open_first(bundle, bundle.find_artifact("onnx")) as session:
            assert_matches_onnx_runtime(session, bundle)
            results.put(str(session.path))


def test_two_processes_may_build_the_same_plan_at_once(full_bundle: Bundle, machine: Machine, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    arguments = (full_bundle.folder, barrier, results)
    processes = [context.Process(target=_open_in_a_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    cached = find_cached_plan(tmp_path / "cache")
    assert results.get(timeout=5) == results.get(timeout=5) == str(cached)
    assert read_cached(cached)


def test_a_real_tensorrt_rtx_plan_is_cached_whole(
    full_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real library builds ahead of time, without a GPU. The plan does not run."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (Linux x86-64 and Windows only)")
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library_module, "find_gpus", lambda: [gpus.Gpu("Simulated GPU", "sm86", 1)])
    opened: list[dict[str, Any]] = []
    monkeypatch.setattr(store, "TensorRtSession", lambda model, library, **how: opened.append(how))
    artifact = full_bundle.find_artifact("onnx")
    with pytest.warns(WavePaintWarning, match="is built now"):
        open_first(full_bundle, artifact, library="tensorrt-rtx")
    open_first(full_bundle, artifact, library="tensorrt-rtx")
    assert opened[0]["content"] == opened[1]["content"] == read_cached(find_cached_plan(tmp_path / "cache"))
    assert len(opened[0]["content"]) > 10_000


def test_a_plan_that_may_not_or_cannot_be_built_is_an_error(
    planned: Bundle, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfit = make_plan_artifact(planned, library_version="10.9")
    with pytest.raises(EngineError, match="TensorRT 10.9.*no plan for this Simulated GPU is cached.*--engine tensorrt"):
        open_first(planned, unfit, plan_policy="cached")
    with pytest.raises(EngineError, match="built by TensorRT 10.9"):
        open_first(planned, unfit, plan_policy="refuse")
    with pytest.raises(BundleError, match="damaged in the details of model.plan"):
        open_first(planned, make_plan_artifact(planned, library_version="10.9", profiles=[{"min": [1, 8, 8]}]))
    (planned.folder / "model.onnx").unlink()
    with pytest.raises(EngineError, match="model.onnx, from which another could be built, is missing"):
        open_first(planned, unfit)
    set_gpus(monkeypatch)
    with pytest.raises(EngineError, match=r'no driver or GPU was found.*pip install "wavepaint\[tensorrt\]"'):
        open_first(planned)
    assert machine.builds == []


def test_verification_never_opens_a_cached_plan(planned: Bundle, machine: Machine) -> None:
    with pytest.warns(WavePaintWarning):
        open_first(planned, make_plan_artifact(planned, library_version="10.9")).close()
    with pytest.raises(EngineError, match="built by TensorRT 10.9"):
        open_first(planned, make_plan_artifact(planned, library_version="10.9"), plan_policy="refuse")


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
        held = [*full_bundle.manifest.artifacts, *artifacts]
        bundle = Bundle(planned.folder, replace(full_bundle.manifest, artifacts=held))
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


def test_a_plan_serves_the_gpus_it_names_or_any() -> None:
    assert serves({"compute_capabilities": ["any"]}, "sm90")
    assert serves({"compute_capabilities": ["sm86", "sm89"]}, "sm89")
    assert not serves({"compute_capabilities": ["sm86", "sm89"]}, "sm90")
    assert not serves({}, "sm90")


def test_a_plan_is_runnable_only_where_it_fits(
    planned: Bundle, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = planned.get_model(make_plan_artifact(planned))
    assert find_obstacle(model) == ""
    assert find_runnable(model) == [ExecutionConfig("tensorrt", model, "float32")]
    other = planned.get_model(make_plan_artifact(planned, compute_capabilities=["sm86"]))
    assert "GPU here is sm90" in find_obstacle(other)
    monkeypatch.setattr(TensorRtLibrary, "load", LOAD)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert 'pip install "wavepaint[tensorrt]"' in find_obstacle(model)
    assert find_runnable(model) == []
    assert find_mismatch({}, get_library("tensorrt"), "11.0", "sm90").startswith("it was built by TensorRT None")


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
