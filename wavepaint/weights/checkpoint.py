"""Reading weights from the files people have, and writing this project's own.

Read: ``.pth``/``.pt``/``.ckpt``, of which only tensors and plain containers are taken and nothing is run (other
objects, as in checkpoints of PyTorch Lightning, are passed over; TorchScript files give their weights), and
``.safetensors``; a bare state dict or one under ``model``, ``state_dict``, ``params_ema`` or ``params``; names with a
``module.`` prefix from DataParallel; of a file with a ``generator.`` that alone.

Written: a ``.pt`` file with the keys ``format``, ``architecture`` (name and hyper-parameters), ``model`` (the state
dict), ``training`` (what a manifest keeps of it) and, for resuming, ``resume``.
"""

import json
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from wavepaint.atomic import write_file
from wavepaint.contract import hash_file
from wavepaint.errors import CheckpointError, OutputError
from wavepaint.models.network import Network
from wavepaint.models.registry import Architecture, HyperParameters, build_model, detect_architecture, get_architecture
from wavepaint.models.wavepaint import WAVELET_ENTRY
from wavepaint.weights.archive import (
    MAX_EXTRA_BYTES,
    MAX_GROWTH,
    TENSOR_DTYPES,
    Inert,
    check_unpacked_size,
    damaged,
    read_archive,
)

FORMAT = "wavepaint-checkpoint/1"
_WRAPPERS = ("model", "state_dict", "params_ema", "params")
_PREFIX = "module."
_GENERATORS = ("generator.", "model.generator.")
"""Where a file of adversarial training (LaMa's) keeps the network, beside a discriminator and the losses' networks;
the second in TorchScript files."""

_MAX_BYTES = 8 * 2**30
"""Largest checkpoint: ten times what LaMa's 51 million weights take with their average and the optimizer's moments."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a file held.

    Attributes:
        path: The file.
        sha256: Of the file.
        state: The state dict, prefixes removed.
        architecture: Recognised or recorded architecture.
        parameters: Its hyper-parameters; None for each that the file does not tell and nobody has said.
        training: The training record, empty if the file has none.
        resume: What ``wp train --resume`` needs, empty if the file has none.
    """

    path: Path
    sha256: str
    state: dict[str, Tensor]
    architecture: Architecture
    parameters: HyperParameters
    training: dict[str, Any] = field(default_factory=dict)
    resume: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Network:
        """Build the model with these weights, in evaluation mode.

        Raises:
            CheckpointError: Entries are missing, superfluous or of another shape; or a hyper-parameter is not known.
        """
        for name, value in self.parameters.items():
            if value is None:
                raise CheckpointError(
                    f"{self.path}: the names and shapes of its weights do not tell the {name} of this "
                    f"{self.architecture.name}. Say what it was trained with: "
                    f"read_checkpoint(path, {{{name!r}: VALUE}})."
                )
        with _no_more_weights_than(self.state, self.path):
            model = build_model(self.architecture.name, self.parameters)
        load_strictly(model, self.state, self.path)
        return model.eval()


@contextmanager
def _no_more_weights_than(state: Mapping[str, Tensor], path: Path) -> Iterator[None]:
    """Stop building a network before it takes memory and time for weights that the file does not hold."""
    # Weights that are missing are told by name, later on.
    left, thread = 2 * sum(tensor.numel() for tensor in state.values()) + 1_000_000, get_ident()

    def count(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal left
        if parameter is not None and get_ident() == thread:  # networks of other threads are theirs
            left -= parameter.numel()
        if left < 0:
            raise CheckpointError(f"{path}: the weights do not fit its hyper-parameters, which ask for many more.")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load ``state`` into ``model``; every entry must be there, none may be left over, and all must be finite.

    Entries that are settings of the network (whole numbers but for BatchNorm's counters) must be the model's own.

    Raises:
        CheckpointError: What does not fit, by name.
    """
    expected = model.state_dict()
    if WAVELET_ENTRY in expected:  # earlier checkpoints have the wavelet in their record alone
        state = {WAVELET_ENTRY: expected[WAVELET_ENTRY], **state}
    missing = sorted(expected.keys() - state.keys())
    extra = sorted(state.keys() - expected.keys())
    if missing or extra:
        parts = [
            f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for names, what in ((missing, "missing"), (extra, "unexpected"))
            if names
        ]
        raise CheckpointError(f"{path}: the weights do not fit {type(model).__name__}: {' and '.join(parts)} entries.")
    for name, tensor in state.items():
        is_setting = not tensor.is_floating_point() and not name.endswith(".num_batches_tracked")
        if is_setting and tensor.tolist() != expected[name].tolist():
            raise CheckpointError(
                f"{path}: its {name} is {tensor.tolist()}, and this network's is {expected[name].tolist()}. "
                "Take weights of the same hyper-parameters."
            )
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}."
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {name} holds NaN or infinite values; the weights are damaged.")
    model.load_state_dict(dict(state), strict=True)


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as reader:
            content: dict[str, Any] = {"model": {key: reader.get_tensor(key) for key in reader.keys()}}  # noqa: SIM118
            metadata = reader.metadata() or {}
        if "architecture" in metadata:
            content["architecture"] = json.loads(metadata["architecture"])
    except (SafetensorError, ValueError, RecursionError) as error:
        raise damaged(path, "a safetensors file", error) from error
    return content


_ZIP, _PICKLE = b"PK", b"\x80"


def _read_torch(path: Path) -> Any:
    with path.open("rb") as stream:
        start = stream.read(2)
    if start == _ZIP:
        check_unpacked_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TorchScript files, which raise below
            return torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # a pickle of unknown origin may fail in any way
        more_than_tensors = isinstance(error, pickle.UnpicklingError) or "TorchScript" in str(error)
        if start == _ZIP and more_than_tensors:
            content = read_archive(path)
            if isinstance(content, Inert):
                raise _not_weights_alone(path) from error
            return content
        if start[:1] == _PICKLE and more_than_tensors:
            raise _not_weights_alone(path) from error
        raise CheckpointError(f"{path} is not a PyTorch checkpoint, or is damaged or cut off.") from error


def _not_weights_alone(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} holds more than weights (a pickled model, or objects in a format from before PyTorch 1.6) and "
        "loading it could run code. Save its state_dict() instead, or convert it to .safetensors where you trust it."
    )


def _find_state(content: Any, path: Path) -> dict[str, Tensor]:
    for _ in range(2):  # a wrapper in a wrapper is the deepest seen in the wild
        if isinstance(content, Mapping):
            inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
            if inner is not None:
                content = inner
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds {type(content).__name__}, expected a state dict (names to tensors).")
    state: dict[str, Tensor] = {
        key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)
    }
    if not state:
        found = [repr(key)[:50] for key in content if isinstance(key, str)][:4]
        raise CheckpointError(
            f"{path} holds no weights: expected names to tensors, or such a dictionary under "
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
    """Raise unless all are plain tensors in memory, and no larger than the file.

    Raises:
        CheckpointError: The first that is not, by name.
    """
    for name, tensor in state.items():
        if not name.isprintable():
            raise CheckpointError(f"{path} is damaged: one of its entries is named {name[:50]!r}.")
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_nested
        if not plain or tensor.dtype not in TENSOR_DTYPES:
            raise CheckpointError(
                f"{path}: {name} is no plain tensor ({tensor.dtype}, {tensor.layout}, {tensor.device}). Save the "
                "state_dict() of the float32 model, on the CPU."
            )
    claimed, size = sum(tensor.numel() * tensor.element_size() for tensor in state.values()), path.stat().st_size
    if claimed > MAX_GROWTH * size + MAX_EXTRA_BYTES:
        raise CheckpointError(
            f"{path}: its weights claim {claimed >> 20} MiB, far more than the file holds. Save contiguous() ones."
        )


def _check_parameters(parameters: Mapping[Any, Any]) -> None:
    """Raise unless all are such as a constructor can take and a message can show.

    Raises:
        CheckpointError: One is not.
    """
    for name, value in parameters.items():
        words = [word for word in (name, value) if isinstance(word, str)]
        known = isinstance(name, str) and isinstance(value, bool | int | float | str | None)
        if not known or any(len(word) > 100 for word in words) or (isinstance(value, int) and abs(value) >= 2**31):
            raise CheckpointError("its record of hyper-parameters is damaged: expected names with numbers or words.")


def _read_content(path: Path) -> tuple[Any, str]:
    """Return what a file holds, and its hash."""
    if not path.exists():
        raise CheckpointError(f"{path} does not exist. Expected a checkpoint (.pt, .pth, .ckpt or .safetensors).")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe or a device"
        raise CheckpointError(f"{path} is {what}. Expected a checkpoint (.pt, .pth, .ckpt or .safetensors).")
    try:
        size = path.stat().st_size
        if size == 0:
            raise CheckpointError(f"{path} is empty.")
        if size > _MAX_BYTES:
            raise CheckpointError(f"{path} has {size >> 30} GiB: expected a checkpoint of at most {_MAX_BYTES >> 30}.")
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
        digest = hash_file(path)  # after it is known to be worth it
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    return content, digest


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the weights alone, of any network: names to tensors, prefixes removed.

    Raises:
        CheckpointError: Missing, unreadable or without weights.
    """
    return _find_state(_read_content(path)[0], path)


def read_checkpoint(path: Path, hyper_parameters: HyperParameters | None = None) -> Checkpoint:
    """Read a checkpoint of any accepted kind; see the module's text.

    Args:
        path: The file.
        hyper_parameters: What the file does not tell, such as the stride of a strided WaveMix.

    Raises:
        CheckpointError: Missing, unreadable, of an unknown kind, without the weights of a known architecture, or of
            other hyper-parameters than those given.
    """
    content, digest = _read_content(path)
    state = _find_state(content, path)
    record = content.get("architecture") if isinstance(content, Mapping) else None
    try:
        if isinstance(record, Mapping) and isinstance(record.get("hyper_parameters"), Mapping):
            _check_parameters({**record["hyper_parameters"], "architecture": record.get("name")})
            architecture = get_architecture(str(record.get("name")))
            parameters = dict(record["hyper_parameters"])
        else:
            architecture, parameters = detect_architecture(state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    for name, value in (hyper_parameters or {}).items():
        if parameters.get(name) not in (None, value):
            raise CheckpointError(f"{path}: {name} is given as {value!r}, and the file says {parameters[name]!r}.")
        parameters[name] = value
    own = isinstance(content, Mapping) and content.get("format") == FORMAT
    records = {key: content.get(key) if own else None for key in ("training", "resume")}
    for key, value in records.items():
        if not isinstance(value, Mapping | None):
            raise CheckpointError(f"{path} is damaged: its {key!r} is {type(value).__name__}, expected a dictionary.")
    return Checkpoint(
        path=path,
        sha256=digest,
        state=state,
        architecture=architecture,
        parameters=parameters,
        training=dict(records["training"] or {}),
        resume=dict(records["resume"] or {}),
    )


def save_checkpoint(
    path: Path,
    model: nn.Module,
    *,
    architecture: str,
    parameters: HyperParameters,
    training: Mapping[str, Any] | None = None,
    resume: Mapping[str, Any] | None = None,
) -> None:
    """Write this project's own checkpoint, atomically, replacing a former one.

    Raises:
        OutputError: The file cannot be written, or the disk is full.
    """
    content = {
        "format": FORMAT,
        "architecture": {"name": architecture, "hyper_parameters": dict(parameters)},
        "model": {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()},
        "training": dict(training or {}),
        "resume": dict(resume or {}),
    }
    with write_file(path, overwrite=True) as temporary:
        try:
            with temporary.open("wb") as stream:
                torch.save(content, stream)
        except (OSError, RuntimeError) as error:
            # PyTorch's archive raises an error of its own over that of the system, such as a full disk.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            raise OutputError(f"cannot write {path}: {cause.strerror or cause}.") from error
