"""The roofline: the rate of plain convolutions in an engine on this machine, and the rate of copies in memory.

The arithmetic roof is measured with a chain of 3x3 convolutions of 128 channels, the main part of these networks, in
the same engine and precision. Copies are measured in numpy, with as many threads.

Source of the idea: S. Williams, A. Waterman, D. Patterson, "Roofline" (2009).
"""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from wavepaint.bench.cells import Cell, Result
from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, OUTPUT_IMAGE, Artifact, Model
from wavepaint.errors import WavePaintError
from wavepaint.machine import count_cores
from wavepaint.optional import require
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.registry import open_execution
from wavepaint.runtime.engines.session import make_batch

CHANNELS, LAYERS, SIDE = 128, 8, 128
GMAC = LAYERS * CHANNELS * CHANNELS * 9 * SIDE * SIDE / 1e9

COPY_BYTES = 1 << 28


def _write_convolutions(path: Path, *, half: bool) -> None:
    """Write the chain as a model with the contract's tensors, and with weights that keep its values finite."""
    onnx = require("onnx", extra="train")
    helper, numbers = onnx.helper, onnx.numpy_helper
    kind, dtype = (onnx.TensorProto.FLOAT16, np.float16) if half else (onnx.TensorProto.FLOAT, np.float32)
    generator = np.random.default_rng(0)
    shapes = [(CHANNELS, 3, 1, 1), *[(CHANNELS, CHANNELS, 3, 3)] * LAYERS, (3, CHANNELS, 1, 1)]
    weights = [
        numbers.from_array((generator.normal(size=shape) / np.prod(shape[1:]) ** 0.5).astype(dtype), f"w{index}")
        for index, shape in enumerate(shapes)
    ]
    nodes = [helper.make_node("Cast", [INPUT_IMAGE], ["x0"], to=kind)]
    for index, shape in enumerate(shapes):
        pads = [shape[2] // 2] * 4
        nodes.append(helper.make_node("Conv", [f"x{index}", f"w{index}"], [f"x{index + 1}"], pads=pads))
    nodes += [
        helper.make_node("Cast", [f"x{len(shapes)}"], ["y"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Where", ["hole", "y", INPUT_IMAGE], [OUTPUT_IMAGE]),
    ]
    nodes.insert(0, helper.make_node("Cast", [INPUT_MASK], ["hole"], to=onnx.TensorProto.BOOL))
    tensors = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", channels, "H", "W"])
        for name, channels in ((INPUT_IMAGE, 3), (INPUT_MASK, 1), (OUTPUT_IMAGE, 3))
    ]
    graph = helper.make_graph(nodes, "convolutions", tensors[:2], tensors[2:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def measure_matrix_rate(
    execution: ExecutionConfig, *, threads: int | None = None, seconds: float = 1.0
) -> float | None:
    """Return the chain's GMAC/s in an engine and precision, the best of its runs.

    Returns:
        None without the onnx package, or if the engine refuses the chain.
    """
    artifact = Artifact(path="chain.onnx", kind="onnx", precision=execution.artifact.precision)
    image, mask = make_batch(1, SIDE, SIDE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / artifact.path
        try:
            _write_convolutions(path, half=artifact.precision == "float16")
            chain = ExecutionConfig(execution.engine, Model(path, artifact), execution.arithmetic)
            with open_execution(chain, threads=threads) as session:
                return GMAC / find_best_seconds(lambda: session.run(image, mask), seconds)
        except WavePaintError:
            return None


def measure_copy_rate(threads: int | None = None, *, seconds: float = 1.0) -> float:
    """Return the GB/s that copies in memory read plus write, with ``threads`` threads or else one for each core."""
    num_threads = threads or count_cores()
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.zeros_like(source)
    parts = [
        slice(start, start + COPY_BYTES // num_threads) for start in range(0, COPY_BYTES, COPY_BYTES // num_threads)
    ]
    with ThreadPoolExecutor(num_threads) as pool:

        def copy() -> None:
            list(pool.map(lambda part: np.copyto(target[part], source[part]), parts))

        return 2 * COPY_BYTES / 1e9 / find_best_seconds(copy, seconds)


def add_shares(cell: Cell, result: Result, gmac_per_s: float | None, copy_gb_per_s: float | None) -> Result:
    """Return a result with its shares of both roofs; a share is None if its roof was not measured."""
    if result.p50_ms is None:
        return result
    least_bytes = cell.count_least_bytes()
    return replace(
        result,
        roofline=result.gmac * cell.batch / (result.p50_ms / 1e3) / gmac_per_s if gmac_per_s else None,
        copy_share=least_bytes / (result.p50_ms * 1e6) / copy_gb_per_s if least_bytes and copy_gb_per_s else None,
    )


def find_best_seconds(run: Callable[[], object], seconds: float) -> float:
    """Run repeatedly for about ``seconds`` seconds, and return the shortest time of a run."""
    run()
    best, finish = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < finish or best == float("inf"):
        started = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - started)
    return best
