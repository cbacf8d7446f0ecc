"""Tensors out of PyTorch archives that hold more than tensors, without running anything in them.

``torch.load(weights_only=True)`` refuses a file with a single object it does not know, such as the callbacks and
settings in a checkpoint of PyTorch Lightning, and every TorchScript file. Both are zip archives with a pickle
(``data.pkl``) beside the raw bytes of its tensors (``data/0``, ``data/1``, ...). A pickle asks for classes and
functions by name; here it gets tensors, ordered dictionaries and, under every other name, :class:`Inert`, which takes
any call and does nothing. TorchScript's code (``code/``) is never opened.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wavepaint.errors import CheckpointError

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Inert:
    """Stands in for an object of any class: takes whatever a pickle does to it, and keeps its attributes alone."""

    state: Any = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Take the arguments of any constructor or function."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Take an item of a dictionary of some class."""

    def append(self, item: Any) -> None:
        """Take an item of a list of some class."""

    def extend(self, items: Any) -> None:
        """Take the items of a list of some class."""

    def add(self, item: Any) -> None:
        """Take an item of a set of some class."""


def _rebuild_tensor(
    storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any
) -> Tensor | Inert:
    # What as_strided would read beyond the storage it refuses.
    return torch.as_strided(storage, size, stride, offset) if isinstance(storage, Tensor) else Inert()


def _rebuild_parameter(data: Any, *rest: Any) -> Any:
    return data


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class _StorageKind(Inert):
    """The class of a storage, of which only the element type counts."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles ``data.pkl`` of an archive; no name leads to anything outside this module but ``OrderedDict``."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(archive.open(f"{folder}/data.pkl"), encoding="utf-8")
        self.archive = archive
        self.folder = folder
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _StorageKind(_DTYPES[name])
        return _KNOWN.get((module, name), Inert)

    def persistent_load(self, identity: Any) -> Any:
        _, kind, key, _, length = identity
        if not isinstance(kind, _StorageKind):
            return Inert()
        if key not in self.storages:
            record = self.archive.getinfo(f"{self.folder}/data/{key}")
            num_bytes = length * kind.dtype.itemsize
            if record.compress_type != zipfile.ZIP_STORED or record.file_size != num_bytes:
                raise ValueError(f"{record.filename} is not {num_bytes} bytes as they are")
            content = bytearray(self.archive.read(record))
            storage = torch.frombuffer(content, dtype=kind.dtype) if content else torch.empty(0, dtype=kind.dtype)
            self.storages[key] = storage
        return self.storages[key]


def _collect_tensors(attributes: Any, prefix: str, found: dict[str, Tensor]) -> None:
    """Name every tensor of a scripted module as in its state dict."""
    for name, value in attributes.items() if isinstance(attributes, Mapping) else ():
        if isinstance(value, Tensor):
            found[f"{prefix}{name}"] = value
        elif isinstance(value, Inert):
            _collect_tensors(value.state, f"{prefix}{name}.", found)


def read_archive(path: Path) -> Any:
    """Read the tensors of a PyTorch archive of any kind, and the plain containers that they lie in.

    Args:
        path: As written by ``torch.save`` since PyTorch 1.6, or a TorchScript file.

    Returns:
        What was saved, with :class:`Inert` objects for what is neither tensor nor plain container; of a TorchScript
        file, its state dict.

    Raises:
        CheckpointError: Not such an archive, damaged, or a TorchScript file whose weights are part of its code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            folder = next(name for name in names if name.endswith("/data.pkl")).split("/")[0]
            order = f"{folder}/byteorder"
            if order in names and archive.read(order) != b"little":
                raise ValueError("its bytes are in another order")
            content = _TensorUnpickler(archive, folder).load()
            scripted = f"{folder}/constants.pkl" in names
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # a pickle of unknown origin may fail in any way
        raise CheckpointError(f"{path} is not a PyTorch checkpoint, or is damaged or cut off ({error}).") from error
    if not scripted:
        return content
    state: dict[str, Tensor] = {}
    _collect_tensors(content.state if isinstance(content, Inert) else None, "", state)
    if not state:
        raise CheckpointError(
            f"{path} is a TorchScript file without named weights (frozen ones are part of its code). Save the "
            "state_dict() of the model it was made from instead."
        )
    return state
