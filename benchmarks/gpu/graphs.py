"""ONNX files of the models: exported once, carried without their weights, and made whole where they are used.

Exporting LaMa takes a minute, big-lama two, and their float16 files 54 and 100 MB. Weights are random with a fixed seed
(or lie in the checkout, those of the model that ships), so that :func:`prepare` keeps the graphs alone, a few hundred
kB, and :func:`open_graph` puts the weights of the network that is built on the spot back in, in a second. What was not
prepared is exported on the spot. Only the model's known layers are filled: PyTorch's exporter names every weight by its
place in the network, and a weight that has no such name stays in the file.
"""

import json
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

from benchmarks.gpu.networks import UPSAMPLING, build, find_padding, find_size_multiple, make_half
from wavepaint import __version__
from wavepaint.atomic import write_file
from wavepaint.bench.entrants import DEFAULT
from wavepaint.contract import IoDtype, default_bundle_folder
from wavepaint.errors import ConfigError
from wavepaint.export.byte_io import add_byte_io
from wavepaint.export.cases import verification_cases
from wavepaint.export.fusion.fuse import fuse
from wavepaint.export.precision import to_half
from wavepaint.export.to_onnx import export_onnx

FilePrecision = Literal["float32", "float16"]
FILE_PRECISIONS: tuple[FilePrecision, ...] = ("float16", "float32")

_PREFIX = "network."
"""What the exported graph puts before a network's own names."""

_FEWEST_BYTES = 256
"""Smaller constants stay in the file."""


def export_graph(name: str, precision: FilePrecision, path: Path) -> list[str]:
    """Export a model fused, with float32 edges, as ``wp export`` does; return the layers kept in float32.

    Half precision is guarded: on the CPU, in the cases that exports are verified in.
    """
    network: nn.Module = fuse(build(name), upsampling=UPSAMPLING)
    multiple, kept = find_size_multiple(name), []
    if precision == "float16":
        half = to_half(network, verification_cases(multiple))
        network, kept = half.network, half.kept_float32
    export_onnx(network, multiple, path)
    return kept


def _weights(name: str, precision: FilePrecision) -> dict[str, Tensor]:
    network = make_half(name) if precision == "float16" else fuse(build(name), upsampling=UPSAMPLING)
    return {_PREFIX + key: tensor for key, tensor in network.state_dict().items()}


def take_weights(model: ModelProto, weights: dict[str, Tensor]) -> ModelProto:
    """Return a copy of a model without the values of the weights that a network has under the same names."""
    model = ModelProto.FromString(model.SerializeToString())
    for initializer in model.graph.initializer:
        own = weights.get(initializer.name)
        if own is not None and len(initializer.raw_data) >= _FEWEST_BYTES:
            initializer.ClearField("raw_data")
    return model


def give_weights(model: ModelProto, weights: dict[str, Tensor]) -> ModelProto:
    """Return a copy of a model with the values that :func:`take_weights` took.

    Raises:
        ConfigError: The network has no such weight, or one of another shape: the graph is another version's.
    """
    model = ModelProto.FromString(model.SerializeToString())
    for initializer in model.graph.initializer:
        kind = onnx.helper.tensor_dtype_to_np_dtype(initializer.data_type)
        expected = int(np.prod(initializer.dims)) * np.dtype(kind).itemsize
        if len(initializer.raw_data) == expected or expected < _FEWEST_BYTES:
            continue
        own = weights.get(initializer.name)
        if own is None or list(own.shape) != list(initializer.dims):
            found = "none" if own is None else list(own.shape)
            raise ConfigError(
                f"the prepared graph wants {initializer.name} {list(initializer.dims)}, and the network built here has "
                f"{found}: it was prepared by another version. Prepare again (--prepare), or leave --prepared out."
            )
        values = own.detach().cpu().numpy().astype(kind)
        initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))
    return model


def prepare(name: str, folder: Path) -> dict[str, Any]:
    """Export a model in each precision and keep the graphs without weights.

    Returns:
        What was done: seconds, bytes, layers kept in float32. A graph with such layers is not kept, since their
        weights are not those of the network in half precision; it is exported where it is used.
    """
    told: dict[str, Any] = {"wavepaint": __version__, "torch": str(torch.__version__), "onnx": onnx.__version__}
    for precision in FILE_PRECISIONS:
        started = time.perf_counter()
        path = folder / f"{name}.{precision}.onnx"
        with write_file(path, overwrite=True) as whole:
            kept = export_graph(name, precision, whole)
            num_bytes = whole.stat().st_size
            onnx.save(take_weights(onnx.load(whole), _weights(name, precision)), whole)
        if kept:
            path.unlink()
        told[precision] = {
            "seconds": round(time.perf_counter() - started, 1),
            "bytes": num_bytes,
            "kept_bytes": path.stat().st_size if path.exists() else 0,
            "kept_float32": kept,
        }
    with write_file(folder / f"{name}.json", overwrite=True) as temporary:
        temporary.write_text(json.dumps(told, indent=2) + "\n")
    return told


def open_graph(name: str, precision: FilePrecision, io_dtype: IoDtype, *, prepared: Path | None, work: Path) -> Path:
    """Return a model's ONNX file, made where it is not there yet.

    Args:
        name: The model.
        precision: Arithmetic inside.
        io_dtype: Kind of inputs and outputs.
        prepared: Where :func:`prepare` wrote.
        work: Where whole files are kept.

    Raises:
        ConfigError: A prepared graph of another version.
    """
    if name == DEFAULT:  # ships exported
        suffix = (".fp16" if precision == "float16" else "") + (".uint8" if io_dtype == "uint8" else "")
        return default_bundle_folder() / f"model{suffix}.onnx"
    path = work / f"{name}.{precision}.{io_dtype}.onnx"
    if path.exists():
        return path
    if io_dtype == "uint8":
        floats = open_graph(name, precision, "float32", prepared=prepared, work=work)
        model = add_byte_io(onnx.load(floats), find_size_multiple(name), find_padding(name))
        with write_file(path, overwrite=True) as temporary:
            onnx.save(model, temporary)
        return path
    graph = prepared / f"{name}.{precision}.onnx" if prepared is not None else None
    with write_file(path, overwrite=True) as temporary:
        if graph is not None and graph.exists():
            onnx.save(give_weights(onnx.load(graph), _weights(name, precision)), temporary)
        else:
            export_graph(name, precision, temporary)
    return path
