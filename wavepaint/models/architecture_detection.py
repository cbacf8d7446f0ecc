"""Finding a checkpoint's architecture and hyper-parameters from the names and shapes in its state dict."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from wavepaint.errors import CheckpointError
from wavepaint.models.lama import ZERO_PADDING_ENTRY
from wavepaint.models.registry import ARCHITECTURES, Architecture, HyperParameters
from wavepaint.models.wavemix import MAX_LEVEL
from wavepaint.models.wavepaint import LEVELS_ENTRY, WAVELET_ENTRY
from wavepaint.ops.shifted_details import NUM_DETAILS

State = Mapping[str, Tensor]


def detect_architecture(state: State) -> tuple[Architecture, HyperParameters]:
    """Find architecture and hyper-parameters.

    Returns:
        The architecture, and its hyper-parameters. Those that leave no trace in a state dict are None if the output
        depends on them (a strided stem's stride), and absent if it does not (dropout).

    Raises:
        CheckpointError: No known architecture has these names.
    """
    for name, detect in _DETECTORS.items():
        try:
            found = detect(state)
        except (IndexError, ValueError, TypeError, RuntimeError, ZeroDivisionError):
            continue  # the names match this architecture, but its shapes or values do not
        if found is not None:
            return ARCHITECTURES[name], found
    names = ", ".join(sorted(state)[:3])
    raise CheckpointError(
        f"not a state dict of a known architecture ({', '.join(ARCHITECTURES)}); its first entries are: {names}."
    )


def _detect_wavepaint(state: State) -> HyperParameters | None:
    stem = state.get("wavemodules.0.conv.0.weight")
    block = _detect_block(state, "wavemodules.0.layers.0.")
    if stem is None or block is None:
        return None
    num_levels = state.get(LEVELS_ENTRY)
    last = state.get("wavemodules.0.decoder2.0.weight")
    num_details = 0 if last is None else last.shape[0] - 3
    found = {
        **block,
        "num_modules": _count_modules(state, "wavemodules."),
        "blocks_per_module": _count_modules(state, "wavemodules.0.layers."),
        "in_channels": stem.shape[1] - 3 * num_details,
        "prefill_levels": 0 if num_levels is None else int(num_levels),
        "borrow": num_details >= NUM_DETAILS,
        "match": num_details > NUM_DETAILS,
    }
    up = state.get("wavemodules.0.decoder1.0.weight")
    if up is not None and up.shape[-1] == 3:
        found["input_reduction"] = False
    if WAVELET_ENTRY in state:
        found["wavelet"] = bytes(state[WAVELET_ENTRY].tolist()).decode()
    return found


def _detect_lama(state: State) -> HyperParameters | None:
    stem = state.get("model.1.ffc.convl2l.weight")
    if stem is None or stem.shape[1:] != (4, 7, 7):
        return None
    num_layers = _count_modules({name: tensor for name, tensor in state.items() if ".ffc." in name}, "model.")
    num_downsampling = sum(f"model.{n}.ffc.convl2l.weight" in state for n in range(2, num_layers + 2))
    to_global = state.get(f"model.{num_downsampling + 1}.ffc.convl2g.weight")
    num_blocks = num_layers - 1 - num_downsampling
    if to_global is None or num_blocks < 1:
        return None
    found = {
        "num_blocks": num_blocks,
        "base_channels": stem.shape[0],
        "num_downsampling": num_downsampling,
        "global_channels": to_global.shape[0],
        "spectral_l2g": f"model.{num_downsampling + 2}.conv1.ffc.convl2g.conv2.weight" in state,
    }
    return found | ({"zero_padding": True} if ZERO_PADDING_ENTRY in state else {})


def _detect_unet(state: State) -> HyperParameters | None:
    first = state.get("down.0.0.weight")
    if first is None or first.shape[1:] != (4, 3, 3) or "up.4.0.weight" not in state:
        return None
    return {"base_channels": first.shape[0]}


def _detect_comodgan(state: State) -> HyperParameters | None:
    first, smallest = state.get("from_image.weight"), state.get("to_global.weight")
    if first is None or smallest is None:
        return None
    return {
        "resolution": 4 << _count_modules(state, "down."),
        "base_channels": first.shape[0],
        "max_channels": smallest.shape[0] // 2,
    }


def _detect_classifier(state: State) -> HyperParameters | None:
    found, last = _detect_wavemix(state), state.get("pool.2.weight")
    if found is None or last is None or last.ndim != 2:
        return None
    return {**found, "num_classes": last.shape[0]}


def _detect_segmenter(state: State) -> HyperParameters | None:
    found = _detect_wavemix(state)
    head = "expand" if found is not None and found["initial_conv"] == "strided" else "pool"
    first, last = state.get(f"{head}.0.weight"), state.get(f"{head}.2.weight")
    if found is None or first is None or last is None or last.ndim != 4:
        return None
    return {**found, "num_classes": last.shape[0], "head_dim": first.shape[1]}


def _detect_super_resolution(state: State) -> HyperParameters | None:
    block, last = _detect_block(state, "layers.0."), state.get("expand.1.weight")
    if block is None or last is None or last.shape[0] != 3 or last.shape[2:] != (1, 1):
        return None
    return {**block, "depth": _count_modules(state, "layers.")}


def _detect_wavemix(state: State) -> HyperParameters | None:
    """Read what classifier and segmenter have in common."""
    block = _detect_block(state, "layers.0.")
    if block is None:
        return None
    found = {**block, "depth": _count_modules(state, "layers.")}
    if "conv.2.weight" in state:
        return {**found, "initial_conv": "patchify", "patch_size": state["conv.2.weight"].shape[-1]}
    # The authors released strided stems of stride 1 and of stride 2, with the same names and shapes.
    return {**found, "initial_conv": "strided", "stride": None}


def _detect_block(state: State, prefix: str) -> dict[str, Any] | None:
    """Read the hyper-parameters of the WaveMix block at ``prefix``."""
    reduction = state.get(f"{prefix}reduction.weight")
    if reduction is None:
        return None
    name = "feedforward" if f"{prefix}feedforward.0.weight" in state else "feedforward1"
    first, second = state.get(f"{prefix}{name}.0.weight"), state.get(f"{prefix}{name}.3.weight")
    if first is None or second is None:
        return None
    final_dim = reduction.shape[1]
    return {
        "final_dim": final_dim,
        "mult": first.shape[0] // final_dim,
        "ff_channel": second.shape[0],
        "level": max(sum(f"{prefix}feedforward{n}.0.weight" in state for n in range(1, MAX_LEVEL + 1)), 1),
    }


def _count_modules(state: State, prefix: str) -> int:
    """Count the distinct indices of the entries ``{prefix}{index}.*``."""
    return len({key[len(prefix) :].split(".", 1)[0] for key in state if key.startswith(prefix)})


_DETECTORS: dict[str, Callable[[State], HyperParameters | None]] = {
    "wavepaint": _detect_wavepaint,
    "lama": _detect_lama,
    "unet": _detect_unet,
    "comodgan": _detect_comodgan,
    "wavemix-classifier": _detect_classifier,
    "wavemix-segmenter": _detect_segmenter,
    "wavemix-super-resolution": _detect_super_resolution,
}
"""A detector returns None for a state dict of another architecture."""
