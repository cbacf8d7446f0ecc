"""What runs in the proof's worker: graphs, plans, cells that are open, and heats of them.

The lanes of TensorRT run on the simulated GPU.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu import card, freezing, graphs, heats, opening, plans, timing
from benchmarks.gpu.accuracy import compare, make_inputs, run_reference
from benchmarks.gpu.cells import Cell, Effort, Heat, Place, Probe
from benchmarks.gpu.freezing import freeze_file
from benchmarks.gpu.heats import ALONE, PoisonedError, Runner
from benchmarks.gpu.lanes import NotRunError, StreamContext, allow_tf32
from benchmarks.gpu.networks import build, make_half, make_plain_half
from benchmarks.gpu.opening import forget_compiled, open_lane
from benchmarks.gpu.timing import Entry, time_round
from benchmarks.gpu.transforms import fill_matrices, keep_matrices
from tests.fakes.machine import Machine
from wavepaint.errors import ConfigError, EngineError, EngineMemoryError
from wavepaint.export.byte_io import add_byte_io
from wavepaint.runtime.engines.gpus import Gpu
from wavepaint.runtime.engines.tensorrt.session import TensorRtSession

EFFORT = Effort(rounds=2, seconds=0.0, min_calls=1, deadline=float("inf"))

# Graphs


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    graphs.prepare("tiny-wavepaint", folder)
    return folder


def test_a_prepared_graph_is_the_exported_one_without_its_weights(prepared: Path, tmp_path: Path) -> None:
    precision: graphs.FilePrecision = "float16"
    graphs.export_graph("tiny-wavepaint", precision, tmp_path / "whole.onnx")
    filled = graphs.open_graph("tiny-wavepaint", precision, "float32", prepared=prepared, work=tmp_path / "work")
    whole, given = (onnx.load(path) for path in (tmp_path / "whole.onnx", filled))
    assert [node.SerializeToString() for node in given.graph.node] == [
        node.SerializeToString() for node in whole.graph.node
    ]
    tensors = [{t.name: onnx.numpy_helper.to_array(t) for t in m.graph.initializer} for m in (whole, given)]
    assert tensors[0].keys() == tensors[1].keys()
    for name, value in tensors[0].items():
        np.testing.assert_array_equal(tensors[1][name], value, strict=True)
    kept = (prepared / f"tiny-wavepaint.{precision}.onnx").stat().st_size
    taken = sum(value.nbytes for value in tensors[0].values() if value.nbytes >= 256)
    assert kept < filled.stat().st_size - 0.9 * taken


def test_a_graph_of_another_version_is_refused(prepared: Path) -> None:
    model = onnx.load(prepared / "tiny-wavepaint.float16.onnx")
    weights = graphs._weights("tiny-wavepaint", "float16")
    name = next(name for name, tensor in weights.items() if tensor.numel() > 1000)
    with pytest.raises(ConfigError, match="prepared by another version"):
        graphs.give_weights(model, {**weights, name: torch.zeros(3)})


SPECTRAL = """
<ir_version: 9, opset_import: ["" : 20]>
spectral (float[N,3,H,W] image, float[N,1,H,W] mask) => (float[N,3,H,W] image_out) {
    zero = Constant<value_int: int = 0>()
    one = Constant<value_int: int = 1>()
    first = Constant<value_ints: ints = [0]>()
    second = Constant<value_ints: ints = [1]>()
    tenth = Constant<value_float: float = 0.1>()
    side_1 = Shape<start: int = 3>(image)
    side = Squeeze(side_1, first)
    places = Range(zero, side, one)
    column = Unsqueeze(places, second)
    row = Unsqueeze(places, first)
    products = Mul(column, row)
    values = Cast<to: int = 1>(products)
    angles = Mul(values, tenth)
    matrix = Cos(angles)
    whole = Shape(image)
    spread = Expand(mask, whole)
    seen = Mul(image, spread)
    image_out = MatMul(seen, matrix)
}
"""
"""A network that, as LaMa's file, makes its matrices from the size that comes."""


@pytest.mark.parametrize("io_dtype", ["float32", "uint8"])
def test_a_frozen_graph_computes_the_same_and_nothing_from_its_size(io_dtype: Any, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(SPECTRAL)
    onnx.save(model if io_dtype == "float32" else add_byte_io(model, 8, "symmetric"), tmp_path / "any.onnx")
    assert freeze_file(tmp_path / "any.onnx", tmp_path / "one.onnx", 2, 24, io_dtype) == ""
    frozen = onnx.load(tmp_path / "one.onnx")
    kinds = {node.op_type for node in frozen.graph.node}
    assert not kinds & {"Shape", "Range", "Cos", "Squeeze", "Unsqueeze", "Constant"}
    assert {"Expand", "Mul", "MatMul"} <= kinds
    shapes = [[dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in frozen.graph.input]
    assert shapes == ([[2, 3, 24, 24], [2, 1, 24, 24]] if io_dtype == "float32" else [[2, 24, 24, 3], [2, 24, 24, 1]])
    image, mask = make_inputs(2, 24, io_dtype)
    expected, given = (
        onnxruntime.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"]).run(
            None, {"image": image, "mask": mask}
        )[0]
        for name in ("any.onnx", "one.onnx")
    )
    np.testing.assert_allclose(given.astype(float), expected.astype(float), atol=1e-4 if io_dtype == "float32" else 1)


def test_a_large_constant_stays_what_makes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(freezing, "MAX_FOLDED", 100)
    onnx.save(onnx.parser.parse_model(SPECTRAL), tmp_path / "any.onnx")
    freeze_file(tmp_path / "any.onnx", tmp_path / "one.onnx", 1, 24, "float32")
    frozen = onnx.load(tmp_path / "one.onnx")
    assert max(np.prod(tensor.dims, dtype=int) for tensor in frozen.graph.initializer) == 24
    assert "Cos" in {node.op_type for node in frozen.graph.node}


def test_what_cannot_be_folded_has_its_sizes_fixed_and_is_told(
    gpu_place: Place, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fold(model: Any) -> Any:
        raise ValueError("no such operator")

    monkeypatch.setattr(freezing, "fold_constants", fold)
    cell = Cell("tensorrt", "float16", "tiny-wavepaint", 32, 1)
    for _ in range(2):  # also where the plan was kept
        lane = open_lane(cell, gpu_place)
        assert "what follows from them is left to the engine (ValueError: no such operator)" in lane.note
        lane.close()
    assert len(machine.builds) == 1


BRANCHED = """
<ir_version: 9, opset_import: ["" : 20]>
branched (float[N,3,H,W] image, float[N,1,H,W] mask) => (float[N,3,H,W] image_out) {
    half = Constant<value_float: float = 0.5>()
    top = ReduceMax<keepdims: int = 0>(image)
    is_bright = Greater(top, half)
    image_out = If(is_bright) <
        then_branch = dark () => (float[N,3,H,W] darker) { darker = Mul(image, half) },
        else_branch = same () => (float[N,3,H,W] copied) { copied = Identity(image) }
    >
}
"""
"""A network one of whose branches reads what could be folded outside of it."""


def test_a_graph_with_branches_is_not_folded_which_is_told(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(BRANCHED), tmp_path / "any.onnx")
    note = freeze_file(tmp_path / "any.onnx", tmp_path / "one.onnx", 1, 24, "float32")
    assert note.endswith("is left to the engine (ValueError: If has a graph of its own)")
    onnx.checker.check_model(onnx.load(tmp_path / "one.onnx"), full_check=True)


# Lanes


@pytest.fixture
def gpu_place(machine: Machine, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place with a simulated GPU under TensorRT; PyTorch stays on the CPU."""
    monkeypatch.setattr(plans, "build_plan", machine.build_plan)
    monkeypatch.setattr(plans, "find_gpus", lambda: [Gpu("Simulated GPU", "sm90", 80_000)])
    monkeypatch.setattr(plans, "_worked", {})
    return Place(work=tmp_path / "work", prepared=prepared, device="cuda")


@pytest.mark.parametrize("io_dtype", ["float32", "uint8"])
@pytest.mark.parametrize(
    ("engine", "launch"), [("tensorrt", "graph"), ("tensorrt", "plain"), ("tensorrt-rtx", "graph")]
)
def test_a_plan_is_built_for_the_shape_checked_and_timed(
    gpu_place: Place, machine: Machine, engine: str, launch: Any, io_dtype: Any
) -> None:
    cell = Cell(engine, "float16", "tiny-wavepaint", 32, 2, launch, io_dtype)
    image, mask = make_inputs(2, 32, io_dtype)
    lane = open_lane(cell, gpu_place)
    output = lane.run(image, mask)
    assert compare(output, run_reference(build("tiny-wavepaint"), "cpu", image, mask), image, mask).passed
    assert len(lane.time_compute(image, mask, 4)) == 4
    launches = machine.gpu.count("launch")
    assert (lane.time_burst(image, mask, 7) or 0) > 0
    if engine == "tensorrt" and launch == "graph":
        assert machine.gpu.count("launch") - launches == 2 + 7  # the session runs the size before it times it
    assert (machine.gpu.count("capture") > 0) == (engine == "tensorrt" and launch == "graph")
    lane.close()
    machine.require_all_freed()
    (profile,) = machine.builds[0][5].profiles
    assert profile.min == profile.opt == profile.max == (2, 32, 32)
    assert not list(gpu_place.work.glob("*.b2.*.onnx"))  # what it was built from is as large as the model
    open_lane(cell, gpu_place).close()
    assert len(machine.builds) == 1  # the plan was kept


@pytest.mark.parametrize("error", [EngineError("sm90 is not supported"), AttributeError("sm90 is not supported")])
@pytest.mark.parametrize("fails_at", ["build", "first run"])
def test_tensorrt_rtx_is_tried_for_every_gpu_where_no_plan_for_this_one_runs(
    fails_at: str, error: Exception, gpu_place: Place, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*arguments: Any, **callbacks: Any) -> dict[str, Any]:
        if fails_at == "build" and arguments[5].targets != ("any",):
            raise error
        return machine.build_plan(*arguments, **callbacks)

    class Session(TensorRtSession):
        def run(self, image: Any, mask: Any) -> Any:
            if not self.path.name.endswith("-any.plan"):  # where TensorRT-RTX compiles its kernels
                raise error
            return super().run(image, mask)

    monkeypatch.setattr(plans, "build_plan", build)
    if fails_at == "first run":
        monkeypatch.setattr(plans, "TensorRtSession", Session)
    cells = [Cell("tensorrt-rtx", "float16", "tiny-wavepaint", 32, batch) for batch in (1, 2)]
    lane = open_lane(cells[0], gpu_place)
    assert lane.label.endswith(", built for every GPU")
    assert lane.note.startswith("for the GPU at hand: ")
    assert lane.note.endswith("sm90 is not supported")
    lane.close()
    lane = open_lane(cells[1], gpu_place)  # what worked is tried first from then on
    assert (lane.label.endswith(", built for every GPU"), lane.note) == (True, "")
    lane.close()
    assert [one[5].targets for one in machine.builds][-2:] == [("any",), ("any",)]
    machine.require_all_freed()
    with pytest.raises(EngineError, match="for the GPU at hand: .*sm90 is not supported"):
        open_lane(Cell("tensorrt", "float16", "tiny-wavepaint", 32, 1), gpu_place)
    machine.require_all_freed()


def test_where_memory_does_not_suffice_no_other_plan_is_built(
    gpu_place: Place, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*arguments: Any, **callbacks: Any) -> dict[str, Any]:
        machine.build_plan(*arguments, **callbacks)
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(plans, "build_plan", build)
    with pytest.raises(RuntimeError, match="out of memory"):
        open_lane(Cell("tensorrt-rtx", "float16", "tiny-wavepaint", 32, 1), gpu_place)
    assert len(machine.builds) == 1


@pytest.mark.parametrize(
    ("engine", "launch", "method"),
    [("tensorrt", "graph", "capture"), ("tensorrt-rtx", "graph", "is_stream_capturable"), ("tensorrt", "plain", "")],
)
def test_a_graph_that_is_not_captured_is_noted(
    engine: str, launch: Any, method: str, gpu_place: Place, machine: Machine
) -> None:
    machine.trt.fails[method] = "a layer cannot be captured"
    lane = open_lane(Cell(engine, "float16", "tiny-wavepaint", 32, 1, launch), gpu_place)
    assert ("captur" in lane.note) == (launch == "graph")
    lane.close()


def test_a_plan_says_what_it_was_built_for_and_that_its_build_goes_on(
    gpu_place: Place, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = []

    def build(*arguments: Any, on_progress: Any) -> dict[str, Any]:
        on_progress("a phase", 0.5)
        return machine.build_plan(*arguments)

    monkeypatch.setattr(plans, "build_plan", build)
    lane = open_lane(Cell("tensorrt-rtx", "float16", "tiny-wavepaint", 32, 1), gpu_place, lambda: words.append("alive"))
    assert (lane.label.endswith(", built for the GPU at hand"), lane.note, words) == (True, "", ["alive"])
    lane.close()


def test_without_a_gpu_the_reason_is_no_failure(prepared: Path, tmp_path: Path) -> None:
    place = Place(work=tmp_path, prepared=prepared, device="cpu")
    for cell in (
        Cell("tensorrt", "float16", "tiny-wavepaint", 32, 1),
        Cell("pytorch", "float16", "tiny-wavepaint", 32, 1),
    ):
        with pytest.raises(NotRunError, match="not run: no GPU"):
            open_lane(cell, place)


def test_half_precision_of_the_exported_network_has_the_names_of_its_file(prepared: Path) -> None:
    held = {f"network.{name}" for name in make_half("tiny-wavepaint").state_dict()}
    emptied = [
        tensor.name
        for tensor in onnx.load(prepared / "tiny-wavepaint.float16.onnx").graph.initializer
        if not tensor.raw_data
    ]
    assert len(emptied) > 10
    assert {*emptied} <= held


def test_pytorch_rounds_what_a_precision_allows() -> None:
    def allowed() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    before = allowed()
    assert before == (True, False)
    try:
        for precision, expected in (("float32", (False, False)), ("tf32", (True, True)), ("defaults", before)):
            allow_tf32(precision)
            assert allowed() == expected
    finally:
        allow_tf32("defaults")


class OpNames(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


MATRIX_OPS = {"arange", "cos", "sin", "full", "remainder", "rsqrt"}


def count_matrix_ops(network: torch.nn.Module, *tensors: torch.Tensor) -> tuple[int, int]:
    """Return how many operations a forward has, and how many of them make matrices."""
    with torch.inference_mode(), OpNames() as ops:
        network(*tensors)
    return len(ops.names), sum(name in MATRIX_OPS for name in ops.names)


def test_half_precision_in_pytorch_makes_its_matrices_once_and_computes_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, kept = make_plain_half("tiny-lama"), make_plain_half("tiny-lama")
    assert keep_matrices(kept) > 0
    assert keep_matrices(make_plain_half("tiny-wavepaint")) == 0
    for height, width in ((32, 48), (48, 32)):  # another size is no other's
        tensors = torch.rand(2, 3, height, width), (torch.rand(2, 1, height, width) > 0.5).float()
        with torch.inference_mode():
            first, expected = kept(*tensors), original(*tensors)
            assert torch.equal(first, expected)
            assert torch.equal(kept(*tensors), expected)
        assert count_matrix_ops(original, *tensors)[1] > 50
        assert count_matrix_ops(kept, *tensors)[1] == 0
    assert count_matrix_ops(kept, *tensors)[0] < 0.7 * count_matrix_ops(original, *tensors)[0]


@pytest.mark.parametrize(("engine", "precision"), [("torch-compile", "float16"), ("pytorch", "float32")])
def test_pytorch_keeps_matrices_in_half_precision_alone_and_makes_them_before_it_compiles(
    engine: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_plain_half("tiny-lama")
    for name in ("make_plain_half", "build"):
        monkeypatch.setattr(opening, name, lambda model: network)
    lane = open_lane(
        Cell(engine, precision, "tiny-lama", 32, 2, "plain"), Place(work=Path(), prepared=None, device="cpu")
    )
    num_made = count_matrix_ops(network, torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32))[1]
    assert (num_made == 0) == (precision == "float16")
    lane.close()


def test_what_is_compiled_has_its_matrices_as_buffers() -> None:
    network = make_plain_half("tiny-lama")
    keep_matrices(network)
    fill_matrices(network, 32, "cpu")
    traced: list[set[str]] = []

    def note(graph: Any, tensors: Any) -> Any:
        traced.append({str(node.target) for node in graph.graph.nodes})
        return graph

    tensors = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    with torch.inference_mode():
        compiled: Any = torch.compile(network, dynamic=False, backend=note)
        assert torch.equal(compiled(*tensors), network(*tensors))
    assert len(traced) == 1
    assert not any(name in target for target in traced[0] for name in ("arange", "cos", "sin"))
    forget_compiled()


def test_every_compiled_cell_of_a_heat_is_compiled() -> None:
    from torch._dynamo.testing import CompileCounter

    def make() -> torch.nn.Module:
        return torch.nn.Linear(2, 2).eval()

    with torch._dynamo.config.patch(recompile_limit=8, fail_on_recompile_limit_hit=False):
        opening._let_compile()
        counter = CompileCounter()
        networks = [torch.compile(make(), dynamic=False, backend=counter) for _ in range(12)]
        for rows, network in enumerate(networks, 2):
            network(torch.zeros(rows, 2))
        assert counter.frame_count == 12
        forget_compiled()
        networks[0](torch.zeros(2, 2))
        assert counter.frame_count == 13


def test_memory_is_what_the_driver_misses_or_the_peak_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {"driver": 100, "current": 10, "peak": 500}  # MiB; the peak is of an algorithm that was tried

    def read() -> dict[str, int]:
        return {f"allocated_bytes.all.{which}": taken[which] << 20 for which in ("current", "peak")}

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: ((1000 - taken["driver"]) << 20, 1000 << 20))
    monkeypatch.setattr(torch.cuda, "memory_stats", read)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: taken.update(peak=taken["current"]))
    meter = card.Meter()
    meter.begin_run()
    taken.update(driver=120, peak=80)  # weights and inputs stay, activations went
    assert meter.taken_mb() == 70
    taken.update(driver=300)  # a graph keeps its memory
    assert meter.taken_mb() == 200


@pytest.mark.parametrize(
    ("error", "expected"),
    [(None, False), ("CUDA error: an illegal memory access was encountered", True), ("CUDA out of memory.", False)],
)
def test_a_full_card_is_no_broken_one(error: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(*size: int, device: str) -> torch.Tensor:
        if error:
            raise RuntimeError(error)
        return torch.zeros(1)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch, "ones", probe)
    assert card.is_poisoned() == expected


# Heats


class FakeLane(StreamContext):
    """Fills nothing; notes what is done to it, and fails where its launch is told to."""

    log: ClassVar[list[str]] = []
    fails: ClassVar[dict[str, tuple[str, Exception]]] = {}

    def __init__(self, cell: Cell) -> None:
        self.cell, self.label = cell, "fake"
        self._do("open")

    def _do(self, what: str) -> None:
        self.log.append(f"{what} {self.cell.launch}")
        when, error = self.fails.get(self.cell.launch, ("", None))
        if when == what and error is not None:
            raise error

    def run(self, image: Any, mask: Any) -> Any:
        return image

    def time_compute(self, image: Any, mask: Any, num_runs: int) -> list[float]:
        self._do("time")
        return [2.0] * num_runs

    def time_burst(self, image: Any, mask: Any, num_runs: int) -> float | None:
        return 1.0

    def close(self) -> None:
        self._do("close")


GRAPH, PLAIN = (Cell("pytorch", "float16", "tiny-wavepaint", 32, 4, launch) for launch in ("graph", "plain"))


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeLane]]:
    monkeypatch.setattr(heats, "open_lane", lambda cell, place, alive: FakeLane(cell))
    FakeLane.log, FakeLane.fails = [], {}
    yield FakeLane
    FakeLane.log, FakeLane.fails = [], {}


def race(tmp_path: Path, *cells: Cell) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Run a heat; return its messages, and the last result of each cell."""
    messages: list[dict[str, Any]] = []
    Runner(Place(work=tmp_path, prepared=None, device="cpu"), messages.append).run(Heat("x", cells), EFFORT)
    return messages, {one["id"]: one["result"] for one in messages if "result" in one}


def test_cells_are_timed_in_turns_and_closed_after_a_word(fakes: type[FakeLane], tmp_path: Path) -> None:
    messages, results = race(tmp_path, GRAPH, PLAIN)
    turns = ["open graph", "open plain", *["time graph", "time plain"] * 2, "close graph", "close plain"]
    assert fakes.log == turns
    assert messages[-1] == {"closes": True}
    assert [result["with_copies"]["num_rounds"] for result in results.values()] == [2, 2]


def test_throughput_is_of_runs_back_to_back_and_latency_of_single_ones() -> None:
    ones = np.ones((1, 1, 8, 8), np.float32)
    entry = Entry(PLAIN, FakeLane(PLAIN), compare(ones, ones, ones, ones), 0.0)
    time_round(entry, *make_inputs(4, 32, "float32"), EFFORT)
    compute = entry.result()["compute"]
    assert (compute["p50_ms"], compute["bursts"]["p50_ms"], compute["images_per_s"]) == (2.0, 1.0, 4000.0)


def test_runs_that_take_long_by_themselves_are_timed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ones = np.ones((1, 1, 8, 8), np.float32)
    entry = Entry(PLAIN, FakeLane(PLAIN), compare(ones, ones, ones, ones), 0.0)
    monkeypatch.setattr(timing, "BURST_MS", 2.0)
    time_round(entry, *make_inputs(4, 32, "float32"), EFFORT)
    assert entry.bursts == entry.alone == [[2.0]]


def test_a_lane_that_does_not_close_loses_nothing(fakes: type[FakeLane], tmp_path: Path) -> None:
    fakes.fails["graph"] = ("close", RuntimeError("driver shut down"))
    messages, results = race(tmp_path, GRAPH, PLAIN)
    assert {result["status"] for result in results.values()} == {"done"}
    assert messages[-1] == {"id": GRAPH.id, "note": "closing it failed: RuntimeError: driver shut down"}
    assert fakes.log[-2:] == ["close graph", "close plain"]


def test_an_engine_that_works_and_does_not_close_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class StuckLane(FakeLane):
        def close(self) -> None:
            raise RuntimeError("driver shut down")

    monkeypatch.setattr(heats, "run_probe", lambda *how: ({"version": "1"}, StuckLane(PLAIN)))
    messages: list[dict[str, Any]] = []
    probe = Probe("engine", "tensorrt-rtx")
    Runner(Place(work=tmp_path, prepared=None, device="cpu"), messages.append).run(Heat("x", (probe,)), EFFORT)
    kept, last_word, noted = messages[1:]
    assert (kept["result"]["status"], last_word) == ("done", {"closes": True})
    assert noted == {"id": probe.id, "note": "closing it failed: RuntimeError: driver shut down"}


def test_after_a_close_that_breaks_cuda_another_process_goes_on(
    fakes: type[FakeLane], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heats, "is_poisoned", lambda: True)
    fakes.fails["plain"] = ("close", RuntimeError("illegal address"))
    with pytest.raises(PoisonedError, match="closing cells failed"):
        race(tmp_path, PLAIN)


@pytest.mark.parametrize("when", ["open", "time"])
@pytest.mark.parametrize("error", [EngineMemoryError("too little"), RuntimeError("CUDA out of memory. Tried")])
def test_a_cell_that_finds_no_memory_is_raced_again_alone(
    when: str, error: Exception, fakes: type[FakeLane], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.fails["graph"] = (when, error)
    close = fakes.close

    def close_and_make_room(self: FakeLane) -> None:
        close(self)
        if self.cell is PLAIN:
            fakes.fails.clear()

    monkeypatch.setattr(fakes, "close", close_and_make_room)
    _, results = race(tmp_path, GRAPH, PLAIN)
    assert (results[GRAPH.id]["status"], results[GRAPH.id]["note"]) == ("done", ALONE)
    assert (results[PLAIN.id]["status"], results[PLAIN.id]["note"]) == ("done", "")
    assert fakes.log[-4:] == ["open graph", "time graph", "time graph", "close graph"]


def test_a_cell_that_finds_no_memory_alone_fails(fakes: type[FakeLane], tmp_path: Path) -> None:
    fakes.fails["graph"] = ("time", EngineMemoryError("too little"))
    _, results = race(tmp_path, GRAPH, PLAIN)
    assert (results[GRAPH.id]["status"], results[GRAPH.id]["problem"]) == ("failed", "too little")
    assert results[PLAIN.id]["status"] == "done"


def test_tensors_of_more_elements_than_can_be_counted_are_left_out(fakes: type[FakeLane], tmp_path: Path) -> None:
    _, results = race(tmp_path, Cell("pytorch", "float16", "wavepaint", 1024, 64))
    (result,) = results.values()
    assert result["status"] == "not run"
    assert result["problem"] == "not run: a tensor between its layers has 4.3e+09 elements, more than 2^31"
    assert fakes.log == []
