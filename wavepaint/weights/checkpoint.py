"""Checkpoints: weights with the architecture they belong to, read from any file and saved in this project's format.

:mod:`wavepaint.weights.reading` lists the files that can be read. The project's own format is a ``.pt`` file with the
keys ``format``, ``architecture`` (name and hyper-parameters), ``model`` (the state dict), ``training`` (the record that
goes into a manifest) and ``resume`` (the state of an unfinished run).
"""

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
from wavepaint.errors import CheckpointError, OutputError
from wavepaint.models.architecture_detection import detect_architecture
from wavepaint.models.network import Network
from wavepaint.models.registry import Architecture, HyperParameters, build_model, get_architecture
from wavepaint.models.wavepaint import WAVELET_ENTRY, encode_wavelet
from wavepaint.ops.dwt import HAAR
from wavepaint.weights.follow_up_layout import translate_follow_up
from wavepaint.weights.loading import load_strictly
from wavepaint.weights.reading import find_state, read_content

FORMAT = "wavepaint-checkpoint/1"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of a file.

    Attributes:
        path: The file.
        sha256: Hash of the file.
        state: The state dict, without prefixes.
        architecture: Recorded or detected architecture.
        parameters: Its hyper-parameters; None for each required one that neither the file nor the caller gives.
        training: The training record, empty if the file has none.
        resume: The state for ``wp train --resume``, empty if the file has none.
    """

    path: Path
    sha256: str
    state: dict[str, Tensor]
    architecture: Architecture
    parameters: HyperParameters
    training: dict[str, Any] = field(default_factory=dict)
    resume: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Network:
        """Build the network with these weights, in evaluation mode.

        Raises:
            CheckpointError: An entry is missing, superfluous or of another shape; or a hyper-parameter is unknown.
        """
        for name, value in self.parameters.items():
            if value is None:
                raise CheckpointError(
                    f"{self.path}: the names and shapes of its weights do not show the {name} of this "
                    f"{self.architecture.name}. Give the one it was trained with: "
                    f"read_checkpoint(path, {{{name!r}: VALUE}}), or wp export --{name}."
                )
        with _limit_weights(self.state, self.path):
            model = build_model(self.architecture.name, self.parameters)
        load_strictly(model, self.state, self.path)
        return model.eval()


@contextmanager
def _limit_weights(state: Mapping[str, Tensor], path: Path) -> Iterator[None]:
    """Stop building a network before it takes memory and time for far more weights than the file has."""
    # The limit leaves room for missing entries, which load_strictly names.
    left, thread = 2 * sum(tensor.numel() for tensor in state.values()) + 1_000_000, get_ident()

    def count(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal left
        if parameter is not None and get_ident() == thread:  # other threads may build networks of their own
            left -= parameter.numel()
        if left < 0:
            raise CheckpointError(f"{path}: its hyper-parameters need many more weights than the file has.")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def read_checkpoint(path: Path, hyper_parameters: HyperParameters | None = None) -> Checkpoint:
    """Read a checkpoint of any accepted kind.

    Args:
        path: The file.
        hyper_parameters: Hyper-parameters that the file does not show, such as the stride of a strided WaveMix.

    Raises:
        CheckpointError: The file is missing, unreadable, of an unknown kind, without weights of a known architecture,
            or contradicts ``hyper_parameters``.
    """
    content, digest = read_content(path)
    state = find_state(content, path)
    try:
        state = translate_follow_up(state)
        architecture, parameters = _find_architecture(content, state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    for name, value in (hyper_parameters or {}).items():
        if parameters.get(name) not in (None, value):
            raise CheckpointError(f"{path}: {name} is given as {value!r}, and the file has {parameters[name]!r}.")
        parameters[name] = value
    wavelet = parameters.get("wavelet", "haar")
    if architecture.name == "wavepaint" and wavelet not in HAAR:
        # Earlier checkpoints have the wavelet only in their record.
        state.setdefault(WAVELET_ENTRY, encode_wavelet(str(wavelet)))
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


def _find_architecture(content: Any, state: Mapping[str, Tensor]) -> tuple[Architecture, HyperParameters]:
    """Return the recorded architecture and hyper-parameters, or detect them."""
    record = content.get("architecture") if isinstance(content, Mapping) else None
    if isinstance(record, Mapping) and isinstance(record.get("hyper_parameters"), Mapping):
        _check_parameters({**record["hyper_parameters"], "architecture": record.get("name")})
        return get_architecture(str(record.get("name"))), dict(record["hyper_parameters"])
    return detect_architecture(state)


def _check_parameters(parameters: Mapping[Any, Any]) -> None:
    """Check that a constructor can take all values, and that a message can show them.

    Raises:
        CheckpointError: One is of another type or too large.
    """
    for name, value in parameters.items():
        words = [word for word in (name, value) if isinstance(word, str)]
        known = isinstance(name, str) and isinstance(value, bool | int | float | str | None)
        if not known or any(len(word) > 100 for word in words) or (isinstance(value, int) and abs(value) >= 2**31):
            raise CheckpointError("its record of hyper-parameters is damaged: expected names with numbers or words.")


def save_checkpoint(
    path: Path,
    model: nn.Module,
    *,
    architecture: str,
    parameters: HyperParameters,
    training: Mapping[str, Any] | None = None,
    resume: Mapping[str, Any] | None = None,
) -> None:
    """Save a checkpoint in this project's format, atomically; an existing file is replaced.

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
            # PyTorch's archive writer raises its own error over the system's, such as a full disk.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            raise OutputError(f"cannot write {path}: {cause.strerror or cause}.") from error
