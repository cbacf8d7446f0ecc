"""The comparison of LaMa's follow-up at a tiny size: equal times, a figure, and runs that continue."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks.follow_up import main
from wavepaint.training.recipes import get_recipe


def test_the_variants_differ_in_one_thing_each() -> None:
    base, spectral, wgan = (get_recipe(f"follow-up-{name}") for name in ("baseline", "spectral", "wgan"))
    assert base.data == spectral.data == wgan.data
    assert set(base.data.masks) == {"large-boxes", "chains"}
    assert spectral.hyper_parameters == base.hyper_parameters | {"spectral_l2g": True}
    assert wgan.hyper_parameters == base.hyper_parameters
    assert spectral.loss == base.loss
    assert (base.loss.adversarial_kind, wgan.loss.adversarial_kind) == ("non-saturating", "wasserstein")
    assert wgan.loss.perceptual == base.loss.perceptual
    assert [config.optimization.discriminator_steps for config in (base, spectral, wgan)] == [1, 1, 5]


@pytest.mark.filterwarnings("ignore::wavepaint.errors.WavePaintWarning")
def test_three_variants_train_resume_and_are_drawn_side_by_side(tmp_path: Path, photo: np.ndarray) -> None:
    photos, runs = tmp_path / "photos", tmp_path / "runs"
    photos.mkdir()
    for index in range(4):
        Image.fromarray(np.roll(photo[:48, :48], 9 * index, axis=1)).save(photos / f"{index}.png")

    def run(out: str, seconds: float) -> dict:
        arguments = ["-o", tmp_path / out, "--photos", photos, "--runs", runs, "--seconds", seconds, "--turns", 1]
        arguments += ["--side", 32, "--batch-size", 2, "--channels", 2, "--blocks", 1, "--workers", 0]
        result = CliRunner().invoke(main, [*map(str, arguments), "--device", "cpu"])
        assert result.exception is None, result.output
        assert "| Wasserstein |" in result.output
        report: dict = json.loads((tmp_path / out / "follow-up.json").read_text())
        return report

    first = run("first", 1e-3)
    assert [row["steps"] for row in first["rows"]] == [1, 1, 1]
    assert all(set(row["metrics"]) == {"large-boxes", "chains"} for row in first["rows"])
    longer = max(row["seconds"] for row in first["rows"]) + 1e-3
    second = run("second", longer)
    assert all(row["seconds"] >= longer for row in second["rows"])
    assert all(row["steps"] > 1 for row in second["rows"])
    with Image.open(tmp_path / "second" / "figure.jpg") as figure:
        assert figure.width == 5 * 32 + 4 * 4


def test_runs_inside_the_report_are_refused(tmp_path: Path) -> None:
    arguments = ["-o", tmp_path, "--photos", tmp_path, "--runs", tmp_path / "runs", "--seconds", 1, "--overwrite"]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 1
    assert "--runs" in result.output
