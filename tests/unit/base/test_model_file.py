"""External data in ONNX files is found wherever a tensor can be, before any engine opens the file."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import GraphProto, ModelProto, TensorProto, helper

from tests.hostile.manifests import make_model, write_small_bundle
from wavepaint import Inpainter, model_file
from wavepaint.contract import MANIFEST_NAME, Artifact, Model, default_bundle_folder, describe_files, read_bundle
from wavepaint.errors import BundleError, EngineError
from wavepaint.model_file import check_model_file, has_external_data
from wavepaint.runtime.engines.engine import EngineName, ExecutionConfig
from wavepaint.runtime.engines.registry import open_execution


def external() -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[8], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def graph_with(tensor: TensorProto) -> GraphProto:
    return helper.make_graph([], "inner", [], [], [tensor])


def model_with(*nodes: onnx.NodeProto, tensors: tuple[TensorProto, ...] = ()) -> ModelProto:
    return helper.make_model(helper.make_graph(nodes, "outer", [], [], tensors))


def attribute(kind: str, value: object) -> ModelProto:
    node = helper.make_node("Odd", ["x"], ["y"])
    node.attribute.append(helper.make_attribute(kind, value))
    return model_with(node)


def sparse() -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(
        values=external(), indices=TensorProto(name="i", data_type=TensorProto.INT64, dims=[0])
    )


def training_info() -> ModelProto:
    model = model_with()
    model.training_info.add(algorithm=graph_with(external()))
    return model


def function() -> ModelProto:
    model = model_with()
    inner = model.functions.add(name="f", domain="d")
    inner.node.append(helper.make_node("Constant", [], ["c"], value=external()))
    return model


def sparse_initializer() -> ModelProto:
    model = model_with()
    model.graph.sparse_initializer.append(sparse())
    return model


def deep() -> ModelProto:
    graph = graph_with(external())
    for _ in range(30):
        graph = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=graph)], "g", [], [])
    return helper.make_model(graph)


def location_without_entry() -> ModelProto:
    return model_with(tensors=(TensorProto(name="w", data_location=TensorProto.EXTERNAL),))


def entry_without_location() -> ModelProto:
    tensor = external()
    tensor.ClearField("data_location")
    return model_with(tensors=(tensor,))


@pytest.mark.parametrize(
    "make",
    [
        lambda: model_with(tensors=(external(),)),
        lambda: model_with(helper.make_node("Constant", [], ["c"], value=external())),
        lambda: attribute("tensors", [external()]),
        lambda: attribute("graph", graph_with(external())),
        lambda: attribute("graphs", [graph_with(external())]),
        lambda: attribute("sparse", sparse()),
        lambda: attribute("sparses", [sparse()]),
        sparse_initializer,
        training_info,
        function,
        deep,
        location_without_entry,
        entry_without_location,
    ],
)
def test_external_data_is_found_wherever_a_tensor_can_be(tmp_path: Path, make: Callable[[], ModelProto]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make().SerializeToString())
    assert has_external_data(path)
    with pytest.raises(EngineError, match="external data"):
        check_model_file(path)


def test_every_field_that_can_contain_a_tensor_is_followed() -> None:
    """Compare with onnx's own description of the format, which later versions may extend."""

    def contains_tensor(message: object, seen: frozenset[str] = frozenset()) -> bool:
        name = message.name
        return name == "TensorProto" or any(
            field.message_type is not None
            and field.message_type.name not in seen
            and contains_tensor(field.message_type, seen | {name})
            for field in message.fields
        )

    file = ModelProto.DESCRIPTOR.file
    expected = {
        name: {
            field.number: field.message_type.name
            for field in message.fields
            if field.message_type is not None and contains_tensor(field.message_type)
        }
        for name, message in file.message_types_by_name.items()
        if contains_tensor(message)
    }
    assert expected == model_file._MESSAGES
    assert TensorProto.EXTERNAL_DATA_FIELD_NUMBER == model_file._EXTERNAL_DATA
    assert TensorProto.DATA_LOCATION_FIELD_NUMBER == model_file._DATA_LOCATION


def wrap(number: int, content: bytes) -> bytes:
    """Return a field of up to 127 bytes, with a tag of three bytes where fewer would do."""
    tag = number << 3 | 2
    return bytes([tag & 0x7F | 0x80, tag >> 7 | 0x80, 0, len(content)]) + content


@pytest.mark.parametrize(
    "tensor",
    [
        wrap(13, b""),
        b"\x70\x81\x80\x80\x80\x10",  # 2**32 + 1, which is EXTERNAL in 32 bits
        b"\x0b\x0c" + b"\x70\x01",  # after a group
        b"\x70\x00\x70\x01",  # given twice, the last one counts
    ],
)
def test_unusual_encodings_hide_nothing(tmp_path: Path, tensor: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x09" + wrap(7, wrap(5, tensor)) + wrap(7, b""))
    assert has_external_data(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"noise",
        b"<?xml version='1.0'?><net/>",
        b"ir_version: 8",
        b"\x08",
        b"\x80" * 11,
        b"\x3a\x7f\x00",
        b"\x3a\x02\x2a\x05",
        b"\x0b",
        b"\xff\xff\xff\xff\xff\x01\x00",
    ],
)
def test_a_file_that_cannot_be_searched_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineError, match="not a complete ONNX file") as caught:
        check_model_file(path)
    assert len(str(caught.value).splitlines()) == 1


def test_files_without_external_data_pass() -> None:
    for artifact in read_bundle(default_bundle_folder()).manifest.artifacts:
        check_model_file(default_bundle_folder() / artifact.path)


def test_text_that_looks_like_external_data_is_accepted(tmp_path: Path) -> None:
    node = helper.make_node(
        "Constant", [], ["location"], name="external_data", doc_string="j\x05location", value_floats=[0]
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(
        model_with(
            node, tensors=(helper.make_tensor("location", 1, [3], b"\x6a\x05\x70\x01" * 3, raw=True),)
        ).SerializeToString()
    )
    check_model_file(path)


def test_the_number_of_fields_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "MAX_FIELDS", 1000)
    (tmp_path / "model.onnx").write_bytes(b"\x08\x09" * 1001)
    with pytest.raises(EngineError, match="more than 1000 fields"):
        check_model_file(tmp_path / "model.onnx")


@pytest.mark.parametrize("place", ["../secret", "link", "weights.bin"])
@pytest.mark.parametrize("engine", ["ort-cpu", "openvino"])
def test_no_engine_opens_a_model_that_reads_other_files(tmp_path: Path, place: str, engine: EngineName) -> None:
    (tmp_path / "secret").write_bytes(bytes(range(12)))
    colour = TensorProto(
        name="colour", data_type=TensorProto.FLOAT, dims=[1, 3, 1, 1], data_location=TensorProto.EXTERNAL
    )
    colour.external_data.add(key="location", value=place)
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "weights.bin").write_bytes(bytes(12))
    write_small_bundle(folder, make_model(colour))
    with pytest.raises(BundleError, match=r"model.onnx keeps weights in other files \(external data\)"):
        Inpainter(folder, engine=engine)
    artifact = Artifact(path="model.onnx", kind="onnx", precision="float32")
    with pytest.raises(EngineError, match="external data"):
        open_execution(ExecutionConfig(engine, Model(folder / "model.onnx", artifact, 8), "float32"))


def test_the_source_of_a_plan_is_searched_too(tmp_path: Path) -> None:
    manifest = write_small_bundle(tmp_path)
    (tmp_path / "source.onnx").write_bytes(make_model(external()))
    manifest["files"] = describe_files(tmp_path)
    manifest["artifacts"][1]["details"]["onnx"] = "source.onnx"
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"source.onnx keeps weights in other files"):
        read_bundle(tmp_path)
