"""Plans are compared with the float32 model before they are cached or written, if they can run here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes import tensorrt
from tests.fakes.bundle import write_bundle, write_model
from tests.fakes.machine import Machine
from wavepaint.contract import Bundle, Model, read_bundle
from wavepaint.errors import EngineError, VerificationError, WavePaintWarning
from wavepaint.export import plans as engine_module
from wavepaint.export import verify
from wavepaint.export.cases import verification_cases
from wavepaint.export.plans import EngineRequest, add_engines
from wavepaint.runtime.engines import gpus
from wavepaint.runtime.engines.registry import open_session
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile

PROFILE = Profile(min=(1, 8, 8), opt=(1, 64, 64), max=(2, 256, 256))


@pytest.fixture
def bundle(machine: Machine, tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def host(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The simulated machine for ``wp export``, with few verification cases."""
    monkeypatch.setattr(engine_module, "build_plan", machine.build_plan)
    monkeypatch.setattr(engine_module, "find_gpus", gpus.find_gpus)
    monkeypatch.setattr(verify, "verification_cases", lambda multiple, **options: verification_cases(multiple)[:2])
    return machine


def build_wrong(machine: Machine, folder: Path) -> None:
    """Let the machine build plans of another model than the given one."""
    write_model(folder / "wrong.onnx", scale=1.5)

    def build(model: Model, plan: Path, *arguments: Any, **callbacks: Any) -> dict[str, Any]:
        details = tensorrt.build_plan(model, plan, *arguments, **callbacks)
        profiles = [tuple(profile.values()) for profile in details["profiles"]]
        tensorrt.write_plan(plan, folder / "wrong.onnx", "float32", profiles)
        return details

    machine.build = build


def list_cached_plans(tmp_path: Path) -> list[Path]:
    return [*(tmp_path / "cache").glob("plans/*")]


def test_a_correct_plan_is_cached_and_auto_uses_it(bundle: Bundle, machine: Machine, tmp_path: Path) -> None:
    with pytest.warns(WavePaintWarning, match="is built now"):
        open_session(bundle, engine="tensorrt").close()
    assert len(list_cached_plans(tmp_path)) == 1
    with open_session(bundle) as session:
        assert session.engine.startswith("TensorRT 11.0")
    assert len(machine.builds) == 1
    machine.require_all_freed()


@pytest.mark.filterwarnings("ignore:.*is built now")
def test_a_wrong_plan_is_not_cached(bundle: Bundle, machine: Machine, tmp_path: Path) -> None:
    build_wrong(machine, tmp_path)
    with pytest.raises(EngineError, match="the new plan is wrong and not cached: TensorRT .* differs from"):
        open_session(bundle, engine="tensorrt", precision="float32")
    assert list_cached_plans(tmp_path) == []
    with open_session(bundle) as session:
        assert session.engine.endswith("CPU")
    machine.require_all_freed()


def test_export_verifies_plans_that_fit_this_machine(bundle: Bundle, host: Machine, tmp_path: Path) -> None:
    request = EngineRequest(libraries=("tensorrt",), required=True, options=PlanOptions(profiles=(PROFILE,)))
    built = add_engines(bundle, tmp_path / "out", request)
    (plan,) = [artifact for artifact in built.manifest.artifacts if artifact.kind == "tensorrt"]
    (report,) = read_bundle(tmp_path / "out").manifest.verification[plan.path]
    assert report["passed"]
    assert (report["device"], report["precision"]) == ("Simulated GPU", "float16")
    assert report["sha256"] == built.manifest.files[plan.path]["sha256"]
    host.require_all_freed()


def test_export_writes_no_wrong_plan(bundle: Bundle, host: Machine, tmp_path: Path) -> None:
    right = EngineRequest(libraries=("tensorrt",), required=True, options=PlanOptions(profiles=(PROFILE,)))
    former = add_engines(bundle, tmp_path / "former", right)
    build_wrong(host, tmp_path)
    with pytest.raises(VerificationError, match="TensorRT 11.0 .* differs from model.onnx in ONNX Runtime"):
        add_engines(former, tmp_path / "out", right)
    assert not (tmp_path / "out").exists()
    reasons: list[str] = []
    with pytest.raises(EngineError, match="no engine could be built"):
        add_engines(
            former,
            tmp_path / "out",
            EngineRequest(libraries=("tensorrt",), options=right.options),
            on_skip=lambda library, reason: reasons.append(reason),
        )
    assert "differs from model.onnx" in reasons[0]


def test_auto_compares_a_bundled_plan_without_a_report(
    bundle: Bundle, host: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wrong(host, tmp_path)
    monkeypatch.setattr(engine_module, "find_runnable", lambda plan: [])  # as if the plan were for another GPU
    request = EngineRequest(libraries=("tensorrt",), required=True, options=PlanOptions(profiles=(PROFILE,)))
    built = add_engines(bundle, tmp_path / "out", request)
    with open_session(built) as session:
        assert session.engine.endswith("CPU")
    image, mask = np.zeros((1, 3, 64, 64), np.float32), np.ones((1, 1, 64, 64), np.float32)
    with open_session(built, engine="tensorrt", precision="float16") as session:  # a named engine is not skipped
        assert session.run(image, mask).shape == image.shape
