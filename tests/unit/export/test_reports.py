"""Verification reports: which engine they belong to, which are kept, and how ``auto`` uses them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.bundle import write_bundle
from wavepaint.contract import Bundle, Report
from wavepaint.export import verify
from wavepaint.export.cases import verification_cases
from wavepaint.export.verify import make_suite, merge_reports, own_suite, verify_model
from wavepaint.runtime.engines import openvino
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.registry import (
    find_engine,
    has_failed,
    is_verified,
    list_candidates,
    list_fastest,
    open_session,
)

SOURCE, ITSELF = "PyTorch 2.13.0 float32", "model.onnx in ONNX Runtime 1.31.1 CPU"
OPENVINO, ORT, CUDA = "OpenVINO 2026.4.1 CPU", "ONNX Runtime 1.31.1 CPU", "ONNX Runtime 1.31.1 CUDA"
SHA256 = "a" * 64


def report(engine: str = OPENVINO, precision: str = "float32", passed: bool = True, **more: Any) -> Report:
    device = "NVIDIA H100" if engine == CUDA or engine.startswith("TensorRT") else "CPU"
    found: Any = {
        "passed": passed,
        "required": True,
        "engine": engine,
        "device": device,
        "precision": precision,
        "weights": precision,
        "reference": SOURCE,
        "budget": {"max_error": None, "min_psnr_db": 50.0},
        "max_error": 0.0,
        "mean_error": 0.0,
        "min_psnr_hole_db": None,
        "min_ssim_hole": None,
        "num_cases": 1,
        "num_not_finite": 0,
        "known_identical": True,
        "cases": [],
        **more,
    }
    return found


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle")


def with_reports(bundle: Bundle, **reports: list[Report]) -> Bundle:
    """Return a bundle with reports of its float32 and its float16 model."""
    names = {"float32": "model.onnx", "float16": "model.fp16.onnx"}
    verification = {names[precision]: found for precision, found in reports.items()}
    return Bundle(bundle.folder, replace(bundle.manifest, verification=verification))


@pytest.mark.parametrize(
    ("label", "device", "engine"),
    [
        (ORT, "CPU", "ort-cpu"),
        (CUDA, "NVIDIA H100", "ort-cuda"),
        (CUDA, None, "ort-cuda"),  # as reports were before they told the device
        (ORT, None, "ort-cpu"),
        ("ONNX Runtime", "NVIDIA H100", "ort-cuda"),
        (OPENVINO, "CPU", "openvino"),
        ("TensorRT 11.0 NVIDIA H100", "NVIDIA H100", "tensorrt"),
        ("TensorRT-RTX 1.7 NVIDIA H100", "NVIDIA H100", "tensorrt-rtx"),
        ("TensorRT", "NVIDIA H100", "tensorrt"),
        ("", "CPU", None),
    ],
)
def test_report_belongs_to_one_engine_on_one_kind_of_device(label: str, device: str | None, engine: str | None) -> None:
    found = report(label, device=device)
    if device is None:
        del found["device"]
    assert find_engine(found) == engine


def test_failure_on_cuda_does_not_count_on_the_cpu(bundle: Bundle) -> None:
    suspect = with_reports(bundle, float32=[report(CUDA, passed=False), report(ORT)])
    assert [execution.arithmetic for execution in list_candidates(suspect, "ort-cuda")] == ["float16"]
    assert [execution.arithmetic for execution in list_candidates(suspect, "ort-cpu")] == ["float32", "float16"]


def test_reports_of_other_engines_devices_and_precisions_are_kept() -> None:
    kept = [report(ORT), report(CUDA), report(OPENVINO, "bfloat16", passed=False), report("TensorRT 10.0 NVIDIA A100")]
    new = report(OPENVINO, "float32")
    assert merge_reports(kept, [new], SHA256) == [*kept, new]


def test_report_replaces_that_of_another_version_of_its_engine() -> None:
    former, new = report("OpenVINO 2025.0 CPU"), report("OpenVINO 2026.4.1 CPU")
    assert merge_reports([former], [new], SHA256) == [new]


def test_a_comparison_with_the_bundle_itself_never_replaces_one_with_the_source() -> None:
    strong, weak = report(reference=SOURCE), report(reference=ITSELF)
    assert merge_reports([strong], [weak], SHA256) == [strong, weak]
    assert merge_reports([strong, weak], [weak], SHA256) == [strong, weak]
    assert merge_reports([weak], [strong], SHA256) == [strong]


def test_failure_stands_until_an_equally_strong_report_passes(bundle: Bundle) -> None:
    failed = report("OpenVINO 2025.0 CPU", "bfloat16", passed=False)
    weak, other = report(precision="bfloat16", reference=ITSELF), report(ORT, "bfloat16")
    model = bundle.get_model(bundle.find_artifact("onnx", "float32"))
    execution = ExecutionConfig("openvino", model, "bfloat16")
    for made in ([weak], [other], [weak, other], []):
        assert has_failed(with_reports(bundle, float32=merge_reports([failed], made, SHA256)), execution)
    merged = merge_reports([failed], [report(precision="bfloat16")], SHA256)
    assert is_verified(with_reports(bundle, float32=merged), execution)


def test_pass_on_one_gpu_replaces_failure_on_another() -> None:
    failed, passed = report(CUDA, passed=False, device="NVIDIA A100"), report(CUDA)
    assert merge_reports([failed], [passed], SHA256) == [passed]
    assert merge_reports([passed], [failed], SHA256) == [passed, failed]


def test_report_of_another_file_is_ignored(bundle: Bundle) -> None:
    of_another = report(ORT, passed=False, sha256="b" * 64)
    assert merge_reports([of_another], [], SHA256) == []
    model = bundle.get_model(bundle.find_artifact("onnx", "float32"))
    assert not has_failed(with_reports(bundle, float32=[of_another]), ExecutionConfig("ort-cpu", model, "float32"))


def test_a_model_is_not_compared_with_itself(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "verification_cases", lambda multiple, **options: verification_cases(multiple)[:2])
    model = bundle.get_model(bundle.find_artifact("onnx", "float32"))
    reports = verify_model(model, own_suite(model))
    assert "ort-cpu" not in [find_engine(found) for found in reports]
    assert all(found["sha256"] == bundle.manifest.files["model.onnx"]["sha256"] for found in reports)


def test_engine_that_fails_to_run_is_named_in_its_report(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "verification_cases", lambda multiple, **options: verification_cases(multiple)[:2])
    model = bundle.get_model(bundle.find_artifact("onnx", "float32"))
    suite = make_suite(8, lambda image, mask: image, "nothing")
    absent = model.get_sibling(replace(model.artifact, path="absent.onnx"))
    (bundle.folder / "absent.onnx").write_bytes(b"noise")
    reports = verify_model(absent, suite)
    assert (find_engine(reports[0]), reports[0]["precision"]) == ("ort-cpu", "float32")
    assert all("cannot load" in found["error"] and found["weights"] == "float32" for found in reports)


def test_auto_prefers_verified_engines(bundle: Bundle) -> None:
    pytest.importorskip("openvino")
    for engine in (ORT, OPENVINO):  # the slower and the faster one
        with open_session(with_reports(bundle, float32=[report(engine)])) as session:
            assert session.engine.split()[0] == engine.split()[0]
            assert session.arithmetic == "float32"


def test_auto_takes_other_weights_for_float32_only_where_that_was_verified(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(openvino, "cpu_precisions", lambda: ["float32"])  # else auto may prefer bfloat16
    mixed = with_reports(bundle, float32=[report()], float16=[report(weights="float16")])
    with open_session(mixed, engine="openvino") as session:
        assert (session.precision, session.weights) == ("float32", "float16")
        assert session.arithmetic == "float32 on float16 weights"
    for suspect in (with_reports(bundle, float32=[report()]), bundle):
        with open_session(suspect, engine="openvino") as session:
            assert (session.path.name, session.arithmetic) == ("model.onnx", "float32")
    exact = [
        execution.artifact.path
        for execution in list_fastest(mixed)
        if (execution.engine, execution.arithmetic) == ("openvino", "float32")
    ]
    assert exact == ["model.onnx"]
