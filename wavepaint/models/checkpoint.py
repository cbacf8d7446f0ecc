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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wavepaint.atomic import write_file
from wavepaint.contract import hash_file
from wavepaint.errors import CheckpointError, OutputError
from wavepaint.models.archive import Inert, read_archive
from wavepaint.models.network import Network
from wavepaint.models.registry import Architecture, HyperParameters, build_model, detect_architecture, get_architecture
from wavepaint.models.wavepaint import WAVELET_ENTRY

FORMAT = "wavepaint-checkpoint/1"
_WRAPPERS = ("model", "state_dict", "params_ema", "params")
_PREFIX = "module."
_GENERATORS = ("generator.", "model.generator.")
"""Where a file of adversarial training (LaMa's) keeps the network, beside a discriminator and the losses' networks;
the second in TorchScript files."""


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
        model = build_model(self.architecture.name, self.parameters)
        load_strictly(model, self.state, self.path)
        return model.eval()


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
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is not a safetensors file, or is damaged or cut off ({error}).") from error
    return content


_ZIP, _PICKLE = b"PK", b"\x80"


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TorchScript files, which raise below
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        with path.open("rb") as stream:
            start = stream.read(2)
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
    state = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(
            f"{path} holds no weights: expected names to tensors, or such a dictionary under "
            f"{', '.join(map(repr, _WRAPPERS))}; found {', '.join(map(repr, list(content)[:4])) or 'nothing'}."
        )
    if all(key.startswith(_PREFIX) for key in state):
        state = {key[len(_PREFIX) :]: value for key, value in state.items()}
    for prefix in _GENERATORS:
        generator = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        if generator:
            return generator
    return state


def _read_content(path: Path) -> tuple[Any, str]:
    """Return what a file holds, and its hash."""
    if not path.exists():
        raise CheckpointError(f"{path} does not exist. Expected a checkpoint (.pt, .pth, .ckpt or .safetensors).")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder. Expected a checkpoint (.pt, .pth, .ckpt or .safetensors).")
    try:
        if path.stat().st_size == 0:
            raise CheckpointError(f"{path} is empty.")
        digest = hash_file(path)
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
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
    records = {key: (content.get(key) or {}) if own else {} for key in ("training", "resume")}
    for key, value in records.items():
        if not isinstance(value, Mapping):
            raise CheckpointError(f"{path} is damaged: its {key!r} is {type(value).__name__}, expected a dictionary.")
    return Checkpoint(
        path=path,
        sha256=digest,
        state=state,
        architecture=architecture,
        parameters=parameters,
        training=dict(records["training"]),
        resume=dict(records["resume"]),
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
