"""Translating the released weights of LaMa's follow-up into those of :class:`~wavepaint.models.lama.LaMa`.

Source: G. Baker and Y. Cho, "Improvement on Image inpainting with Fourier Convolutions" (2021), ``model.py`` of
nuniniyujin/lama_inpainting@51ded42. That network computes the same as LaMa with zero padding, but is written down
differently: both layers of a residual block share their weights, convolutions before a BatchNorm have a bias, local and
global channels lie in one tensor until the first block, and Fourier coefficients have all real parts before all
imaginary ones.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from wavepaint.errors import CheckpointError
from wavepaint.models.lama import ZERO_PADDING_ENTRY

State = Mapping[str, Tensor]

_MARK = "ffcs.0.conv.conv_ll.weight"
_STATISTICS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def translate_follow_up(state: State) -> dict[str, Tensor]:
    """Return LaMa's state dict for one of the follow-up, and any other as it is.

    Raises:
        CheckpointError: An entry is missing, or has another shape.
    """
    if _MARK not in state:
        return dict(state)
    try:
        return _translate(state)
    except (KeyError, IndexError, RuntimeError, ValueError, TypeError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise CheckpointError(
            f"its weights have names of LaMa's follow-up, but do not fit that network: {reason}."
        ) from error


def _translate(state: State) -> dict[str, Tensor]:
    new: dict[str, Tensor] = {ZERO_PADDING_ENTRY: torch.tensor(1)}
    num_local = state[_MARK].shape[0]
    num_downsampling = sum(name.startswith("down.") and name.endswith("running_var") for name in state) - 1
    for stage in range(num_downsampling + 1):
        source, target = 3 * stage + 1, f"model.{stage + 1}"
        weight, bias = state[f"down.{source}.weight"], state[f"down.{source}.bias"]
        norm = _shift_norm(state, f"down.{source + 1}", bias)
        if stage < num_downsampling:
            new[f"{target}.ffc.convl2l.weight"] = weight
            new |= _name_norm(f"{target}.bn_l", norm)
        else:
            for part, channels in (("l", slice(None, num_local)), ("g", slice(num_local, None))):
                new[f"{target}.ffc.convl2{part}.weight"] = weight[channels].clone()
                new |= _name_norm(f"{target}.bn_{part}", norm, channels)
    num_blocks = len({name.split(".", 2)[1] for name in state if name.startswith("ffcs.")})
    first = num_downsampling + 2
    for block in range(num_blocks):
        layer = _translate_layer(state, f"ffcs.{block}.conv")
        for conv in ("conv1", "conv2"):
            new |= {f"model.{first + block}.{conv}.{name}": tensor.clone() for name, tensor in layer.items()}
    first += num_blocks + 1  # a concatenation lies between
    for stage in range(num_downsampling):
        up, place = 3 * stage, first + 3 * stage
        new |= {f"model.{place}.{name}": state[f"up.{up}.{name}"] for name in ("weight", "bias")}
        new |= {f"model.{place + 1}.{name}": state[f"up.{up + 1}.{name}"] for name in _STATISTICS}
    # Padding comes before the last convolution in both.
    last = 3 * num_downsampling + 1
    return new | {f"model.{first + last}.{name}": state[f"up.{last}.{name}"] for name in ("weight", "bias")}


def _translate_layer(state: State, source: str) -> dict[str, Tensor]:
    """Return the entries of an FFC layer, without a prefix."""
    new: dict[str, Tensor] = {}
    shifts: dict[str, Tensor] = {}
    for output in ("l", "g"):
        total: Tensor | float = 0.0
        for part in ("l", "g"):
            branch, target = f"{source}.conv_{part}{output}", f"ffc.conv{part}2{output}"
            if f"{branch}.conv1x1.weight" in state:
                new |= _translate_spectral(state, branch, target)
                branch, target = f"{branch}.conv1x1", f"{target}.conv2"
            new[f"{target}.weight"] = state[f"{branch}.weight"]
            total = total + state[f"{branch}.bias"]
        assert isinstance(total, Tensor)
        shifts[output] = total
    for output, shift in shifts.items():
        new |= _name_norm(f"bn_{output}", _shift_norm(state, f"{source}.bn_{output}", shift))
    return new


def _translate_spectral(state: State, source: str, target: str) -> dict[str, Tensor]:
    """Return the entries of a spectral transform except for its last convolution."""
    norm = _shift_norm(state, f"{source}.bn1", state[f"{source}.conv1.bias"])
    new = {f"{target}.conv1.0.weight": state[f"{source}.conv1.weight"], **_name_norm(f"{target}.conv1.1", norm)}
    weight, bias = state[f"{source}.conv2.weight"], state[f"{source}.conv2.bias"]
    # From (real or imaginary, channel) to (channel, real or imaginary).
    order = torch.arange(len(bias)).reshape(2, -1).T.flatten()
    new[f"{target}.fu.conv_layer.weight"] = weight[order][:, order]
    norm = _shift_norm(state, f"{source}.bn2", bias)
    return new | _name_norm(f"{target}.fu.bn", norm, order)


def _shift_norm(state: State, source: str, shift: Tensor) -> dict[str, Tensor]:
    """Return a BatchNorm that subtracts a bias before it: BN(x + b) with mean m is BN(x) with mean m - b."""
    norm = {name: state[f"{source}.{name}"] for name in _STATISTICS}
    if norm["running_mean"].shape != shift.shape:
        found, expected = tuple(norm["running_mean"].shape), tuple(shift.shape)
        raise ValueError(f"{source}.running_mean has shape {found}, expected {expected}")
    return norm | {"running_mean": norm["running_mean"] - shift}


def _name_norm(target: str, norm: State, channels: slice | Tensor | None = None) -> dict[str, Tensor]:
    """Return a BatchNorm's entries under a new prefix, of some channels."""
    return {
        f"{target}.{name}": (tensor[channels] if channels is not None and tensor.ndim else tensor).clone()
        for name, tensor in norm.items()
    }
