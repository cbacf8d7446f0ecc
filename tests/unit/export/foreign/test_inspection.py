"""Files of other projects are refused before anything runs if they could do harm or cannot run everywhere."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.fakes import foreign as networks
from tests.fakes.foreign import change_model
from wavepaint.errors import ForeignModelError
from wavepaint.export.foreign.inspection import read_foreign


def add_branch(model: onnx.ModelProto) -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["output"], ["same"])], "b", [], [helper.make_tensor_value_info("same", 1, None)]
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    model.graph.node.append(helper.make_node("If", ["always"], ["chosen"], then_branch=branch, else_branch=branch))


def add_operator(operator: str, domain: str = "") -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node(operator, ["output"], ["more"], domain=domain))
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def keep_outside(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location

    return change


def set_versions(ir: int, opset: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.ir_version, model.opset_import[0].version = ir, opset

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add_branch, r"has control flow \(If\)"),
        (add_operator("FusedConv", "com.microsoft"), r"not ONNX's own \(com.microsoft.FusedConv\)"),
        (add_operator("RandomNormalLike"), r"random operators.*\(RandomNormalLike\). Export it with constant noise"),
        (add_operator("NoSuchOperator"), r"is not a valid ONNX file: .*NoSuchOperator"),
        (keep_outside("../secret"), r"keeps weights in '../secret', outside of its folder"),
        (keep_outside("/etc/passwd"), r"keeps weights in '/etc/passwd', outside of its folder"),
        (keep_outside("link"), r"keeps weights in 'link', outside of its folder"),
        (keep_outside("absent"), r"keeps weights in absent, which is missing"),
        (keep_outside("short"), r"is not a valid ONNX file: .*too small"),
        (set_versions(99, 17), r"has IR version 99: expected 1 to \d+"),
        (set_versions(8, 999), r"has opset 999: expected 1 to \d+"),
        (lambda model: model.graph.ClearField("node"), r"is not an ONNX file: it has no network"),
    ],
)
def test_a_file_that_could_do_harm_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    monkeypatch.setattr(ort, "InferenceSession", lambda *arguments, **options: pytest.fail("it ran"))
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(4096))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "short").write_bytes(b"1")
    path = change_model(networks.write_lama(folder / "net.onnx"), change)
    with pytest.raises(ForeignModelError, match=message) as refused:
        read_foreign(path)
    assert "\n" not in str(refused.value)


def test_a_function_that_reads_another_file_is_refused(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        tensor = numpy_helper.from_array(np.zeros(4, np.float32), "secret")
        keep_outside("../secret")(SimpleNamespace(graph=SimpleNamespace(initializer=[tensor])))
        body = [helper.make_node("Constant", [], ["y"], value=tensor)]
        model.functions.append(helper.make_function("own", "Read", ["x"], ["y"], body, [helper.make_opsetid("", 17)]))
        add_operator("Read", "own")(model)

    path = change_model(networks.write_lama(tmp_path / "net.onnx"), change)
    with pytest.raises(ForeignModelError, match="keeps weights in '../secret', outside of its folder"):
        read_foreign(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a checkpoint", b"\x89PNG\r\n\x1a\n", bytes(range(256)) * 9])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ForeignModelError, match="is not an ONNX file"):
        read_foreign(tmp_path / "net.onnx")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = networks.write_lama(tmp_path / "net.onnx")
    content = path.read_bytes()
    for length in range(1, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(ForeignModelError):
            read_foreign(path)
