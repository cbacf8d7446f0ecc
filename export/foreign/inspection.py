"""Read an ONNX file of another project, and refuse what could do harm or cannot run everywhere. Nothing is executed."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, external_data_helper, helper, inliner

from wavepaint.contract.manifest import MAX_FILE_BYTES
from wavepaint.errors import ForeignModelError, printable
from wavepaint.model_file import has_external_data

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators whose results differ from run to run."""

_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
_STANDARD = ("", "ai.onnx")
_SHOWN = 3


@dataclass(frozen=True)
class Tensor:
    """An input or an output.

    Attributes:
        name: Its name.
        dtype: numpy's name of its type.
        shape: A number for a fixed side, a name or "?" for one that varies; None if the file does not say.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None

    def __str__(self) -> str:
        sides = "of unknown shape" if self.shape is None else f"({', '.join(map(str, self.shape))})"
        return f"{printable(self.name)} {self.dtype} {sides}"


@dataclass(frozen=True)
class ForeignModel:
    """A checked file.

    Attributes:
        path: The file.
        sha256: Its hash.
        content: The file's bytes, with its external data inside.
        model: The parsed file, with functions inlined.
        inputs: Its inputs, without initializers.
        outputs: Its outputs.
    """

    path: Path
    sha256: str
    content: bytes = field(repr=False)
    model: ModelProto = field(repr=False)
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def describe(self) -> str:
        """Return the inputs and outputs in words."""
        inputs, outputs = (", ".join(map(str, tensors)) or "nothing" for tensors in (self.inputs, self.outputs))
        return f"{printable(self.path)} takes {inputs} and returns {outputs}"


def read_foreign(path: Path) -> ForeignModel:
    """Read and check a file.

    Raises:
        ForeignModelError: It is not an ONNX file, is too large or too new, keeps weights outside of its folder, or has
            control flow, randomness or operators of another domain.
    """
    content, is_divided = _read(path)
    model = _parse(path, content)
    sha256 = hashlib.sha256(content).hexdigest()
    _check_versions(path, model)
    del model.training_info[:]
    if is_divided:
        _embed(path, model)
        content = model.SerializeToString()
    if model.functions:
        model = inliner.inline_local_functions(model)
    _check_operators(path, model)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_describe(value) for value in model.graph.input if value.name not in constants)
    outputs = tuple(map(_describe, model.graph.output))
    _forget_shapes(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ForeignModelError(f"{printable(path)} is not a valid ONNX file: {find_reason(error)}.") from error
    return ForeignModel(path, sha256, content, model, inputs, outputs)


def _read(path: Path) -> tuple[bytes, bool]:
    """Return a file's bytes, and whether it keeps weights in other files (external data)."""
    if not path.is_file():
        problem = "is not a file" if path.exists() else "does not exist"
        raise ForeignModelError(f"{printable(path)} {problem}. Expected an ONNX file.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ForeignModelError(
            f"{printable(path)} has {path.stat().st_size / 1e9:.1f} GB: expected at most {MAX_FILE_BYTES >> 30} GiB."
        )
    try:
        is_divided = has_external_data(path)
    except ValueError as error:
        raise ForeignModelError(
            f"{printable(path)} is not an ONNX file ({error}). wp export takes checkpoints of PyTorch."
        ) from error
    return path.read_bytes(), is_divided


def _parse(path: Path, content: bytes) -> ModelProto:
    try:
        model: ModelProto = ModelProto.FromString(content)
    except DecodeError as error:
        raise ForeignModelError(f"{printable(path)} is not an ONNX file. wp export takes checkpoints.") from error
    if not model.graph.node or not model.graph.output:
        raise ForeignModelError(f"{printable(path)} is not an ONNX file: it has no network.")
    return model


def _check_versions(path: Path, model: ModelProto) -> None:
    opset = next((one.version for one in model.opset_import if one.domain in _STANDARD), 0)
    newest = onnx.defs.onnx_opset_version()
    for name, found, limit in (("IR version", model.ir_version, onnx.IR_VERSION), ("opset", opset, newest)):
        if not 1 <= found <= limit:
            raise ForeignModelError(
                f"{printable(path)} has {name} {found}: expected 1 to {limit}. Save it with an older version, or "
                "update the package onnx."
            )


def _walk_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield nodes, and those of the graphs inside them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _walk_nodes(graph.node)


def _walk_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every tensor in a graph."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _walk_node_tensors(graph.node)


def _walk_node_tensors(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from ([attribute.t] if attribute.HasField("t") else [])
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _walk_tensors(inner)


def _embed(path: Path, model: ModelProto) -> None:
    """Read the weights that a file keeps in others beside it.

    Raises:
        ForeignModelError: A file lies outside of the model's folder, is missing or too short, or is too large.
    """
    folder = path.parent.resolve()
    functions = (_walk_node_tensors(function.node) for function in model.functions)
    tensors = [*_walk_tensors(model.graph), *chain.from_iterable(functions)]
    total = len(model.SerializeToString())
    for tensor in tensors:
        if not external_data_helper.uses_external_data(tensor):
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        names = PurePosixPath(location.replace("\\", "/"))
        target = folder / names
        if not location or names.is_absolute() or ".." in names.parts or not _lies_inside(target, folder):
            raise ForeignModelError(
                f"{printable(path)} keeps weights in {printable(repr(location))}, outside of its folder (external "
                "data): it could read any file on this machine. Save the model as one file."
            )
        if not target.is_file():
            raise ForeignModelError(
                f"{printable(path)} keeps weights in {printable(location)}, which is missing. Put it into {folder}."
            )
        length = entries.get("length", "")
        total += int(length) if length.isdecimal() else target.stat().st_size
        if total > MAX_FILE_BYTES:
            raise ForeignModelError(
                f"{printable(path)} and its weights have {total / 1e9:.1f} GB: expected at most "
                f"{MAX_FILE_BYTES >> 30} GiB."
            )
    try:
        external_data_helper.load_external_data_for_model(model, str(folder))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ForeignModelError(f"{printable(path)}: its weights cannot be read: {find_reason(error)}.") from error
    for tensor in tensors:
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _lies_inside(target: Path, folder: Path) -> bool:
    """Return whether a path leads into a folder, links resolved."""
    try:
        return target.resolve().is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):
        return False


def _check_operators(path: Path, model: ModelProto) -> None:
    """Refuse control flow, other domains and randomness."""
    for problem, found, advice in (
        (
            "control flow",
            [node for node in model.graph.node if any(one.type in _GRAPHS for one in node.attribute)],
            "Export it by tracing at one size, and simplify it (onnxsim)",
        ),
        (
            "operators that are not ONNX's own",
            [node for node in _walk_nodes(model.graph.node) if node.domain not in _STANDARD],
            "Export it without optimizations for one engine",
        ),
        (
            "random operators, so every run has another result",
            [node for node in _walk_nodes(model.graph.node) if node.op_type in RANDOM],
            "Export it with constant noise",
        ),
    ):
        kinds = list(dict.fromkeys(".".join(filter(None, (node.domain, node.op_type))) for node in found))
        if kinds:
            shown = ", ".join(map(printable, kinds[:_SHOWN])) + (", ..." if len(kinds) > _SHOWN else "")
            raise ForeignModelError(f"{printable(path)} has {problem} ({shown}). {advice}.")


def _forget_shapes(model: ModelProto) -> None:
    """Remove what a file says about shapes inside the network and of its outputs. Exporters often get them wrong."""
    del model.graph.value_info[:]
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()


def _describe(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    try:
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    except (KeyError, TypeError):
        dtype = "no tensor"
    if not kind.HasField("shape"):
        return Tensor(value.name, dtype, None)
    sides = (dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in kind.shape.dim)
    return Tensor(value.name, dtype, tuple(sides))


def find_reason(error: BaseException) -> str:
    """Return the first line of an error that says something."""
    lines = (line.strip().rstrip(".") for line in str(error).splitlines())
    return next((line for line in lines if line and not line.startswith("==>")), type(error).__name__)
