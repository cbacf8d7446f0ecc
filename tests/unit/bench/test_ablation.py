"""The papers' ablations: the declared grid, and a tiny run of it from trainings to the report."""

import csv
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks import ablation
from wavepaint.bench.ablation_report import COLUMNS, format_mean, make_page
from wavepaint.bench.ablation_studies import BASE, HOLE_SIDES, STUDIES, Budget, Row, make_config, make_key
from wavepaint.errors import TrainingError
from wavepaint.models.registry import get_architecture
from wavepaint.training.recipes import RESOURCE_EFFICIENT

TINY = Budget(steps=2, epochs=1, timed_steps=1, batch_size=2, size=32, shrink=12, images=2, workers=0)
ALL_ROWS = [(name, row) for name, study in STUDIES.items() for row in study.rows]


@pytest.mark.parametrize("budget", [Budget(), TINY], ids=["full", "tiny"])
def test_every_row_is_a_network_that_takes_the_images(budget: Budget) -> None:
    for _, row in ALL_ROWS:
        config = make_config(row, budget, seed=0)
        assert budget.size % get_architecture(row.architecture).size_multiple(config.hyper_parameters) == 0, row
        assert config.loss == RESOURCE_EFFICIENT
        assert config.data.masks == config.data.val_masks == row.masks
        assert (config.data.flip, config.data.colour, config.data.perspective) == (False, 0, 0)


def test_rows_have_names_of_their_own_and_differ_only_in_what_they_study() -> None:
    for study in STUDIES.values():
        assert len({row.name for row in study.rows}) == len(study.rows)
        for row in study.rows if study.varied else ():
            differing = {name for name, value in row.hyper_parameters.items() if BASE.get(name) != value}
            assert differing <= set(study.varied)


def test_tables_have_the_papers_rows() -> None:
    """Spot checks against tables 2 and 3 of the paper, whose PSNR is highest in row 2 of 2, and in row 4 of 9."""
    for name, count, best in (("table2", 2, 1), ("table3", 9, 3)):
        rows = STUDIES[name].rows
        assert len(rows) == count
        assert max(rows, key=lambda row: row.paper["psnr_db"]) is rows[best]
        assert min(rows, key=lambda row: row.paper["l1"]) is rows[best]
    reduced = [row.hyper_parameters["input_reduction"] for row in STUDIES["table3"].rows]
    assert reduced == [True, True, False, False, False, False, False, True, True]


def test_two_studies_share_a_training_of_the_same_configuration() -> None:
    (wavelet,) = [row for row in STUDIES["wavelets"].rows if row.name == "haar, level 2"]
    (transform,) = [row for row in STUDIES["convolution"].rows if row.name == "wavelet, level 2"]
    (learned,) = [row for row in STUDIES["convolution"].rows if row.name == "convolution, level 2"]
    trainings = ((wavelet, 0), (transform, 0), (learned, 0), (wavelet, 1))
    keys = [make_key(make_config(row, Budget(), seed), ["a.png"]) for row, seed in trainings]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert make_key(make_config(wavelet, Budget(steps=401), 0), ["a.png"]) != keys[0]
    assert make_key(make_config(wavelet, Budget(), 0), ["b.png"]) != keys[0]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(8):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 36, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


def shorten_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave two rows of every study, with few blocks."""

    def shorten(row: Row) -> Row:
        blocks = row.hyper_parameters.get("blocks_per_module", 0) // 3
        changed = {"blocks_per_module": blocks} if blocks else {}
        return replace(row, hyper_parameters={**row.hyper_parameters, **changed})

    for name, study in STUDIES.items():
        rows = (study.rows[1], study.rows[-1]) if name == "cost" else (study.rows[0], study.rows[-1])
        monkeypatch.setitem(STUDIES, name, replace(study, rows=tuple(map(shorten, rows))))


@pytest.mark.filterwarnings("ignore:validation has")
def test_a_tiny_grid_runs_resumes_and_is_reported(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_studies(monkeypatch)
    calls: list[Path] = []

    def run(row: Row, budget: Budget, seed: int, source: Path, folder: Path) -> dict[str, Any]:
        calls.append(folder)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return ablation.run_training(row, budget, seed, source, folder)

    monkeypatch.setattr(ablation, "run_in_own_process", run)
    out = tmp_path / "out"
    arguments = [str(photos), "-o", str(out), "--steps", "2", "--epochs", "1", "--timed-steps", "1", "--batch-size",
                 "2", "--size", "32", "--shrink", "12", "--images", "2", "--workers", "0"]  # fmt: skip
    stopped = CliRunner().invoke(ablation.main, arguments)
    assert stopped.exit_code == ablation.INTERRUPTED
    assert len((out / "ablation.csv").read_text().splitlines()) == 3
    finished = CliRunner().invoke(ablation.main, arguments)
    assert finished.exit_code == 0, finished.output
    assert calls[2] == calls[3]  # the interrupted one; those before it were read
    assert len(set(calls)) == len(calls) - 1  # two rows are in two studies

    with (out / "ablation.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert {row["study"] for row in rows} == set(STUDIES)
    assert not any(row["problem"] for row in rows)
    sides = [int(row["hole_side"]) for row in rows if row["hole_side"]]
    assert set(sides) == {side for side in HOLE_SIDES if side <= 16}
    assert {row["study"] for row in rows if row["hole_side"]} == {"masks"}
    for row in rows:
        assert float(row["images_per_s"]) > 0
        assert float(row["peak_memory_mb"]) > 0
        assert (row["l1"] == "") == (row["study"] == "cost")
        if row["hole_side"]:  # known pixels are put back, so the whole image is better than the hole
            assert float(row["psnr_db"]) > float(row["psnr_hole_db"])

    page = (out / "ablation.md").read_text()
    assert all(study.title in page for study in STUDIES.values())
    assert "**All widths are divided by 12.**" in page
    assert "41.968" in page
    assert "pairs of rows are in the paper's order" in page
    assert "not measured" not in page
    assert (out / "masks.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "ablation.json").read_text())["budget"]["shrink"] == 12


def test_a_row_that_fails_is_reported_and_the_others_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(row: Row, *arguments: object) -> dict[str, Any]:
        if "#1" in row.name:
            raise TrainingError("the loss is not finite.")
        return {"device": "cpu", "steps": 2, "images_per_s": 5.0, "tests": [{"psnr_db": 20.0, "ssim": 0.5}]}

    monkeypatch.setattr(ablation, "run_in_own_process", run)
    result = CliRunner().invoke(ablation.main, [str(photos), "-o", str(tmp_path / "out"), "--studies", "table2"])
    assert result.exit_code == 1
    page = (tmp_path / "out" / "ablation.md").read_text()
    assert "- table2, boxes-8 #1: the loss is not finite." in page
    assert "| boxes-8 #2 | 7 | 96 | 1 | 1 | not done | not measured |" in page
    missing = CliRunner().invoke(ablation.main, [str(photos / "none"), "-o", str(tmp_path / "x")])
    assert missing.exit_code == 1
    assert "none does not exist" in missing.output
    unknown = CliRunner().invoke(ablation.main, [str(photos), "-o", str(tmp_path / "x"), "--studies", "table9"])
    assert unknown.exit_code == 2
    assert "there is no 'table9'" in unknown.output


def test_jobs_run_side_by_side_and_costs_alone(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock, both = [0], {True: 0, False: 0}, threading.Lock(), threading.Barrier(2)

    def run(row: Row, *arguments: object) -> dict[str, Any]:
        with lock:
            running[0] += 1
            most[row.is_timed_only] = max(most[row.is_timed_only], running[0])
        if not row.is_timed_only:
            both.wait(30)
        with lock:
            running[0] -= 1
        return {"device": "cuda:0", "images_per_s": 5.0, "epoch_s": 9.0, "tests": []}

    monkeypatch.setattr(ablation, "run_in_own_process", run)
    out = tmp_path / "out"
    result = CliRunner().invoke(ablation.main, [str(photos), "-o", str(out), "--studies", "table2,cost", "--jobs", "2"])
    assert result.exit_code == 0, result.output
    assert most == {False: 2, True: 1}
    assert "2 trainings ran at the same time" in (out / "ablation.md").read_text()


def test_metrics_are_means_over_the_whole_image_in_levels_of_255() -> None:
    class Grey(torch.nn.Module):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return image * (1 - mask) + mask * (55 / 255)

    photo = np.full((20, 20, 3), 45, np.uint8)
    hole = np.zeros((20, 20), np.uint8)
    hole[:10, :10] = 1
    scores = ablation.test_network(Grey(), [(photo, hole)] * 9, torch.device("cpu"))  # type: ignore[arg-type]
    assert scores["l1"] == pytest.approx(10 / 4, rel=1e-4)
    assert scores["l2"] == pytest.approx(100 / 4, rel=1e-4)
    assert scores["psnr_hole_db"] == pytest.approx(20 * np.log10(255 / 10), rel=1e-4)
    assert scores["psnr_db"] == pytest.approx(scores["psnr_hole_db"] + 20 * np.log10(2), rel=1e-4)


def test_boxes_of_the_curve_are_the_same_for_every_row() -> None:
    for side in HOLE_SIDES:
        mask = ablation.draw_box(96, side, 3)
        assert mask.sum() == side**2
        np.testing.assert_array_equal(mask, ablation.draw_box(96, side, 3))
    assert (ablation.draw_box(96, 8, 0) != ablation.draw_box(96, 8, 1)).any()


def test_several_seeds_are_a_mean_and_a_deviation() -> None:
    lines = [{"psnr_db": 20.0}, {"psnr_db": "22.0"}, {"psnr_db": ""}, {}]
    assert format_mean(lines, "psnr_db", ".1f") == "21.0 ± 1.4"
    assert format_mean(lines[:1], "psnr_db", ".1f") == "20.0"
    assert format_mean(lines[2:], "psnr_db", ".1f") == "not measured"
    report = {"date": "2026-01-01", "machine": {"processor": "P", "cores": 2}, "command": "", "device": "cpu",
              "num_photos": 9, "budget": {"shrink": 1, "size": 96, "steps": 4, "batch_size": 40},
              "seeds": 3, "jobs": 1}  # fmt: skip
    assert "3 seeds (mean ± standard deviation)" in make_page(report, [], [])
