"""The choice of an engine: the fastest that works, or the named one, or an error that says how to fix it."""

import dataclasses
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import onnxruntime
import pytest

from tests.fakes.bundle import write_bundle
from tests.fakes.machine import set_gpus
from wavepaint.cli import export
from wavepaint.contract import Bundle
from wavepaint.errors import EngineError
from wavepaint.export.cases import verification_cases
from wavepaint.optional import make_install_command
from wavepaint.runtime.engines import ort, registry
from wavepaint.runtime.engines.engine import EngineName
from wavepaint.runtime.engines.gpus import Gpu, find_gpus
from wavepaint.runtime.engines.openvino import cpu_precisions
from wavepaint.runtime.engines.registry import (
    FASTEST_FIRST,
    find_obstacle,
    find_runnable,
    get_engine,
    list_candidates,
    list_fastest,
    open_session,
)
from wavepaint.runtime.inpainter import Inpainter

pytest.importorskip("openvino")
FASTEST = "bfloat16" if "bfloat16" in cpu_precisions() else "float32"


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    set_gpus(monkeypatch)


def test_every_engine_name_has_one_class() -> None:
    assert sorted(engine.name for engine in FASTEST_FIRST) == sorted(get_args(EngineName))


def test_auto_opens_the_fastest_engine_and_reports_it(full_bundle: Bundle, no_gpu: None) -> None:
    verified = {"engine": "OpenVINO 1.0 CPU", "precision": "float32", "passed": True, "required": True}
    reports = {"model.fp16.onnx": [verified]}
    bundle = Bundle(full_bundle.folder, dataclasses.replace(full_bundle.manifest, verification=reports))
    with open_session(bundle, precision="auto") as session:
        assert session.engine.startswith("OpenVINO")
        assert (session.precision, session.path.name) == ("float32", "model.fp16.onnx")
        assert session.arithmetic == "float32 on float16 weights"
        _, image, mask = verification_cases(8)[1]
        assert session.run(image, mask).shape == image.shape
    with open_session(full_bundle) as session:  # without a report the fastest arithmetic comes first
        assert (session.engine.split()[0], session.precision) == ("OpenVINO", FASTEST)
    with Inpainter(full_bundle.folder, precision="float32") as inpainter:
        assert inpainter.engine.endswith("CPU float32")


def test_auto_skips_an_engine_that_is_not_installed(
    full_bundle: Bundle, no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with open_session(full_bundle) as session:
        assert session.engine.startswith("ONNX Runtime")
        assert session.precision == "float32"


def test_without_any_engine_the_error_lists_every_reason(
    full_bundle: Bundle, no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError) as caught:
        open_session(full_bundle)
    for extra in ("cpu", "openvino"):  # without a GPU its engines are not tried
        assert make_install_command(extra) in str(caught.value)


@pytest.mark.parametrize(
    ("engine", "precision", "label", "file"),
    [
        ("ort-cpu", "auto", "float32", "model.onnx"),
        ("ort-cpu", "float16", "float16", "model.fp16.onnx"),
        ("openvino", "float32", "float32", "model.onnx"),
        ("auto", "float32", "float32", "model.onnx"),
        ("auto", "float16", "float16", "model.fp16.onnx"),
    ],
)
def test_the_requested_engine_and_precision_run(
    full_bundle: Bundle, no_gpu: None, engine: Any, precision: Any, label: str, file: str
) -> None:
    with open_session(full_bundle, engine=engine, precision=precision) as session:
        assert session.precision == session.weights == label
        assert session.path.name == file


def test_a_precision_that_the_bundle_lacks_is_answered_with_the_export_that_adds_it(
    no_gpu: None, tmp_path: Path
) -> None:
    bundle = write_bundle(tmp_path / "my model", precisions=("float32", "bfloat16"))
    with pytest.raises(EngineError) as caught:
        open_session(bundle, precision="float16")
    command = " wp export convolution.pt -o 'my model-float16' --fp16 --bf16"
    assert str(caught.value).endswith(f"has no model for openvino or ort-cpu in float16; it has float32, bfloat16. "
                                      f"Export its checkpoint in that precision:{command}")  # fmt: skip
    (tmp_path / "convolution.pt").touch()
    beside = tmp_path.resolve() / "convolution.pt"
    command = command.strip().replace("convolution.pt", str(beside))
    assert bundle.suggest_export("float16") == command
    arguments = export.command.make_context("wp export", shlex.split(command)[2:]).params
    assert arguments["source"] == beside
    assert arguments["fp16"]
    assert arguments["bf16"]


def test_an_impossible_request_is_refused(full_bundle: Bundle, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    float32_only = write_bundle(tmp_path / "float32", precisions=("float32",))
    with pytest.raises(EngineError, match="has no model for ort-cpu in bfloat16, which is computed only in openvino, "):
        open_session(full_bundle, engine="ort-cpu", precision="bfloat16")
    with pytest.raises(EngineError, match="has no model for ort-cpu in float16; it has float32.*wp export"):
        open_session(float32_only, engine="ort-cpu", precision="float16")
    with pytest.raises(EngineError, match=r"OpenVINO .* computes float32.* not float16: --engine ort-cpu computes"):
        open_session(full_bundle, engine="openvino", precision="float16")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match="openvino is not installed.*" + re.escape(make_install_command("openvino"))):
        open_session(full_bundle, engine="openvino")


def test_auto_skips_models_that_failed_verification(full_bundle: Bundle, no_gpu: None) -> None:
    failed = {"engine": "OpenVINO 1.0 CPU", "precision": "bfloat16", "passed": False}
    verification = {artifact.path: [failed] for artifact in full_bundle.manifest.artifacts}
    suspect = Bundle(full_bundle.folder, dataclasses.replace(full_bundle.manifest, verification=verification))
    with open_session(suspect) as session:
        assert (session.engine.split()[0], session.precision) == ("OpenVINO", "float32")
    assert list_candidates(suspect, "openvino", "bfloat16")  # a named precision is not skipped


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)
def test_an_onnx_runtime_without_cuda_names_the_fix(full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        EngineError, match="has no CUDA.*uninstall -y onnxruntime && " + re.escape(make_install_command("gpu"))
    ):
        open_session(full_bundle, engine="ort-cuda")
    monkeypatch.setattr(ort, "find_packages", lambda: ["onnxruntime", "onnxruntime-gpu"])
    with pytest.raises(EngineError, match="both installed and overwrite each other's files"):
        open_session(full_bundle, engine="ort-cuda")


def test_onnx_runtime_that_fell_back_to_the_cpu_is_refused(
    full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall_back(path: str, options: Any, providers: list[str]) -> Any:
        names = [SimpleNamespace(name=name) for name in ("image", "mask", "image_out")]
        return SimpleNamespace(
            get_inputs=lambda: names[:2],
            get_outputs=lambda: names[2:],
            get_providers=lambda: ["CPUExecutionProvider"],
        )

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", fall_back)
    with pytest.raises(EngineError, match="fell back from CUDAExecutionProvider to CPUExecutionProvider"):
        open_session(full_bundle, engine="ort-cuda")


def test_every_engine_and_arithmetic_is_listed_once(full_bundle: Bundle) -> None:
    executions = [
        (execution.engine, execution.arithmetic, execution.artifact.path) for execution in list_fastest(full_bundle)
    ]
    assert executions == [
        ("ort-cpu", "float32", "model.onnx"),
        ("ort-cpu", "float16", "model.fp16.onnx"),
        ("ort-cuda", "float32", "model.onnx"),
        ("ort-cuda", "float16", "model.fp16.onnx"),
        ("openvino", "float32", "model.onnx"),
        ("openvino", "bfloat16", "model.fp16.onnx"),
        ("tensorrt", "float32", "model.onnx"),
        ("tensorrt", "float16", "model.fp16.onnx"),
        ("tensorrt", "bfloat16", "model.bf16.onnx"),
        ("tensorrt-rtx", "float32", "model.onnx"),
        ("tensorrt-rtx", "float16", "model.fp16.onnx"),
        ("tensorrt-rtx", "bfloat16", "model.bf16.onnx"),
    ]


def test_auto_tries_gpu_engines_only_with_a_gpu(full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def fail(execution: Any, **_: Any) -> None:
        tried.append(execution.engine)
        raise EngineError("not here")

    monkeypatch.setattr(registry, "open_execution", fail)
    set_gpus(monkeypatch)
    with pytest.raises(EngineError):
        open_session(full_bundle)
    assert set(tried) == {"openvino", "ort-cpu"}
    tried.clear()
    set_gpus(monkeypatch, Gpu("GPU", "sm90", 80_000))
    with pytest.raises(EngineError):
        open_session(full_bundle)
    assert list(dict.fromkeys(tried)) == ["tensorrt", "tensorrt-rtx", "ort-cuda", "openvino", "ort-cpu"]


def test_a_model_that_no_engine_here_runs_has_an_obstacle(
    full_bundle: Bundle, no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {artifact.path: full_bundle.get_model(artifact) for artifact in full_bundle.manifest.artifacts}
    assert find_obstacle(models["model.onnx"]) == ""
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert make_install_command("openvino") in find_obstacle(models["model.bf16.onnx"])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert find_runnable(models["model.onnx"]) == []
    assert make_install_command("cpu") in find_obstacle(models["model.onnx"])


def test_cuda_without_a_gpu_has_an_obstacle(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert "no NVIDIA driver or GPU" in get_engine("ort-cuda").find_obstacle()


@pytest.mark.skipif(find_gpus() != [], reason="needs a machine without an NVIDIA GPU")
@pytest.mark.parametrize("engine", ["tensorrt", "tensorrt-rtx"])
def test_tensorrt_without_a_gpu_names_the_fix_once(full_bundle: Bundle, engine: Any) -> None:
    with pytest.raises(EngineError) as caught:
        open_session(full_bundle, engine=engine)
    assert str(caught.value).count(make_install_command(engine)) == 1
    assert "no driver or GPU was found" in str(caught.value)
    assert "tensorrt" not in sys.modules
