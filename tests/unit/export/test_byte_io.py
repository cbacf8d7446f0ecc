"""uint8 inputs and outputs give what the Python path gives."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.fakes.bundle import make_model
from wavepaint.contract import Bundle
from wavepaint.errors import EngineError
from wavepaint.export.byte_io import add_byte_io
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.inpainter import Inpainter


@pytest.fixture(scope="module")
def byte_session(half_bundle: Bundle) -> Iterator[OrtSession]:
    with OrtSession(make_model(half_bundle.folder / "model.uint8.onnx", io_dtype="uint8")) as session:
        yield session


@pytest.fixture(scope="module")
def inpainter(half_bundle: Bundle) -> Iterator[Inpainter]:
    with Inpainter(half_bundle.folder, engine="ort-cpu") as inpainter:
        yield inpainter


def level_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return int(np.abs(a.astype(np.int16) - b).max(initial=0))


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 999), share=st.floats(0.01, 0.9))
def test_any_size_equals_the_python_path(
    byte_session: OrtSession, inpainter: Inpainter, height: int, width: int, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = (rng.random((height, width)) < share).astype(np.uint8) * np.uint8(255)
    filled = byte_session.run(image[None], mask[None, ..., None])[0]
    assert filled.dtype == np.uint8
    assert np.array_equal(filled[mask == 0], image[mask == 0])
    if mask.any() and not mask.all():
        # At these sizes the Python path runs the whole image as one region, as the graph does.
        assert level_difference(filled, np.asarray(inpainter.fill(image, mask))) <= 1


def test_every_level_of_a_mask_is_known_or_hole(byte_session: OrtSession) -> None:
    image = np.full((1, 16, 16, 3), 200, np.uint8)
    mask = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    clean = np.where(mask >= 128, np.uint8(255), np.uint8(0))
    assert np.array_equal(byte_session.run(image, mask), byte_session.run(image, clean))


def test_a_batch_equals_its_images(byte_session: OrtSession, photo: np.ndarray, hole: np.ndarray) -> None:
    images = np.stack([photo[:100, :130], photo[100:200, 50:180]])
    masks = np.stack([hole[90:190, 150:280], hole[60:160, 180:310]])[..., None].astype(np.uint8) * np.uint8(255)
    together = byte_session.run(images, masks)
    for index in range(2):
        alone = byte_session.run(images[index : index + 1], masks[index : index + 1])
        assert level_difference(together[index], alone[0]) <= 1


def test_content_of_the_hole_does_not_matter(byte_session: OrtSession, photo: np.ndarray, hole: np.ndarray) -> None:
    image, mask = photo[None, :160, :320], hole[None, :160, :320, None].astype(np.uint8) * np.uint8(255)
    spoilt = np.where(mask > 0, np.uint8(17), image)
    assert np.array_equal(byte_session.run(image, mask), byte_session.run(spoilt, mask))


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), np.zeros((1, 8, 8, 1), np.uint8), "image has dtype float32"),
        (np.zeros((1, 3, 8, 8), np.uint8), np.zeros((1, 8, 8, 1), np.uint8), r"expected \(N, H, W, 3\)"),
        (np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 8, 9, 1), np.uint8), "differ in batch, height or width"),
    ],
)
def test_tensors_that_break_the_contract_are_named(
    byte_session: OrtSession, image: np.ndarray, mask: np.ndarray, message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        byte_session.run(image, mask)


def test_inputs_and_outputs_match_the_contract(half_bundle: Bundle) -> None:
    model = onnx.load(half_bundle.folder / "model.fp16.uint8.onnx")
    onnx.checker.check_model(model, full_check=True)
    for value, channels in ((model.graph.input[0], 3), (model.graph.input[1], 1), (model.graph.output[0], 3)):
        kind = value.type.tensor_type
        assert kind.elem_type == onnx.TensorProto.UINT8
        assert [d.dim_param or d.dim_value for d in kind.shape.dim] == ["N", "H", "W", channels]
    declared = half_bundle.manifest.contract["uint8"]["inputs"]
    assert [(entry["name"], entry["dtype"], entry["shape"][-1]) for entry in declared] == [
        ("image", "uint8", 3),
        ("mask", "uint8", 1),
    ]


def test_model_for_any_size_is_not_padded(tmp_path: Path) -> None:
    node = onnx.helper.make_node
    make = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node("Add", ["image", "mask"], ["image_out"])],
        "brighten",
        [make(name, onnx.TensorProto.FLOAT, ["N", c, "H", "W"]) for name, c in (("image", 3), ("mask", 1))],
        [make("image_out", onnx.TensorProto.FLOAT, ["N", 3, "H", "W"])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(add_byte_io(model, 1, "symmetric"), tmp_path / "any.onnx")
    mask = np.zeros((1, 3, 5, 1), np.uint8)
    mask[0, 1, 2] = 255
    with OrtSession(make_model(tmp_path / "any.onnx", io_dtype="uint8")) as session:
        output = session.run(np.full((1, 3, 5, 3), 10, np.uint8), mask)
    assert output[0, 1, 2].tolist() == [255, 255, 255]  # above 1 and so clipped
    assert (np.delete(output.reshape(15, 3), 7, axis=0) == 10).all()
