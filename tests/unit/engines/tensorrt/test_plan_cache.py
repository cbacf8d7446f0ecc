"""A plan that does not fit is replaced by a new one with a warning, and cached plans are checked."""

import multiprocessing
import re
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import tensorrt
from tests.fakes.machine import Machine, set_gpus
from tests.unit.engines.tensorrt.plans import PROFILE, assert_matches_onnx_runtime, make_plan_artifact, open_artifact
from wavepaint.contract import Bundle
from wavepaint.errors import BundleError, EngineError, WavePaintWarning
from wavepaint.optional import make_install_command
from wavepaint.runtime.engines import gpus
from wavepaint.runtime.engines.registry import (
    open_session,
)
from wavepaint.runtime.engines.tensorrt import libraries, plan_cache
from wavepaint.runtime.engines.tensorrt.libraries import TensorRtLibrary
from wavepaint.runtime.engines.tensorrt.plan_cache import read_cached, serves
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile


def test_a_plan_that_fits_opens_without_a_warning(planned: Bundle, machine: Machine) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_artifact(planned) as session:
            assert session.path == planned.folder / "model.plan"
            assert session.rebuilt_because == ""
            assert_matches_onnx_runtime(session, planned)
    assert machine.builds == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"library_version": "10.9"}, "it was built by TensorRT 10.9, and TensorRT 11.0 is installed"),
        ({"compute_capabilities": ["sm86", "sm89"]}, "it was built for sm86, sm89, and the GPU here is sm120"),
        ({"compute_capabilities": []}, "it was built for no named GPU, and the GPU here is sm120"),
        ({"onnx_sha256": "0" * 64}, "it was built from another model.onnx than the one in the bundle"),
    ],
)
def test_a_plan_that_does_not_fit_is_replaced_once_with_a_warning(
    planned: Bundle, machine: Machine, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    artifact = make_plan_artifact(planned, **changes)
    with pytest.warns(WavePaintWarning, match=f"model.plan cannot be used: {reason}.*can take minutes, and cached in"):
        session = open_artifact(planned, artifact)
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
        with open_artifact(planned, artifact) as session:
            assert session.rebuilt_because == f"model.plan cannot be used: {reason}"
            assert_matches_onnx_runtime(session, planned)
    assert len(machine.builds) == 1
    machine.require_all_freed()


def test_a_plan_that_the_library_refuses_is_built_again(planned: Bundle, machine: Machine) -> None:
    (planned.folder / "model.plan").write_bytes(b"half a plan")
    with pytest.warns(WavePaintWarning, match="model.plan cannot be used: TensorRT 11.0 refuses model.plan: Serial"):
        session = open_artifact(planned)
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
        session = open_artifact(full_bundle, artifact)
    with session:
        assert session.io_dtype == "uint8"
        assert session.profiles[0].min == (1, 1, 1)


@pytest.mark.parametrize("change", ["profiles", "library_version", "io_dtype", "model", "capability"])
def test_a_cached_plan_depends_on_everything_it_is_built_from(
    planned: Bundle, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    unfit = {"compute_capabilities": ["sm75"]}
    with pytest.warns(WavePaintWarning):
        open_artifact(planned, make_plan_artifact(planned, **unfit)).close()
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
        open_artifact(planned, artifact).close()
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
        open_artifact(full_bundle, artifact).close()
    cached = find_cached_plan(tmp_path / "cache")
    assert read_cached(cached)
    damage(cached)
    with pytest.warns(
        WavePaintWarning,
        match=f"{cached.name} cannot be used: it is damaged. A plan for this Simulated GPU is built now",
    ):
        session = open_artifact(full_bundle, artifact)
    with session:
        assert_matches_onnx_runtime(session, full_bundle)
    assert len(machine.builds) == 2
    assert read_cached(cached)


def test_a_cached_plan_that_is_refused_is_built_again(full_bundle: Bundle, machine: Machine, tmp_path: Path) -> None:
    artifact = full_bundle.find_artifact("onnx")
    with pytest.warns(WavePaintWarning):
        open_artifact(full_bundle, artifact).close()
    refused = b"another driver's"
    plan_cache._write_cached(find_cached_plan(tmp_path / "cache"), refused, {})
    with pytest.warns(WavePaintWarning, match=r"cached cannot be used: TensorRT 11.0 refuses"):
        open_artifact(full_bundle, artifact).close()
    machine.require_all_freed()


def test_a_plan_that_cannot_be_cached_is_used_with_a_warning(
    full_bundle: Bundle, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "file"))
    artifact = full_bundle.find_artifact("onnx")
    with pytest.warns(WavePaintWarning) as caught:
        session = open_artifact(full_bundle, artifact)
    with session:
        assert_matches_onnx_runtime(session, full_bundle)
    assert "used but not cached, so the next start builds it again: cannot write" in str(caught[1].message)
    assert "Set WAVEPAINT_CACHE to choose another folder" in str(caught[1].message)


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
        with open_artifact(bundle, bundle.find_artifact("onnx")) as session:
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
    monkeypatch.setattr(libraries, "find_gpus", lambda: [gpus.Gpu("Simulated GPU", "sm86", 1)])
    opened: list[dict[str, Any]] = []
    monkeypatch.setattr(plan_cache, "TensorRtSession", lambda model, library, **how: opened.append(how))
    artifact = full_bundle.find_artifact("onnx")
    with pytest.warns(WavePaintWarning, match="is built now"):
        open_artifact(full_bundle, artifact, library="tensorrt-rtx")
    open_artifact(full_bundle, artifact, library="tensorrt-rtx")
    assert opened[0]["content"] == opened[1]["content"] == read_cached(find_cached_plan(tmp_path / "cache"))
    assert len(opened[0]["content"]) > 10_000


def test_a_plan_that_must_not_or_cannot_be_built_is_an_error(
    planned: Bundle, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfit = make_plan_artifact(planned, library_version="10.9")
    with pytest.raises(EngineError, match="TensorRT 10.9.*no plan for this Simulated GPU is cached.*--engine tensorrt"):
        open_artifact(planned, unfit, plan_policy="cached")
    with pytest.raises(EngineError, match="built by TensorRT 10.9"):
        open_artifact(planned, unfit, plan_policy="refuse")
    with pytest.raises(BundleError, match="damaged in the details of model.plan"):
        open_artifact(planned, make_plan_artifact(planned, library_version="10.9", profiles=[{"min": [1, 8, 8]}]))
    (planned.folder / "model.onnx").unlink()
    with pytest.raises(EngineError, match="model.onnx, from which another could be built, is missing"):
        open_artifact(planned, unfit)
    set_gpus(monkeypatch)
    with pytest.raises(EngineError, match="no driver or GPU was found.*" + re.escape(make_install_command("tensorrt"))):
        open_artifact(planned)
    assert machine.builds == []


def test_verification_never_opens_a_cached_plan(planned: Bundle, machine: Machine) -> None:
    with pytest.warns(WavePaintWarning):
        open_artifact(planned, make_plan_artifact(planned, library_version="10.9")).close()
    with pytest.raises(EngineError, match="built by TensorRT 10.9"):
        open_artifact(planned, make_plan_artifact(planned, library_version="10.9"), plan_policy="refuse")


def test_a_plan_serves_the_gpus_it_names_or_any() -> None:
    assert serves({"compute_capabilities": ["any"]}, "sm90")
    assert serves({"compute_capabilities": ["sm86", "sm89"]}, "sm89")
    assert not serves({"compute_capabilities": ["sm86", "sm89"]}, "sm90")
    assert not serves({}, "sm90")
