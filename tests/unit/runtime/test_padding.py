"""Runtime and graphs with uint8 inputs pad images as the manifest says, and verification notices if they do not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.bundle import make_model
from wavepaint.contract import MANIFEST_NAME, Artifact, IoDtype, Manifest, PadMode, describe_files
from wavepaint.export.byte_io import add_byte_io
from wavepaint.export.cases import byte_cases
from wavepaint.export.verify import verify_byte_session
from wavepaint.runtime.engines.comparison import BYTE_BUDGET
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.session import Session
from wavepaint.runtime.inpainter import Inpainter

MULTIPLE = 8
MODES: tuple[PadMode, ...] = ("reflect", "symmetric")
REVERSE = """
<ir_version: 9, opset_import: ["" : 20]>
reverse (float[N,3,H,W] image, float[N,1,H,W] mask) => (float[N,3,H,W] image_out)
<int64[2] starts = {-1, -1}, int64[2] ends = {-100000, -100000}, int64[2] axes = {2, 3}, int64[2] steps = {-1, -1}>
{
    image_out = Slice(image, starts, ends, axes, steps)
}
"""
"""A network that fills an image with itself turned by 180 degrees, which makes the padding visible."""


def turn(image_HWC: np.ndarray, padding: PadMode) -> np.ndarray:
    """Return the expected fill of an image (H, W, 3)."""
    height, width = image_HWC.shape[:2]
    padded = np.pad(image_HWC, ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)), mode=padding)
    return padded[::-1, ::-1][:height, :width]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[IoDtype | PadMode, Path]:
    folder = tmp_path_factory.mktemp("reverse")
    model = onnx.parser.parse_model(REVERSE)
    onnx.save(model, folder / "float32.onnx")
    for mode in MODES:
        onnx.save(add_byte_io(model, MULTIPLE, mode), folder / f"{mode}.onnx")
    return {path.stem: path for path in folder.iterdir()}  # type: ignore[misc]


def open_bytes(engine: str, path: Path) -> Session:
    if engine == "ort":
        return OrtSession(make_model(path, io_dtype="uint8"), threads=1)
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    from wavepaint.runtime.engines.openvino import OpenVinoSession

    return OpenVinoSession(make_model(path, io_dtype="uint8"), threads=1)


@pytest.mark.parametrize("engine", ["ort", "openvino"])
@pytest.mark.parametrize("padding", MODES)
def test_the_graph_pads_any_size_as_numpy_does(padding: PadMode, engine: str, files: dict[Any, Path]) -> None:
    with open_bytes(engine, files[padding]) as session:

        @settings(max_examples=15, deadline=None)
        @given(height=st.integers(1, 40), width=st.integers(1, 40))
        def check(height: int, width: int) -> None:
            image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
            hole = np.full((1, height, width, 1), 255, np.uint8)
            assert np.array_equal(session.run(image[None], hole)[0], turn(image, padding))

        check()


@pytest.mark.parametrize(
    ("entry", "expected"), [("symmetric", "symmetric"), ("reflect", "reflect"), (None, "reflect")], ids=str
)
def test_the_runtime_pads_as_the_manifest_says_and_by_reflection_without_an_entry(
    entry: PadMode | None, expected: PadMode, files: dict[Any, Path], tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(files["float32"].read_bytes())
    manifest = Manifest(
        name="reverse",
        task="inpainting",
        architecture="wavepaint",
        hyper_parameters={},
        num_parameters=0,
        size_multiple=MULTIPLE,
        macs_per_pixel=1.0,
        activation_bytes_per_pixel=12.0,
        artifacts=[Artifact(path="model.onnx", kind="onnx", precision="float32", details={})],
        files=describe_files(tmp_path),
        source={"file": "none", "sha256": "0" * 64},
        versions={},
        verification={},
        padding=entry or "reflect",
    )
    content = json.loads(manifest.to_json())
    if entry is None:
        del content["padding"]
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(content), "utf-8")
    image = np.random.default_rng(0).integers(0, 256, (5, 19, 3), dtype=np.uint8)
    hole = np.ones((5, 19), bool)
    hole[0, 0] = False
    with Inpainter(tmp_path, engine="ort-cpu", threads=1) as inpainter:
        filled = inpainter.fill_array(image, hole)
    assert np.array_equal(filled[hole], turn(image, expected)[hole])


def test_a_graph_that_pads_unlike_the_manifest_fails_verification(files: dict[Any, Path]) -> None:
    with (
        OrtSession(make_model(files["float32"], size_multiple=MULTIPLE)) as floats,
        open_bytes("ort", files["symmetric"]) as bytes_,
    ):
        for mode in MODES:
            found = verify_byte_session(bytes_, floats, byte_cases(MULTIPLE), mode, BYTE_BUDGET)
            assert all(comparison.passed for comparison in found) == (mode == "symmetric")
