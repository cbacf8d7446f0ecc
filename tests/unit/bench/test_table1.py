"""Table 1 of the paper on this machine: the script's page, and its measurements of steps and quality."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.networks import BARE
from tests.unit.bench.results import make_result
from wavepaint.bench.entrants import BASELINES
from wavepaint.errors import ConfigError


@pytest.fixture(scope="module")
def table1() -> ModuleType:
    spec = importlib.util.spec_from_file_location("table1", REPOSITORY / "benchmarks" / "table1.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_row_is_a_baseline_with_numbers_of_the_paper(table1: ModuleType) -> None:
    assert set(table1.PAPER_TABLE_1) <= set(BASELINES)


def test_the_page_has_ratios_to_lama_and_says_what_was_not_measured(table1: ModuleType) -> None:
    rates = {"cnn": 5.0, "lama": 20.0, "wavemix-inpainting": 10.0}  # milliseconds
    results = [make_result(name, ms, height=96, width=96, num_parameters=12_000_000) for name, ms in rates.items()]
    report = {
        "date": "2026-01-01", "machine": {"processor": "P", "cores": 2}, "threads": 2, "rounds": 1, "steps": 5,
        "command": "python", "epoch_s": {}, "trained": "DIR",
        "quality": {"cnn": {"ssim": 0.5, "psnr_hole_db": 20.0, "steps": 600.0}},
    }  # fmt: skip
    rows = [line for line in table1.markdown(report, results).splitlines() if line.startswith("| ")]
    header, cnn, lama, wavemix, _, paper_cnn, *_ = [[c.strip() for c in row.strip("|").split("|")] for row in rows]
    cells = [dict(zip(header, row, strict=True)) for row in (cnn, lama, wavemix)]
    assert [row["ort-cpu 96x96"] for row in cells] == ["200.00 (4.00)", "50.00 (1.00)", "100.00 (2.00)"]
    assert {row["ort-cpu 256x256"] for row in cells} == {"not measured"}
    assert {row["s per epoch"] for row in cells} == {"not measured"}
    assert [row["SSIM"] for row in cells] == ["0.500", "not measured", "not measured"]
    assert cells[0]["PSNR in the hole"] == "20.00 dB"
    assert {row["FID"] for row in cells} == {"not measured"}
    assert paper_cnn == ["Custom CNN", "12", "192 (1.71)", "665 (0.14)", "0.850", "86.373"]


def test_a_noisy_run_says_so(table1: ModuleType) -> None:
    report = {
        "date": "2026-01-01", "machine": {"processor": "P", "cores": 2}, "threads": 2, "rounds": 1, "steps": 5,
        "command": "python", "epoch_s": {}, "quality": {},
    }  # fmt: skip
    for variation, noisy in ((0.3, True), (0.02, False)):
        results = [make_result(name, 1, height=96, width=96, variation=variation) for name in table1.PAPER_TABLE_1]
        page = table1.markdown(report, results)
        assert f"vary by up to {variation:.0%}" in page
        assert ("something else was using" in page) is noisy


def test_an_epoch_is_timed_with_the_trainer_itself(
    table1: ModuleType, tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
    monkeypatch.setitem(BASELINES, "cnn", ("wavepaint", BARE))
    monkeypatch.setattr(table1, "BATCH", 2)
    ends: list[float] = []
    monkeypatch.setattr(
        table1.StepClock, "on_step", lambda clock, step, loss, images_per_s: clock.ends.append(2.0**step)
    )
    monkeypatch.setattr(table1.Trainer, "_save_last", lambda trainer: ends.append(trainer.step))
    # Steps end at 2, 4 and 8 seconds, so those after the first take 2 and 4.
    assert table1.time_epoch("cnn", tmp_path, 2) == pytest.approx(3 * 80_000 / 2)
    assert ends == [3]


def test_the_quality_is_the_ablations(table1: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no ablation.csv .*--trained"):
        table1.read_quality(tmp_path)
    header = "study,row,seed,steps,ssim,psnr_hole_db\n"
    rows = ["table1,Custom CNN,0,600,0.5,20\n", "table1,Custom CNN,1,600,0.7,22\n", "table1,LaMa,0,600,0.6,21\n"]
    (tmp_path / "ablation.csv").write_text(header + "".join(rows))
    with pytest.raises(ConfigError, match="lacks WaveMix-Inpainting"):
        table1.read_quality(tmp_path)
    rows += ["table2,WaveMix-Inpainting,0,600,0.1,1\n", "table1,WaveMix-Inpainting,0,600,0.8,23\n"]
    (tmp_path / "ablation.csv").write_text(header + "".join(rows))
    quality = table1.read_quality(tmp_path)
    assert quality["cnn"] == pytest.approx({"steps": 600, "ssim": 0.6, "psnr_hole_db": 21})
    assert quality["wavemix-inpainting"]["ssim"] == 0.8
