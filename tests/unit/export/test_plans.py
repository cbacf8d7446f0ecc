"""Plans for a bundle: which are built, what the manifest says of them, and what is not written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.bundle import write_bundle
from wavepaint.contract import Bundle, default_bundle_folder, hash_file, read_bundle
from wavepaint.errors import ConfigError, EngineError, OutputError
from wavepaint.export.plans import EngineRequest, add_engines, choose_models, find_builders
from wavepaint.optional import make_install_command
from wavepaint.runtime.engines.gpus import find_gpus
from wavepaint.runtime.engines.tensorrt.build import build_plan
from wavepaint.runtime.engines.tensorrt.libraries import get_library
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile

SMALL = PlanOptions(profiles=(Profile(max=(2, 512, 512)),))


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (Linux x86-64 and Windows only)")


def test_a_plan_of_the_default_model_is_built_ahead_of_time(rtx: None, tmp_path: Path) -> None:
    bundle = read_bundle(default_bundle_folder())
    model = bundle.get_model(bundle.find_artifact("onnx", "float16"))
    options = PlanOptions(targets=("sm86",), optimization_level=0)  # a fast build
    details = build_plan(model, tmp_path / "plan", get_library("tensorrt-rtx"), options)
    assert details["profiles"] == [{"min": [1, 64, 64], "opt": [1, 512, 512], "max": [4, 1024, 1024]}]
    assert (tmp_path / "plan").stat().st_size > 500_000


def test_plans_of_float_and_byte_models_are_built_ahead_of_time(rtx: None, full_bundle: Bundle, tmp_path: Path) -> None:
    request = EngineRequest(libraries=("tensorrt-rtx",), required=True, target_groups=(("sm86",),), options=SMALL)
    shares: list[float] = []
    built = add_engines(full_bundle, tmp_path / "built", request, on_progress=lambda phase, share: shares.append(share))
    plans = [artifact for artifact in read_bundle(built.folder).manifest.artifacts if artifact.kind == "tensorrt-rtx"]
    assert {plan.io_dtype for plan in plans} == {"float32", "uint8"}
    for plan in plans:
        assert plan.precision == "float16"
        assert plan.path == f"{plan.details['onnx'].removesuffix('.onnx')}.tensorrt-rtx.sm86.plan"
        assert plan.details["onnx_sha256"] == hash_file(built.folder / plan.details["onnx"])
    assert shares[0] == 0
    assert max(shares) == pytest.approx(1)


def test_an_interrupted_build_leaves_nothing(rtx: None, full_bundle: Bundle, tmp_path: Path) -> None:
    def interrupt(phase: str, share: float) -> None:
        if share > 0.1:
            raise KeyboardInterrupt

    request = EngineRequest(libraries=("tensorrt-rtx",), required=True, options=SMALL)
    with pytest.raises(KeyboardInterrupt):
        add_engines(full_bundle, tmp_path / "out", request, on_progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_targets_are_for_tensorrt_rtx_unless_only_tensorrt_is_named() -> None:
    groups = (("sm86",),)
    assert EngineRequest(target_groups=groups).get_targets("tensorrt") == ((),)
    both = EngineRequest(required=True, target_groups=groups)
    assert (both.get_targets("tensorrt"), both.get_targets("tensorrt-rtx")) == (((),), groups)
    assert EngineRequest(libraries=("tensorrt",), required=True, target_groups=groups).get_targets("tensorrt") == groups


def test_plans_are_built_from_the_best_precision_or_the_named_ones(full_bundle: Bundle) -> None:
    models = [full_bundle.get_model(artifact) for artifact in full_bundle.manifest.artifacts]
    assert [model.artifact.path for model in choose_models(models)] == ["model.fp16.onnx", "model.fp16.uint8.onnx"]
    assert {model.artifact.precision for model in choose_models(models, ("bfloat16", "float16"))} == {
        "bfloat16",
        "float16",
    }
    assert [model.artifact.path for model in choose_models(models[:1])] == ["model.onnx"]


def test_a_precision_that_the_bundle_lacks_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", precisions=("float32",))
    with pytest.raises(ConfigError, match="holds float32 models, none of float16.*wp export .*--fp16$"):
        add_engines(bundle, tmp_path / "out", EngineRequest(precisions=("float16",)))


def test_a_library_that_cannot_build_is_skipped_or_refused(
    full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    skipped: dict[str, str] = {}
    assert find_builders(EngineRequest(), 8, skipped.__setitem__) == []
    assert make_install_command("tensorrt") in skipped["tensorrt"]
    assert make_install_command("tensorrt-rtx") in skipped["tensorrt-rtx"]
    with pytest.raises(EngineError, match="tensorrt is not installed"):
        find_builders(EngineRequest(libraries=("tensorrt",), required=True), 8, skipped.__setitem__)


def test_nothing_is_written_if_no_plan_can_be_built(
    full_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match="no engine could be built.*nothing was written"):
        add_engines(full_bundle, tmp_path / "out", EngineRequest())
    assert not list(tmp_path.iterdir())


def test_an_existing_bundle_is_not_overwritten_by_default(rtx: None, full_bundle: Bundle) -> None:
    with pytest.raises(OutputError, match="exists already"):
        add_engines(full_bundle, full_bundle.folder, EngineRequest(libraries=("tensorrt-rtx",), options=SMALL))


def test_adding_plans_needs_neither_torch_nor_onnx() -> None:
    script = (
        "import sys; import wavepaint.export.plans, wavepaint.export.verify, wavepaint.cli.verify; "
        "import wavepaint.cli.export; "
        "print(sorted(name for name in ('torch', 'onnx', 'onnxruntime') if name in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_plans_for_several_targets_are_built_again_in_place(rtx: None, full_bundle: Bundle, tmp_path: Path) -> None:
    targets = (("sm80",), ("sm86", "sm89"), ("any",))
    request = EngineRequest(libraries=("tensorrt-rtx",), target_groups=targets, options=SMALL)
    built = add_engines(full_bundle, tmp_path / "out", request)
    again = add_engines(built, tmp_path / "out", request, overwrite=True)
    assert read_bundle(tmp_path / "out").manifest == again.manifest
    plans = {artifact.path: artifact for artifact in again.manifest.artifacts if artifact.kind == "tensorrt-rtx"}
    assert {tuple(plan.details["compute_capabilities"]) for plan in plans.values()} == set(targets)
    assert all("-".join(plan.details["compute_capabilities"]) in path for path, plan in plans.items())
    assert len(plans) == len(again.manifest.artifacts) - len(full_bundle.manifest.artifacts) == 2 * len(targets)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["files"].keys() >= plans.keys()
    if not find_gpus():  # they cannot run here
        assert all(again.manifest.verification[path] == [] for path in plans)
