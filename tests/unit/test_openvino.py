"""OpenVINO beside ONNX Runtime: the same contract, the same numbers."""

from pathlib import Path

import numpy as np
import pytest

from wavepaint.contract import Bundle
from wavepaint.errors import EngineError
from wavepaint.export.cases import verification_cases
from wavepaint.runtime.engines import openvino as openvino_session
from wavepaint.runtime.engines.comparison import min_psnr_hole_db
from wavepaint.runtime.engines.openvino import OpenVinoSession, cpu_precisions
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.registry import ExecutionConfig, find_runnable

pytest.importorskip("openvino")
CASES = verification_cases(8)


@pytest.mark.parametrize("name", ["model.onnx", "model.fp16.onnx"])
def test_float32_equals_onnx_runtime(half_bundle: Bundle, name: str) -> None:
    path = half_bundle.folder / name
    # A float16 file rounds its intermediate results in ONNX Runtime and only its weights in OpenVINO.
    least_db = 100 if name == "model.onnx" else 60
    with OpenVinoSession(path, size_multiple=8) as openvino, OrtSession(path, size_multiple=8) as ort:
        for _, image, mask in CASES:
            found, expected = openvino.run(image, mask), ort.run(image, mask)
            assert min_psnr_hole_db(found, expected, mask) >= least_db
            known = np.broadcast_to(mask == 0, image.shape)
            assert np.array_equal(found[known], image[known])


@pytest.mark.skipif("bfloat16" not in cpu_precisions(), reason="this processor has no bfloat16")
@pytest.mark.parametrize("name", ["model.onnx", "model.bf16.onnx"])
def test_bfloat16_holds_its_budget_and_known_pixels(half_bundle: Bundle, name: str) -> None:
    with (
        OpenVinoSession(half_bundle.folder / name, size_multiple=8, precision="bfloat16") as openvino,
        OrtSession(half_bundle.folder / "model.onnx", size_multiple=8) as ort,
    ):
        assert openvino.precision == "bfloat16"
        for _, image, mask in CASES:
            found = openvino.run(image, mask)
            assert min_psnr_hole_db(found, ort.run(image, mask), mask) >= 45
            known = np.broadcast_to(mask == 0, image.shape)
            assert np.array_equal(found[known], image[known])


def test_a_precision_the_processor_lacks_is_refused(half_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_session, "cpu_precisions", lambda: ["float32"])
    with pytest.raises(EngineError, match="computes float32 on this processor, not bfloat16"):
        OpenVinoSession(half_bundle.folder / "model.onnx", size_multiple=8, precision="bfloat16")
    held = {artifact.path: artifact for artifact in half_bundle.manifest.artifacts}
    assert find_runnable(held["model.bf16.onnx"]) == []
    model = held["model.onnx"]
    assert find_runnable(model) == [
        ExecutionConfig("ort-cpu", model, "float32"),
        ExecutionConfig("openvino", model, "float32"),
    ]


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    for name in ("noise.onnx", "none.onnx"):
        with pytest.raises(EngineError, match=f"cannot load .*{name}"):
            OpenVinoSession(tmp_path / name)


def test_a_closed_session_and_no_threads_are_refused(half_bundle: Bundle) -> None:
    session = OpenVinoSession(half_bundle.folder / "model.onnx", size_multiple=8, threads=1)
    session.close()
    session.close()
    with pytest.raises(EngineError, match="is closed"):
        session.run(*CASES[0][1:])
    with pytest.raises(EngineError, match="threads is 0"):
        OpenVinoSession(half_bundle.folder / "model.onnx", size_multiple=8, threads=0)


def test_a_result_outlives_the_next_run(half_bundle: Bundle) -> None:
    _, image, mask = CASES[1]
    with OpenVinoSession(half_bundle.folder / "model.onnx", size_multiple=8) as session:
        first = session.run(image, mask)
        kept = first.copy()
        session.run(1 - image, mask)
        assert np.array_equal(first, kept)
