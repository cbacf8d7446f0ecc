"""Cells are listed, checked before they are timed, and timed in alternating rounds."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.fakes.machine import Machine, set_gpus
from tests.unit.bench.results import make_report
from wavepaint.bench import race as race_module
from wavepaint.bench import report, runners
from wavepaint.bench.cells import EAGER, PYTORCH, TORCH_ON_GPU, Cell, TorchConfig, list_cells
from wavepaint.bench.entrants import Subject
from wavepaint.bench.race import race
from wavepaint.bench.roofline import add_shares, measure_copy_rate, measure_matrix_rate
from wavepaint.errors import EngineError
from wavepaint.runtime.engines.gpus import Gpu
from wavepaint.runtime.engines.openvino import cpu_precisions
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.registry import list_fastest
from wavepaint.runtime.engines.session import RunParts, Session

CPU = ("ort-cpu", "openvino")


def list_small(subject: Subject, engine: str = "ort-cpu", precision: str = "float32", **changes: Any) -> list[Cell]:
    return list_cells([subject], [64], [1], engines=[engine], precisions=[precision], **changes)


def test_cells_that_compete_are_neighbours(subject: Subject) -> None:
    other = Subject("other", subject.bundle, False)
    cells = list_cells([subject, other], [60, 90], [1, 2], engines=(*CPU, PYTORCH), torch_configs=[EAGER])
    assert [(cell.subject.name, cell.engine, cell.precision, cell.height, cell.batch) for cell in cells[:4]] == [
        ("tiny", "ort-cpu", "float32", 64, 1),
        ("other", "ort-cpu", "float32", 64, 1),
        ("tiny", "ort-cpu", "float16", 64, 1),
        ("other", "ort-cpu", "float16", 64, 1),
    ]
    assert {cell.height for cell in cells} == {64, 96}
    only = list_cells([subject], [64], [1], engines=CPU, precisions=["float16"])
    assert [(cell.engine, cell.precision) for cell in only] == [("ort-cpu", "float16")]


def test_every_cell_is_checked_and_timed(subject: Subject) -> None:
    cells = list_cells([subject], [64], [1, 2], engines=CPU)
    results = race(cells, threads=1, rounds=3, seconds=0.001)
    assert len(results) == len(cells)
    for cell, result in zip(cells, results, strict=True):
        if result.engine == "openvino" and result.precision not in cpu_precisions():
            assert "on this processor, not bfloat16" in result.problem
            continue
        assert result.problem == ""
        assert result.p50_ms is not None
        assert result.p90_ms is not None
        assert result.images_per_s == pytest.approx(result.batch / result.p50_ms * 1e3)
        assert result.p50_ms <= result.p90_ms <= (result.p99_ms or 0)
        assert result.num_calls >= 3
        assert result.gmac == pytest.approx(subject.bundle.manifest.macs_per_pixel * 64 * 64 / 1e9)
        shared = add_shares(cell, result, 10.0, 20.0)
        assert shared.roofline == pytest.approx(result.gmac * result.images_per_s / 10)
    exact = [result for result in results if result.engine == "ort-cpu" and result.precision == "float32"]
    assert all(result.psnr_db is None for result in exact)  # the others are compared with it
    assert all((result.psnr_db or 0) > 45 for result in results if result.precision == "float16")


def test_the_copy_share_counts_weights_once_and_the_largest_live_tensors_once(subject: Subject) -> None:
    cells = list_cells([subject], [64], [2], engines=CPU)
    manifest = subject.bundle.manifest
    for cell, result in zip(cells, race(cells, threads=1, rounds=1, seconds=0), strict=True):
        shared = add_shares(cell, result, None, 20.0)
        if result.p50_ms is None:
            assert shared.copy_share is None
            continue
        floats = manifest.activation_bytes_per_pixel / 4 * 64 * 64 * 2 + manifest.num_parameters
        gb_per_s = floats * (4 if result.precision == "float32" else 2) / 1e9 / (result.p50_ms / 1e3)
        assert shared.copy_share == pytest.approx(gb_per_s / 20)


def test_rounds_alternate(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(race_module, "_time", lambda entry, seconds: order.append(entry.cell.engine))
    race(list_cells([subject], [64], [1], engines=CPU, precisions=["float32"]), threads=1, rounds=3, seconds=0)
    assert order == ["ort-cpu", "openvino"] * 3


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda output, image, mask: np.full_like(output, np.nan), "NaN"),
        (lambda output, image, mask: output + np.float32(0.01), "changes known pixels"),
        (lambda output, image, mask: np.where(mask > 0, 1 - output, image), "differs from float32"),
    ],
)
def test_a_wrong_output_is_not_timed(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, spoil: Any, problem: str
) -> None:
    run = Session.run

    def spoiled(self: Session, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        output = run(self, image, mask)
        return np.asarray(spoil(output, image, mask), np.float32) if self.engine.startswith("OpenVINO") else output

    monkeypatch.setattr(Session, "run", spoiled)
    cells = list_cells([subject], [64], [1], engines=CPU, precisions=["float32"])
    good, bad = race(cells, threads=1, rounds=1, seconds=0)
    assert good.problem == ""
    assert problem in bad.problem
    assert bad.p50_ms is None
    assert problem in report.make_table([good, bad], "lama").splitlines()[2]
    assert problem in report.make_markdown(make_report(), [good, bad], "lama")


def test_a_cell_that_runs_out_of_memory_says_so_and_the_others_go_on(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = Session.run

    def run(self: Session, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if len(image) > 1 and self.engine.startswith("ONNX"):
            raise EngineError("Failed to allocate memory")
        return infer(self, image, mask)

    monkeypatch.setattr(Session, "run", run)
    cells = list_cells([subject], [64], [1, 2], engines=CPU, precisions=["float32"])
    results = race(cells, threads=1, rounds=1, seconds=0)
    assert [bool(result.problem) for result in results] == [False, False, True, False]
    assert "Failed to allocate" in results[2].problem


def test_a_missing_engine_says_how_to_install_it(subject: Subject) -> None:
    (result,) = race(list_small(subject, "ort-cuda"), rounds=1, seconds=0)
    assert "pip install" in result.problem


def test_measured_roofs_are_plausible(subject: Subject) -> None:
    for execution in list_fastest(subject.bundle):
        if execution.engine == "ort-cpu" or (
            execution.engine == "openvino" and execution.arithmetic in cpu_precisions()
        ):
            rate = measure_matrix_rate(execution, threads=1, seconds=0.1)
            assert rate is not None
            assert 1 < rate < 100_000
    assert 0.1 < measure_copy_rate(1, seconds=0.1) < 10_000


def test_compute_is_timed_without_copies_if_the_engine_supports_it(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def time_parts(session: Session, image: Any, mask: Any, num_runs: int = 1, *, repeats: int = 1) -> list[RunParts]:
        asked.append(repeats)
        return [RunParts(1.0, 0.5, 1.0)]

    monkeypatch.setattr(OrtSession, "time_parts", time_parts)
    (result,) = race(list_small(subject), threads=1, rounds=2, seconds=0)
    assert result.compute_ms == 0.5
    assert result.compute_images_per_s == pytest.approx(2000)
    assert len(asked) == 2
    assert min(asked) >= 2  # back to back, so that launching the first call does not count
    header, row = report.make_table([result], "lama").splitlines()
    assert header.endswith("compute ms  images/s  of layers' roof  dB to float32")
    assert row.split()[-2:] == ["0.500", "2000"]


def test_pytorch_runs_in_every_configuration_that_needs_no_gpu(default: Subject) -> None:
    configs = [config for config in TORCH_ON_GPU if config != TorchConfig("pytorch", "tf32")]
    cells = list_cells([default], [16], [1], engines=[config.engine for config in configs], torch_configs=configs)
    results = race(cells, threads=1, rounds=1, seconds=0, in_pytorch=True)
    problems = {(result.engine, result.precision): result.problem for result in results}
    graph = problems.pop(("pytorch-graph", "float16"))
    assert "CUDA graphs need an NVIDIA GPU" in graph
    assert set(problems.values()) == {""}
    assert {result.engine: result.psnr_db for result in results if result.precision == "float32"} == {PYTORCH: 200.0}
    assert all(add_shares(cell, r, None, 20.0).copy_share is None for cell, r in zip(cells, results, strict=True))
    assert all((result.psnr_db or 0) > 50 for result in results if result.p50_ms and result.precision == "float16")


@pytest.mark.parametrize("engine", ["tensorrt", "tensorrt-rtx"])
def test_a_plan_of_exactly_the_cells_shape_is_built_once_and_timed(
    engine: str, default: Subject, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(runners, "build_plan", machine.build_plan)
    cells = list_cells([default], [64], [2], engines=[engine], precisions=["float16"])
    for _ in range(2):
        (result,) = race(cells, rounds=1, seconds=0, plans=tmp_path, in_pytorch=True)
        assert result.problem == ""
        assert (result.psnr_db or 0) > 50
        assert result.compute_ms is not None
    machine.require_all_freed()
    ((fixed, _, _, options),) = machine.builds
    (profile,) = options.profiles
    assert profile.min == profile.opt == profile.max == (2, 64, 64)
    assert not fixed.path.exists()  # it is as large as the model
    assert result.label.endswith("built for current") == (engine == "tensorrt-rtx")


def test_a_plan_for_any_gpu_is_tried_if_none_for_this_gpu_can_be_built(
    subject: Subject, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def build(*arguments: Any, **callbacks: Any) -> dict[str, Any]:
        if arguments[3].targets != ("any",):
            raise AttributeError("no name for this GPU")
        return machine.build_plan(*arguments, **callbacks)

    monkeypatch.setattr(runners, "build_plan", build)
    cells = list_cells([subject], [32], [1], engines=["tensorrt", "tensorrt-rtx"], precisions=["float16"])
    failed, opened = race(cells, rounds=1, seconds=0, plans=tmp_path)
    assert failed.problem == "no tensorrt plan runs. this GPU: AttributeError: no name for this GPU"
    assert opened.label.endswith(", built for any")
    machine.require_all_freed()


def test_a_gpu_that_the_library_does_not_support_is_named_before_any_build(
    subject: Subject, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(runners, "build_plan", machine.build_plan)
    set_gpus(monkeypatch, Gpu("NVIDIA H200", "sm90", 143_000))
    cells = list_cells([subject], [32], [1], engines=["tensorrt-rtx"], precisions=["float16"])
    (failed,) = race(cells, rounds=1, seconds=0, plans=tmp_path)
    assert failed.problem.startswith("TensorRT-RTX does not support the GPU here")
    assert machine.builds == []


def test_tf32_is_allowed_only_in_cells_of_tf32(default: Subject) -> None:
    image, mask = (torch.zeros(1, channels, 64, 64).numpy() for channels in (3, 1))
    try:
        for precision, expected in (("tf32", True), ("float32", False)):
            network = runners.TorchNetwork(default, TorchConfig("pytorch", precision), None)  # type: ignore[arg-type]
            network.run(image, mask)
            assert torch.backends.cudnn.allow_tf32 is expected
            assert torch.backends.cuda.matmul.allow_tf32 is False
    finally:
        torch.backends.cudnn.allow_tf32 = True
