"""The race: cells are checked before they are timed, rounds alternate, and what fails says why."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wavepaint.bench import race as race_module
from wavepaint.bench import report
from wavepaint.bench.cells import PYTORCH, Result, list_cells
from wavepaint.bench.entrants import BASELINES, Subject, open_subject
from wavepaint.bench.plot import write_plot
from wavepaint.bench.race import race
from wavepaint.bench.roofline import measure_copy_rate, measure_matrix_rate
from wavepaint.contract import Bundle
from wavepaint.errors import ConfigError, EngineError, OutputError
from wavepaint.models.registry import build_model
from wavepaint.runtime.engines.openvino import cpu_precisions
from wavepaint.runtime.engines.registry import list_fastest, open_execution
from wavepaint.runtime.engines.session import Session

CPU = ("ort-cpu", "openvino")


@pytest.fixture
def subject(half_bundle: Bundle) -> Subject:
    return Subject("half", half_bundle, True)


def test_cells_that_compete_stand_side_by_side(subject: Subject, tiny_bundle: Bundle) -> None:
    cells = list_cells([subject, Subject("tiny", tiny_bundle, False)], [60, 90], [1, 2], engines=(*CPU, PYTORCH))
    assert [(cell.subject.name, cell.engine, cell.precision, cell.height, cell.batch) for cell in cells[:4]] == [
        ("half", "ort-cpu", "float32", 64, 1),
        ("tiny", "ort-cpu", "float32", 64, 1),
        ("half", "ort-cpu", "float16", 64, 1),
        ("half", "openvino", "float32", 64, 1),
    ]
    assert {cell.height for cell in cells} == {64, 96}
    only = list_cells([subject], [64], [1], engines=CPU, precisions=["float16"])
    assert [(cell.engine, cell.precision) for cell in only] == [("ort-cpu", "float16")]


def test_every_cell_is_checked_and_timed(subject: Subject) -> None:
    cells = list_cells([subject], [64], [1, 2], engines=(*CPU, PYTORCH))
    results = race(cells, threads=1, rounds=3, seconds=0.01, ceilings=lambda execution: 10.0)
    assert len(results) == len(cells)
    for result in results:
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
        if result.engine != PYTORCH:
            assert result.roofline == pytest.approx(result.gmac * result.images_per_s / 10)
    exact = [result for result in results if result.engine == "ort-cpu" and result.precision == "float32"]
    assert all(result.psnr_db is None for result in exact)  # what the others are compared with
    assert all((result.psnr_db or 0) > 45 for result in results if result.precision == "float16")


def test_rounds_alternate(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(race_module, "_time", lambda lane, seconds: order.append(lane.cell.engine))
    race(list_cells([subject], [64], [1], engines=CPU, precisions=["float32"]), threads=1, rounds=3, seconds=0)
    assert order == ["ort-cpu", "openvino"] * 3


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda output, image, mask: np.full_like(output, np.nan), "NaN"),
        (lambda output, image, mask: output + np.float32(0.01), "changes known pixels"),
        (lambda output, image, mask: np.where(mask > 0, 1 - output, image), "differs from float32"),
    ],
)
def test_what_computes_something_else_is_not_timed(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, spoil: Any, told: str
) -> None:
    run = Session.run

    def spoiled(self: Session, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        output = run(self, image, mask)
        return np.asarray(spoil(output, image, mask), np.float32) if self.engine.startswith("OpenVINO") else output

    monkeypatch.setattr(Session, "run", spoiled)
    cells = list_cells([subject], [64], [1], engines=CPU, precisions=["float32"])
    good, bad = race(cells, threads=1, rounds=1, seconds=0)
    assert good.problem == ""
    assert told in bad.problem
    assert bad.p50_ms is None
    table = report.make_table([good, bad], "lama").splitlines()
    assert told in table[2]
    assert told in report.make_markdown(make_report(), [good, bad], "lama")


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


def test_an_engine_that_is_not_there_says_how_to_get_it(subject: Subject) -> None:
    (cell,) = list_cells([subject], [64], [1], engines=["ort-cuda"], precisions=["float32"])
    (result,) = race([cell], rounds=1, seconds=0)
    assert "pip install" in result.problem


def make_result(model: str, p50_ms: float, **changes: Any) -> Result:
    values: dict[str, Any] = {
        "model": model, "weights": "random", "engine": "ort-cpu", "label": "", "precision": "float32", "height": 256,
        "width": 256, "batch": 1, "num_parameters": 1, "gmac": 1.0, "file_bytes": 1, "num_calls": 1, "p50_ms": p50_ms,
        "p90_ms": p50_ms * 1.2, "p99_ms": p50_ms * 2, "images_per_s": 1e3 / p50_ms, "variation": 0.0,
    }  # fmt: skip
    return Result(**{**values, **changes})


def make_report() -> dict[str, Any]:
    return {
        "date": "2026-01-01", "machine": {"processor": "P", "cores": 2}, "threads": 2, "rounds": 1,
        "copy_gb_per_s": 1.0, "command": "wp bench", "hole_share": 1 / 9, "num_photos": 2,
        "masks": "a generator",
    }  # fmt: skip


def test_a_report_with_quality_names_the_generator_of_its_masks() -> None:
    page = report.make_markdown(make_report(), [make_result("ours", 10, hole_psnr_db=20.0, hole_ssim=0.5)], "lama")
    assert "inside medium holes that are the same for all (a generator)" in page


def test_ratios_are_those_of_equal_cells() -> None:
    lama, ours, other = make_result("lama", 30), make_result("ours", 10), make_result("ours", 5, precision="float16")
    assert report.find_ratio(ours, [lama, ours, other], "lama") == pytest.approx(3)
    assert report.find_ratio(lama, [lama, ours], "lama") == pytest.approx(1)
    assert report.find_ratio(other, [lama, ours, other], "lama") is None
    page = report.make_markdown(make_report(), [lama, ours], "lama")
    assert "| ours | ort-cpu | float32 | 256x256 | 1 | 10.0 | 12.0 | 20.0 | 100.0 | 3.00 |" in page


def test_a_plot_is_a_picture_and_is_never_overwritten_by_accident(tmp_path: Path) -> None:
    results = [make_result("lama", 30), make_result("ours", 10), make_result("ours", 9, engine="openvino")]
    write_plot(tmp_path / "p.png", results, overwrite=False)
    with Image.open(tmp_path / "p.png") as image:
        assert np.asarray(image.convert("L")).std() > 10
    with pytest.raises(OutputError, match="exists already"):
        write_plot(tmp_path / "p.png", results, overwrite=False)


def test_slowdowns_beyond_the_margin_are_found(tmp_path: Path) -> None:
    former = tmp_path / "old.json"
    rows = [
        make_result("a", 10).as_dict(),
        make_result("b", 10).as_dict(),
        {**make_result("c", 1).as_dict(), "p50_ms": None},
    ]
    former.write_text(json.dumps({"results": rows}))
    new = [make_result("a", 11), make_result("b", 12), make_result("c", 9), make_result("d", 9)]
    assert [line.split(" in ")[0] for line in report.find_slowdowns(new, former, 0.15)] == ["b"]
    assert report.find_slowdowns(new, former, 0.3) == []
    with pytest.raises(ConfigError, match="holds none of these"):
        report.find_slowdowns([make_result("d", 9)], former, 0.1)
    former.write_text("{}")
    with pytest.raises(ConfigError, match="is not the --json file"):
        report.find_slowdowns(new, former, 0.1)


def test_the_roof_is_above_what_a_network_reaches(subject: Subject) -> None:
    for execution in list_fastest(subject.bundle):
        if execution.engine == "ort-cpu" or (
            execution.engine == "openvino" and execution.arithmetic in cpu_precisions()
        ):
            rate = measure_matrix_rate(execution, threads=1, seconds=0.1)
            assert rate is not None
            assert 1 < rate < 100_000
    assert 0.1 < measure_copy_rate(1, seconds=0.1) < 10_000


def test_baselines_are_exported_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.conftest import TINY
    from wavepaint.bench import entrants as subjects

    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path))
    monkeypatch.setitem(subjects.BASELINES, "little", ("wavepaint", TINY))
    stages: list[str] = []
    first = open_subject("little", on_stage=stages.append)
    assert stages
    assert not first.is_trained
    again = open_subject("little", on_stage=lambda stage: pytest.fail(stage))
    assert again.bundle.folder == first.bundle.folder
    (first.bundle.folder / "model.onnx").write_bytes(b"damaged")
    rebuilt = open_subject("little")
    execution = list_fastest(rebuilt.bundle)[0]
    with open_execution(execution):
        pass


def test_models_are_named_or_bundles(half_bundle: Bundle, tmp_path: Path) -> None:
    assert open_subject("default").is_trained
    assert open_subject(str(half_bundle.folder)).name == "half"
    with pytest.raises(ConfigError, match="unknown model 'nothing': expected default, wavepaint.*--models"):
        open_subject("nothing")


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_can_be_built(name: str) -> None:
    architecture, parameters = BASELINES[name]
    with torch.device("meta"):
        network = build_model(architecture, parameters)
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    expected = {"wavepaint": 6.69, "lama": 27.05, "big-lama": 50.98, "cnn": 11.87, "wavemix-inpainting": 13.88}
    assert millions == pytest.approx(expected.get(name, millions), abs=0.05)
