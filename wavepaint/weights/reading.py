"""Reading weights from files of unknown origin, without running anything in them.

``.pth``, ``.pt`` and ``.ckpt`` files, TorchScript files and ``.safetensors`` are accepted. Only tensors and plain
containers are read; other objects, as in checkpoints of PyTorch Lightning, are skipped. The state dict may lie under
``model``, ``state_dict``, ``params_ema`` or ``params``, and its names may begin with DataParallel's ``module.``. If
some names begin with ``generator.``, only these are read.
"""

import json
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wavepaint.contract import hash_file
from wavepaint.errors import CheckpointError
from wavepaint.weights.archive import (
    MAX_EXTRA_BYTES,
    MAX_GROWTH,
    TENSOR_DTYPES,
    Inert,
    check_unpacked_size,
    make_damage_error,
    read_archive,
)

_WRAPPERS = ("model", "state_dict", "params_ema", "params")
_PREFIX = "module."
_GENERATORS = ("generator.", "model.generator.")
"""Prefixes of the network in LaMa's files, which also contain a discriminator and the networks of its losses.
TorchScript files use the second."""

_EXPECTED = "Expected a checkpoint (.pt, .pth, .ckpt or .safetensors)."
_MAX_BYTES = 8 * 2**30
"""Largest checkpoint: ten times LaMa's 51 million weights with their average and the optimizer's moments."""

_ZIP, _PICKLE = b"PK", b"\x80"


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the weights of any network: names, without prefixes, to tensors.

    Raises:
        CheckpointError: The file is missing, unreadable or without weights.
    """
    return find_state(read_content(path)[0], path)


def read_content(path: Path) -> tuple[Any, str]:
    """Return the content of a file, tensors in plain containers, and the file's SHA-256.

    Raises:
        CheckpointError: The file is missing, too large, damaged or of an unknown kind.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist. {_EXPECTED}")
    if not path.is_file():
        raise CheckpointError(f"{path} is {'a folder' if path.is_dir() else 'a pipe or a device'}. {_EXPECTED}")
    try:
        size = path.stat().st_size
        if size == 0:
            raise CheckpointError(f"{path} is empty.")
        if size > _MAX_BYTES:
            raise CheckpointError(
                f"{path} has {size >> 30} GiB: expected a checkpoint of at most {_MAX_BYTES >> 30} GiB."
            )
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
        digest = hash_file(path)  # last, because it takes long
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    return content, digest


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as reader:
            content: dict[str, Any] = {"model": {key: reader.get_tensor(key) for key in reader.keys()}}  # noqa: SIM118
            metadata = reader.metadata() or {}
        if "architecture" in metadata:
            content["architecture"] = json.loads(metadata["architecture"])
    except (SafetensorError, ValueError, RecursionError) as error:
        raise make_damage_error(path, "a safetensors file", error) from error
    return content


def _read_torch(path: Path) -> Any:
    with path.open("rb") as stream:
        start = stream.read(2)
    if start == _ZIP:
        check_unpacked_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about TorchScript files, which raise below
            return torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # a hostile pickle can raise anything
        more_than_tensors = isinstance(error, pickle.UnpicklingError) or "TorchScript" in str(error)
        if start == _ZIP and more_than_tensors:
            content = read_archive(path)
            if isinstance(content, Inert):
                raise _make_objects_error(path) from error
            return content
        if start[:1] == _PICKLE and more_than_tensors:
            raise _make_objects_error(path) from error
        raise CheckpointError(f"{path} is not a PyTorch checkpoint, or is damaged or cut off.") from error


def _make_objects_error(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} contains more than weights (a pickled model, or objects in a format from before PyTorch 1.6), and "
        "loading it could run code. Save its state_dict() instead, or convert it to .safetensors where you trust it."
    )


def find_state(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file's content, without prefixes.

    Raises:
        CheckpointError: There is none, or a tensor is not plain.
    """
    for _ in range(2):  # no known file has more than a wrapper in a wrapper
        if isinstance(content, Mapping):
            inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
            if inner is not None:
                content = inner
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} contains {type(content).__name__}, expected a state dict (names to tensors).")
    state: dict[str, Tensor] = {
        key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)
    }
    if not state:
        found = [repr(key)[:50] for key in content if isinstance(key, str)][:4]
        raise CheckpointError(
            f"{path} contains no weights: expected names to tensors, or such a dictionary under "
            f"{', '.join(map(repr, _WRAPPERS))}; found {', '.join(found) or 'nothing'}."
        )
    if all(key.startswith(_PREFIX) for key in state):
        state = {key[len(_PREFIX) :]: value for key, value in state.items()}
    for prefix in _GENERATORS:
        generator = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        if generator:
            state = generator
            break
    _check_tensors(state, path)
    return state


def _check_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Check that all tensors are plain ones in memory, and no larger than the file.

    Raises:
        CheckpointError: A tensor fails the check; the message names it.
    """
    for name, tensor in state.items():
        if not name.isprintable():
            raise CheckpointError(f"{path} is damaged: one of its entries is named {name[:50]!r}.")
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_nested
        if not plain or tensor.dtype not in TENSOR_DTYPES:
            raise CheckpointError(
                f"{path}: {name} is not a plain tensor ({tensor.dtype}, {tensor.layout}, {tensor.device}). Save the "
                "state_dict() of the float32 model, on the CPU."
            )
    claimed, size = sum(tensor.numel() * tensor.element_size() for tensor in state.values()), path.stat().st_size
    if claimed > MAX_GROWTH * size + MAX_EXTRA_BYTES:
        raise CheckpointError(
            f"{path}: its weights have {claimed >> 20} MiB, far more than the file. Save contiguous() tensors."
        )
