"""benchmarks/quality.py: its report, its partial mode, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

from benchmarks.quality import main


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(3):
        picture = Image.fromarray(rng.integers(90, 110, (80, 100, 3), dtype=np.uint8))
        ImageDraw.Draw(picture).rectangle([0, 30 + number, 100, 80], fill=(190, 180, 170))
        picture.save(folder / f"{number}.png")
    return folder


def test_a_partial_run_reports_the_chosen_sets_sizes_and_baselines(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    options = ["--sets", "border,lines", "--sizes", "64,80", "--limit", "2", "--baselines", "telea"]
    result = CliRunner().invoke(main, [str(pictures), "-o", str(out), *options])
    assert result.exit_code == 0, result.output
    report = json.loads((out / "quality.json").read_text())
    names = ["border-64", "lines-64", "border-80", "lines-80"]
    assert list(report["results"]) == names
    assert all(list(rows) == ["default", "OpenCV Telea"] for rows in report["results"].values())
    assert {row["photo"] for row in report["fills"]["border-64"]["default"]} == {"0.png", "1.png"}
    assert report["results"]["lines-64"]["default"]["num_lines"] >= 2
    assert "lines_joined" not in report["results"]["border-64"]["default"]
    assert "lpips_hole" not in report["results"]["border-64"]["default"]
    jpegs = {path.stem for path in out.glob("*.jpg")}
    assert jpegs == {*names, *(f"{name}-worst-repetition" for name in names)}
    assert "## lines-80" in (out / "quality.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sets", "thin,huge"], "there is no 'huge'"),
        (["--baselines", "lama"], "there is no 'lama'"),
        (["--sizes", "256,x"], "sides from 16 to 4096"),
        (["--size", "100", "--mask-scale", "3"], "not a multiple of 3"),
    ],
)
def test_wrong_options_are_refused_with_what_is_expected(
    pictures: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = CliRunner().invoke(main, [str(pictures), "-o", str(tmp_path / "report"), *options])
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "report").exists()
