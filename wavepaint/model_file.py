"""Find ONNX files that keep weights in other files, without the onnx package.

An ONNX file may store a tensor in another file that it names ("external data"). Engines open that file themselves, and
ONNX Runtime before 1.24.1 opened any file on the machine. Bundles do not need external data, so such a file is refused
before any engine sees it.

The file is read in protobuf's wire format: each field has a number, a wire type and a value. Only fields that can
contain a tensor are followed. Sources: https://protobuf.dev/programming-guides/encoding,
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

import mmap
from pathlib import Path

from wavepaint.errors import EngineError

MAX_FIELDS = 1_000_000
"""Largest number of fields in a file, about a second of work. The default model has 15,000."""

_MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
"""For each message that can contain a tensor: the numbers of those fields, and the message types they contain."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _BYTES, _START_GROUP, _END_GROUP = 0, 2, 3, 4
_FIXED_BYTES = {1: 8, 5: 4}


def has_external_data(path: Path) -> bool:
    """Return whether an ONNX file has a tensor with external data.

    Raises:
        ValueError: The file is not an ONNX file, is damaged, or has more than :data:`MAX_FIELDS` fields.
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        if not stream.read(1):  # an empty file cannot be mapped
            raise ValueError("it is empty")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _scan(data)


def check_model_file(path: Path) -> None:
    """Refuse an ONNX file that has external data, or that cannot be searched for it.

    Raises:
        EngineError: The file is refused.
    """
    try:
        external = has_external_data(path)
    except (ValueError, OSError) as error:
        raise EngineError(f"cannot load {path}: it is not a complete ONNX file ({error}). Export it again.") from error
    if external:
        raise EngineError(
            f"{path} keeps weights in other files (external data), which no engine may open. Save the model as one "
            "file."
        )


def _scan(data: mmap.mmap) -> bool:
    pending = [("ModelProto", 0, len(data))]
    num_fields = 0
    while pending:
        message, at, end = pending.pop()
        fields, is_tensor = _MESSAGES[message], message == "TensorProto"
        groups = 0  # open groups: an obsolete wire type; the fields inside are skipped
        while at < end:
            num_fields += 1
            if num_fields > MAX_FIELDS:
                raise ValueError(f"more than {MAX_FIELDS} fields")
            tag, at = _read_varint(data, at, end) if data[at] > 0x7F else (data[at], at + 1)
            number, wire_type = tag >> 3, tag & 7
            if not 0 < number < 1 << 29:
                raise ValueError(f"field {number}")
            if wire_type in (_VARINT, _BYTES):
                if at >= end:
                    raise ValueError("a field without its value")
                value, at = _read_varint(data, at, end) if data[at] > 0x7F else (data[at], at + 1)
                if wire_type == _BYTES:
                    if number in fields and not groups:
                        pending.append((fields[number], at, at + value))
                    at += value
                if is_tensor and not groups and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value)):
                    return True
            elif wire_type in _FIXED_BYTES:
                at += _FIXED_BYTES[wire_type]
            elif wire_type == _START_GROUP:
                groups += 1
            elif wire_type == _END_GROUP and groups:
                groups -= 1
            else:
                raise ValueError(f"wire type {wire_type}")
        if at != end or groups:
            raise ValueError("a field extends beyond its end")
    return False


def _read_varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """Return a number stored as seven bits a byte, lowest bits first, and the position after it."""
    value = 0
    for shift, index in enumerate(range(at, min(end, at + 10))):
        value |= (data[index] & 0x7F) << 7 * shift
        if data[index] < 0x80:
            return value, index + 1
    raise ValueError("a number without an end")
