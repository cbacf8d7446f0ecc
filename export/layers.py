"""Compare two forms of a network layer by layer, to find where they diverge.

Exported nodes carry the names of the PyTorch modules that they come from. The last node of each innermost module
becomes an output of the graph: that layer's output. The reference is another export or the network in PyTorch, with
layers of the same names. Layers that only one of the two has are skipped.
"""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from wavepaint.contract import INPAINTING, Artifact, Task
from wavepaint.errors import EngineError
from wavepaint.export.cases import AnyCase, Image
from wavepaint.export.to_onnx import SCOPES
from wavepaint.optional import require
from wavepaint.runtime.engines.openvino import load_openvino

if TYPE_CHECKING:
    from torch import Tensor, nn

Layers = dict[str, NDArray[np.float32]]
RunLayers = Callable[..., Layers]
"""A task's inputs -> the output of every layer, in the order in which they run."""

MIN_SNR_DB = {"float32": 95.0, "float16": 40.0, "bfloat16": 20.0}
"""Smallest signal-to-noise ratio of a layer that passes. A value rounded once has about 150, 72 and 54 dB. Rounding
errors accumulate with depth, and cancelling sums amplify them: the default model's worst layers have 108, 45 and 23
dB."""

_TAP = "layer/"


@dataclass(frozen=True, kw_only=True)
class LayerComparison:
    """The difference between a layer's outputs, over all cases.

    ``snr_db`` is the smallest ratio of the reference's energy to the error's; None if the two are equal, or if values
    are not finite.
    """

    layer: str
    max_error: float
    snr_db: float | None
    num_not_finite: int
    passed: bool


def _layer_name(scopes: Sequence[str]) -> str | None:
    """Return the PyTorch name of a node's innermost module; None for nodes of the outermost."""
    # The last entry is the node itself. A wrapper gets the name of the layer inside.
    modules = [scope for scope in scopes[:-1] if scope]
    name = modules[-1] if modules else ""
    return _strip_wrappers(name).removesuffix(".layer") or None


def _strip_wrappers(name: str) -> str:
    while name.startswith("network"):
        name = name.removeprefix("network").removeprefix(".")
    return name


def tap_layers(model: onnx.ModelProto) -> list[str]:
    """Make the output of every layer an output of the graph, as float32 named ``layer/NAME``; return the names."""
    last: dict[str, str] = {}
    for node in model.graph.node:
        for note in node.metadata_props:
            name = _layer_name(ast.literal_eval(note.value)) if note.key == SCOPES else None
            if name:
                last[name] = node.output[0]
    parents = {name.rpartition(".")[0] for name in last}
    names = [name for name in last if not any(parent == name or parent.startswith(f"{name}.") for parent in parents)]
    for name in names:
        model.graph.node.append(helper.make_node("Cast", [last[name]], [_TAP + name], to=TensorProto.FLOAT))
        model.graph.output.append(helper.make_tensor_value_info(_TAP + name, TensorProto.FLOAT, None))
    return names


def onnx_layers(path: Path, artifact: Artifact, task: Task = INPAINTING) -> RunLayers:
    """Return a function that runs an exported model with float32 inputs and outputs, and returns its layers.

    It uses OpenVINO for bfloat16, and ONNX Runtime otherwise.

    Raises:
        EngineError: The engine is not installed, or refuses the tapped model.
    """
    model = onnx.load(path)
    names = tap_layers(model)
    wanted = [*(_TAP + name for name in names), task.output]
    content = model.SerializeToString()
    try:
        run = _open_openvino(content, wanted) if artifact.precision == "bfloat16" else _open_ort(content, wanted)
    except EngineError:
        raise
    except Exception as error:  # the engines' exceptions share no base but Exception
        raise EngineError(f"the layers of {path} cannot be run: {str(error).strip().splitlines()[0]}") from error

    def layers(*inputs: Image) -> Layers:
        outputs = run(dict(zip(task.inputs, inputs, strict=True)))
        return dict(zip([*names, task.output], outputs, strict=True))

    return layers


_RunTensors = Callable[[dict[str, Image]], list[Image]]


def _open_ort(content: bytes, wanted: list[str]) -> _RunTensors:
    ort = require("onnxruntime", extra="cpu")
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(wanted, inputs)


def _open_openvino(content: bytes, wanted: list[str]) -> _RunTensors:
    core = load_openvino().Core()
    model: Any = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})

    def run(inputs: dict[str, Image]) -> list[Image]:
        outputs = model(inputs, share_outputs=False)
        return [outputs[name] for name in wanted]

    return run


def torch_layers(network: "nn.Module", task: Task = INPAINTING) -> RunLayers:
    """Return a function that runs a network in PyTorch, and returns the last output of each module without children."""
    import torch

    from wavepaint.export.graphs import make_graph

    graph = make_graph(network, task).eval()

    def layers(*inputs: Image) -> Layers:
        found: Layers = {}

        def keep(name: str, module: "nn.Module", inputs: Any, output: "Tensor") -> None:
            found.pop(name, None)
            found[name] = output.numpy()

        hooks = [
            module.register_forward_hook(partial(keep, _strip_wrappers(name)))
            for name, module in network.named_modules()
            if name and not list(module.children())
        ]
        try:
            with torch.inference_mode():
                output = graph(*map(torch.from_numpy, inputs)).numpy()
        finally:
            for hook in hooks:
                hook.remove()
        return {**found, task.output: output}

    return layers


def compare_layers(
    candidate: RunLayers, reference: RunLayers, cases: Sequence[AnyCase], min_snr_db: float
) -> list[LayerComparison]:
    """Compare every layer the two have in common, in the candidate's order.

    Args:
        candidate: The form to judge.
        reference: The form to compare it with.
        cases: Inputs.
        min_snr_db: Smallest signal-to-noise ratio of a layer that passes.
    """
    worst: dict[str, tuple[float, float, int]] = {}
    for _, *inputs in cases:
        expected = reference(*inputs)
        for name, output in candidate(*inputs).items():
            if name not in expected or expected[name].shape != output.shape:
                continue
            wanted = expected[name].astype(np.float64)
            not_finite = int(output.size - np.isfinite(output).sum())
            error = np.abs(np.nan_to_num(output.astype(np.float64), posinf=np.inf) - wanted)
            noise, signal = float((error**2).mean()), float((wanted**2).mean())
            snr = np.inf if noise == 0 else -np.inf if signal == 0 or not_finite else 10 * np.log10(signal / noise)
            error_before, snr_before, not_finite_before = worst.get(name, (0.0, np.inf, 0))
            worst[name] = (
                max(error_before, float(error.max())),
                min(snr_before, float(snr)),
                not_finite_before + not_finite,
            )
    return [
        LayerComparison(
            layer=name,
            max_error=error,
            snr_db=snr if np.isfinite(snr) else None,
            num_not_finite=not_finite,
            passed=not not_finite and snr >= min_snr_db,
        )
        for name, (error, snr, not_finite) in worst.items()
    ]
