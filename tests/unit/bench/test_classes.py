"""Classifiers and segmenters are raced with an image alone, and checked by their logits."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.fakes.class_bundle import write_class_bundle
from wavepaint.bench import race as race_module
from wavepaint.bench.cells import TORCH_ON_GPU, list_cells
from wavepaint.bench.entrants import open_subject
from wavepaint.bench.race import race
from wavepaint.bench.runners import Runner
from wavepaint.cli import wp
from wavepaint.contract import CLASSIFICATION, SEGMENTATION, Task
from wavepaint.runtime.engines.openvino import cpu_precisions

CPU = ("ort-cpu", "openvino")


@pytest.mark.parametrize("task", [CLASSIFICATION, SEGMENTATION])
def test_a_network_with_classes_is_timed_in_every_engine(tmp_path: Path, task: Task) -> None:
    subject = open_subject(str(write_class_bundle(tmp_path / "bundle", task).folder))
    cells = list_cells([subject], [32], [2], engines=CPU)
    assert {cell.engine for cell in cells} == {*CPU}
    for result in race(cells, threads=1, rounds=1, seconds=0.0):
        if result.precision in cpu_precisions() or result.engine == "ort-cpu":
            assert result.problem == ""
            assert result.p50_ms is not None
            assert result.hole_psnr_db is None


def test_logits_that_differ_from_float32_are_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = open_subject(str(write_class_bundle(tmp_path / "bundle", CLASSIFICATION).folder))
    cells = list_cells([subject], [32], [1], engines=CPU, precisions=["float32"])
    outputs = iter([[[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.3]]])

    def open_runner(cell: object, stack: object, **options: object) -> Runner:
        output = np.array(next(outputs), np.float32)
        return Runner(lambda image: output, "a fake engine")

    monkeypatch.setattr(race_module, "open_runner", open_runner)
    first, second = race(cells, rounds=1, seconds=0.0)
    assert first.problem == ""
    assert second.problem == "it differs from float32: 10.0% of the logits' range"


def test_half_precision_in_pytorch_is_left_out(tmp_path: Path) -> None:
    subject = open_subject(str(write_class_bundle(tmp_path / "bundle", CLASSIFICATION).folder))
    cells = list_cells([subject], [32], [1], engines=["pytorch"], torch_configs=TORCH_ON_GPU)
    assert [cell.precision for cell in cells] == ["float32", "tf32"]


def test_the_command_races_it_without_inpainting_rivals(tmp_path: Path) -> None:
    folder = write_class_bundle(tmp_path / "bundle", SEGMENTATION).folder
    arguments = ["bench", str(folder), "--sizes", "32", "--rounds", "1", "--seconds", "0", "--engines", "ort-cpu"]
    result = CliRunner().invoke(wp, arguments)
    assert result.exit_code == 0, result.output
    assert "channels" in result.output
    assert "lama" not in result.output.replace("vs lama", "")
