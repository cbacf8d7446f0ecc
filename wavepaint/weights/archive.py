"""Reading tensors from PyTorch archives that contain more than tensors, without running anything in them.

``torch.load(weights_only=True)`` refuses a file with a single object of an unknown class, such as the callbacks and
settings in a checkpoint of PyTorch Lightning, and it refuses every TorchScript file. Both are zip archives with a
pickle (``data.pkl``) beside the raw bytes of its tensors (``data/0``, ``data/1``, ...). A pickle requests classes and
functions by name. The unpickler here returns tensors, ordered dictionaries and, for every other name, :class:`Inert`,
which accepts any call and does nothing. TorchScript's code (``code/``) is never opened.

``torch.load`` with a restricted ``pickle_module`` would be shorter, but it passes TorchScript files to
``torch.jit.load``, which compiles their code, and its ``_rebuild_tensor_v2`` lets a hostile size grow a storage beyond
the file.
"""

import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from operator import index
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
TENSOR_DTYPES = frozenset(_DTYPES.values())
"""Dtypes of weights."""

MAX_GROWTH, MAX_EXTRA_BYTES = 4, 2**26
"""Tensors may take this many times the bytes of their file plus this many more: some are tied or repeat a value."""

_MAX_DEPTH = 64
_MAX_ATTRIBUTES = 100_000
"""Bounds on a TorchScript file: a module may contain itself, or be reached along exponentially many paths."""


class Inert:
    """Replaces an object of any class: accepts everything a pickle does to it, and stores only its attributes."""

    state: Any = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Accept the arguments of any constructor or function."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Accept an item of a dictionary subclass."""

    def append(self, item: Any) -> None:
        """Accept an item of a list subclass."""

    def extend(self, items: Any) -> None:
        """Accept the items of a list subclass."""

    def add(self, item: Any) -> None:
        """Accept an item of a set subclass."""


def _rebuild_tensor(
    storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any
) -> Tensor | Inert:
    # as_strided refuses to read beyond the storage.
    return torch.as_strided(storage, size, stride, offset) if isinstance(storage, Tensor) else Inert()


def _rebuild_parameter(data: Any, *rest: Any) -> Any:
    return data


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class _StorageKind(Inert):
    """Replaces the class of a storage; only its dtype matters."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles ``data.pkl`` of an archive. ``OrderedDict`` is the only name that leads outside this module."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        content = archive.read(f"{folder}/data.pkl")
        _check_memo(content)
        super().__init__(BytesIO(content), encoding="utf-8")
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
            num_bytes = index(length) * kind.dtype.itemsize
            if record.compress_type != zipfile.ZIP_STORED or record.file_size != num_bytes:
                raise ValueError(f"{record.filename} is not {num_bytes} uncompressed bytes")
            content = bytearray(self.archive.read(record))
            storage = torch.frombuffer(content, dtype=kind.dtype) if content else torch.empty(0, dtype=kind.dtype)
            self.storages[key] = storage
        return self.storages[key]


def _check_memo(content: bytes) -> None:
    """Refuse a memo index for which the unpickler would allocate gigabytes: it allocates all lower indices, too.

    Raises:
        ValueError: An index is larger than the number of objects that the pickle can contain.
    """
    for operation, argument, _ in pickletools.genops(content):
        if "PUT" in operation.name and argument is not None and argument > len(content):
            raise ValueError(f"its memo index {argument} is larger than its {len(content)} bytes")


def _iterate_attributes(module: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a scripted module and of its submodules, named as in a state dict."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"its modules are nested more than {_MAX_DEPTH} deep")
    attributes = module.state if isinstance(module, Inert) else None
    for name, value in attributes.items() if isinstance(attributes, Mapping) else ():
        yield f"{prefix}{name}", value
        yield from _iterate_attributes(value, f"{prefix}{name}.", depth + 1)


def _collect_tensors(module: Any) -> dict[str, Tensor]:
    """Return the state dict of a scripted module."""
    found: dict[str, Tensor] = {}
    for number, (name, value) in enumerate(_iterate_attributes(module)):
        if number == _MAX_ATTRIBUTES:
            raise ValueError(f"its modules have more than {_MAX_ATTRIBUTES} attributes")
        if isinstance(value, Tensor):
            found[name] = value
    return found


def make_damage_error(path: Path, kind: str, error: Exception) -> CheckpointError:
    """Return the error for a file that a library cannot read, in one line of readable length."""
    reason = " ".join(str(error).split())[:200]
    return CheckpointError(f"{path} is not {kind}, or is damaged or cut off ({reason or type(error).__name__}).")


def check_unpacked_size(path: Path) -> None:
    """Check that a zip archive does not unpack to far more than its own size. PyTorch's are not compressed.

    Raises:
        CheckpointError: It does, or it is not a zip archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(record.file_size for record in archive.infolist())
    except Exception as error:
        raise make_damage_error(path, "a PyTorch checkpoint", error) from error
    if unpacked > MAX_GROWTH * path.stat().st_size + MAX_EXTRA_BYTES:
        raise CheckpointError(
            f"{path} unpacks to {unpacked >> 20} MiB, far more than the file has, and PyTorch's own files are not "
            "compressed. Save the state_dict() again."
        )


def read_archive(path: Path) -> Any:
    """Read the tensors and plain containers of a PyTorch archive of any kind.

    Args:
        path: A file of ``torch.save`` since PyTorch 1.6, or a TorchScript file.

    Returns:
        The saved content, with :class:`Inert` in place of every other object; for a TorchScript file, its state dict.

    Raises:
        CheckpointError: Not such an archive, damaged, or a TorchScript file whose weights are part of its code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            folder = next(name for name in names if name.endswith("/data.pkl")).split("/")[0]
            order = f"{folder}/byteorder"
            if order in names and archive.read(order) != b"little":
                raise ValueError("its numbers are big-endian")
            content = _TensorUnpickler(archive, folder).load()
            scripted = f"{folder}/constants.pkl" in names
            state = _collect_tensors(content) if scripted else {}
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # a hostile pickle can raise anything
        raise make_damage_error(path, "a PyTorch checkpoint", error) from error
    if not scripted:
        return content
    if not state:
        raise CheckpointError(
            f"{path} is a TorchScript file without named weights (frozen ones are part of its code). Save the "
            "state_dict() of the original model instead."
        )
    return state
