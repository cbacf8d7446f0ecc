"""Choosing an engine: the fastest that really works, what was asked for or an error that mends it, never a lie."""

import dataclasses
import sys
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from wavepaint.contract import Bundle
from wavepaint.errors import EngineError
from wavepaint.export.cases import verification_cases
from wavepaint.runtime.engines import ort as ort_session
from wavepaint.runtime.engines import registry as engines
from wavepaint.runtime.engines.gpus import Gpu, find_gpus
from wavepaint.runtime.engines.openvino import cpu_precisions
from wavepaint.runtime.engines.registry import list_candidates, list_fastest, open_session
from wavepaint.runtime.inpainter import Inpainter

pytest.importorskip("openvino")
FASTEST = "bfloat16" if "bfloat16" in cpu_precisions() else "float32"


def test_auto_takes_the_fastest_that_works_and_says_which(half_bundle: Bundle) -> None:
    with open_session(half_bundle) as session:
        assert session.engine.startswith("OpenVINO")
        assert session.precision == FASTEST
        assert session.path.name == "model.fp16.onnx"  # the form OpenVINO runs fastest
        _, image, mask = verification_cases(8)[1]
        assert session.run(image, mask).shape == image.shape
    with Inpainter(half_bundle.folder) as inpainter:
        assert inpainter.engine.startswith("OpenVINO")
        assert inpainter.engine.endswith(f"CPU {FASTEST} on float16 weights")
    with Inpainter(half_bundle.folder, precision="float32") as inpainter:
        assert inpainter.engine.endswith("CPU float32")


def test_auto_goes_on_to_what_is_installed(half_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with open_session(half_bundle) as session:
        assert session.engine.startswith("ONNX Runtime")
        assert session.precision == "float32"


def test_without_any_engine_every_reason_is_told(half_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError) as caught:
        open_session(half_bundle)
    for extra in ("cpu", "openvino"):  # without a GPU its engines are not even tried
        assert f'pip install "wavepaint[{extra}]"' in str(caught.value)


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
def test_what_is_asked_for_is_run(half_bundle: Bundle, engine: Any, precision: Any, label: str, file: str) -> None:
    with open_session(half_bundle, engine=engine, precision=precision) as session:
        assert session.precision == session.weights == label
        assert session.path.name == file


def test_what_cannot_be_honoured_fails(
    tiny_bundle: Bundle, half_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match="holds no model for ort-cpu in bfloat16"):
        open_session(half_bundle, engine="ort-cpu", precision="bfloat16")
    with pytest.raises(EngineError, match="holds no model for ort-cpu in float16"):
        open_session(tiny_bundle, engine="ort-cpu", precision="float16")
    with pytest.raises(EngineError, match=r"OpenVINO .* computes float32.* not float16: --engine ort-cpu computes"):
        open_session(half_bundle, engine="openvino", precision="float16")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r'openvino is not installed.*pip install "wavepaint\[openvino\]"'):
        open_session(half_bundle, engine="openvino")


def test_what_failed_verification_is_not_chosen(half_bundle: Bundle) -> None:
    failed = {"engine": "OpenVINO 1.0 CPU", "precision": "bfloat16", "passed": False}
    verification = {path: [failed] for path in half_bundle.manifest.verification}
    manifest = dataclasses.replace(half_bundle.manifest, verification=verification)
    suspect = Bundle(half_bundle.folder, manifest)
    with open_session(suspect) as session:
        assert (session.engine.split()[0], session.precision) == ("OpenVINO", "float32")
    # A person who asks for it gets it.
    assert list_candidates(suspect, "openvino", "bfloat16")


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)
def test_cuda_that_is_not_there_names_the_command(half_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r'has no CUDA.*uninstall -y onnxruntime && pip install "wavepaint\[gpu\]"'):
        open_session(half_bundle, engine="ort-cuda")
    monkeypatch.setattr(ort_session, "find_packages", lambda: ["onnxruntime", "onnxruntime-gpu"])
    with pytest.raises(EngineError, match="both installed and overwrite each other's files"):
        open_session(half_bundle, engine="ort-cuda")


def test_a_provider_that_fell_back_is_an_error(half_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall_back(path: str, options: Any, providers: list[str]) -> Any:
        names = [SimpleNamespace(name=name) for name in ("image", "mask", "image_out")]
        return SimpleNamespace(
            get_inputs=lambda: names[:2],
            get_outputs=lambda: names[2:],
            get_providers=lambda: ["CPUExecutionProvider"],
        )

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", fall_back)
    with pytest.raises(EngineError, match="fell back to CPUExecutionProvider where CUDAExecutionProvider was asked"):
        open_session(half_bundle, engine="ort-cuda")


def test_every_engine_and_arithmetic_is_listed_once(half_bundle: Bundle) -> None:
    executions = [
        (execution.engine, execution.arithmetic, execution.artifact.path) for execution in list_fastest(half_bundle)
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


def test_without_a_gpu_auto_imports_nothing_for_one(half_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_gpus", list)
    tried: list[str] = []
    monkeypatch.setattr(
        engines, "open_execution", lambda execution, *_, **__: tried.append(execution.engine) or _fail()
    )
    with pytest.raises(EngineError):
        open_session(half_bundle)
    assert set(tried) == {"openvino", "ort-cpu"}
    tried.clear()
    monkeypatch.setattr(engines, "find_gpus", lambda: [Gpu("GPU", "sm90", 80_000)])
    with pytest.raises(EngineError):
        open_session(half_bundle)
    assert list(dict.fromkeys(tried)) == ["tensorrt", "tensorrt-rtx", "ort-cuda", "openvino", "ort-cpu"]


def _fail() -> None:
    raise EngineError("not here")


@pytest.mark.skipif(find_gpus() != [], reason="needs a machine without an NVIDIA GPU")
@pytest.mark.parametrize("engine", ["tensorrt", "tensorrt-rtx"])
def test_tensorrt_without_a_gpu_names_the_command_once(half_bundle: Bundle, engine: Any) -> None:
    with pytest.raises(EngineError) as caught:
        open_session(half_bundle, engine=engine)
    assert str(caught.value).count(f'pip install "wavepaint[{engine}]"') == 1
    assert "no driver or GPU was found" in str(caught.value)
    assert "tensorrt" not in sys.modules
