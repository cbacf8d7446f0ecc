"""Exported networks compute what PyTorch computes, and every form becomes a TensorRT-RTX plan."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import FULL, TINY, randomise
from tests.fakes.bundle import make_model
from wavepaint.contract import Bundle
from wavepaint.export.to_onnx import export_onnx
from wavepaint.models.registry import HyperParameters, build_model
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.registry import open_session
from wavepaint.runtime.engines.tensorrt.build import build_plan
from wavepaint.runtime.engines.tensorrt.libraries import get_library
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile


@pytest.mark.parametrize("parameters", [TINY, FULL], ids=["paper", "with initial fill"])
def test_the_session_equals_pytorch_at_sizes_not_seen_in_the_export(
    request: pytest.FixtureRequest, parameters: HyperParameters
) -> None:
    bundle = request.getfixturevalue("tiny_bundle" if parameters == TINY else "half_bundle")
    model = randomise(build_model("wavepaint", parameters))
    rng = np.random.default_rng(5)
    with open_session(bundle, engine="ort-cpu") as session:
        for shape in ((1, 8, 8), (5, 8, 72), (2, 104, 40), (1, 264, 136)):
            image = rng.random((shape[0], 3, *shape[1:]), dtype=np.float32)
            mask = (rng.random((shape[0], 1, *shape[1:])) < 0.3).astype(np.float32)
            with torch.inference_mode():
                expected = model(torch.from_numpy(image), torch.from_numpy(mask)).clamp(0, 1).numpy()
            found = session.run(image, mask)
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
            known = np.broadcast_to(mask == 0, image.shape)
            assert np.array_equal(found[known], image[known])


def test_a_network_with_matches_equals_pytorch(tmp_path: Path) -> None:
    parameters = {**FULL, "match": True}
    model = randomise(build_model("wavepaint", parameters))
    export_onnx(model, 64, tmp_path / "m.onnx")
    rng = np.random.default_rng(5)
    photo = np.repeat(np.repeat(rng.random((1, 3, 24, 40), dtype=np.float32), 8, 2), 8, 3)
    mask = np.zeros((1, 1, 192, 320), np.float32)
    mask[:, :, 50:130, 90:200] = 1
    with torch.inference_mode():
        expected = model(torch.from_numpy(photo), torch.from_numpy(mask)).clamp(0, 1).numpy()
    with OrtSession(make_model(tmp_path / "m.onnx", size_multiple=64)) as session:
        np.testing.assert_allclose(session.run(photo, mask), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["model.onnx", "model.uint8.onnx", "model.fp16.onnx", "model.bf16.onnx"])
def test_tensorrt_rtx_builds_every_precision_and_io_dtype(half_bundle: Bundle, name: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (Linux x86-64 and Windows only)")
    (artifact,) = [artifact for artifact in half_bundle.manifest.artifacts if artifact.path == name]
    profiles = [Profile(max=(2, 512, 512)), Profile(min=(1, 512, 512), opt=(1, 512, 768), max=(1, 1024, 1024))]
    if name != "model.onnx":
        del profiles[1]  # each takes as long as the first
    options = PlanOptions(profiles=tuple(profiles), targets=("sm86",), workspace_mb=512, optimization_level=0)
    details = build_plan(half_bundle.get_model(artifact), tmp_path / "p", get_library("tensorrt-rtx"), options)
    assert (tmp_path / "p").stat().st_size > 10_000
    assert len(details["profiles"]) == len(profiles)
    assert details["optimization_level"] == 0
