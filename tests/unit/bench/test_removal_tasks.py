"""The sixteen removal tasks: holes as drawn, on the same photos, and verdicts for the pixels that were judged."""

import csv
import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import click.testing
import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from wavepaint.bench.entrants import Subject


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("removal_tasks", REPOSITORY / "benchmarks" / "removal_tasks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["removal_tasks"] = module  # msgspec resolves annotations there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray, script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the photo of the only task."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "photo.png")
    digest = hashlib.sha256((folder / "photo.png").read_bytes()).hexdigest()
    task = {
        "name": "a wire", "photo": "photo.png", "sha256": digest,
        "origin": "a test", "licence": "CC0", "remove": "the wire", "size": "thin", "surroundings": "noise",
        "strokes": [{"width": 5, "points": [[10, 10], [40, 30]]}],
    }  # fmt: skip
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    monkeypatch.setattr(script, "TASKS", tmp_path / "tasks.json")
    return folder


def run(script: ModuleType, *arguments: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(script.main, [str(one) for one in arguments])


def test_there_are_sixteen_tasks_with_holes_inside_their_photos(script: ModuleType) -> None:
    tasks = script.read_tasks()
    assert len({task.name for task in tasks}) == len({task.photo for task in tasks}) == 16
    for task in tasks:
        points = [point for shape in (*task.polygons, *(stroke.points for stroke in task.strokes)) for point in shape]
        width, height = (max(values) + 1 for values in zip(*points, strict=True))
        assert min(min(point) for point in points) >= 0
        assert script.draw_hole(task, (width, height)).any()


def test_a_hole_is_the_polygons_and_the_round_strokes(script: ModuleType, folder: Path) -> None:
    (task,) = script.read_tasks()
    hole = script.draw_hole(task, (60, 50))
    assert hole.shape == (50, 60)
    assert hole[10, 10]
    assert hole[20, 25]
    assert not hole[30, 10]
    assert hole[9, 8]  # the round end
    assert not hole[8, 7]


def test_a_verdict_counts_only_for_the_pixels_that_were_judged(
    script: ModuleType, folder: Path, subject: Subject, tmp_path: Path
) -> None:
    bundle = f"mine={subject.bundle.folder}"
    first = run(script, folder, "-o", tmp_path / "first", "--bundle", bundle)
    assert first.exit_code == 0, first.output
    assert "mine: not judged" in first.output
    assert {path.name for path in (tmp_path / "first").iterdir()} == {
        "removal-tasks.md", "removal-tasks.json", "verdicts.csv", "a-wire.jpg", "overview.jpg",
    }  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "first" / "verdicts.csv").open()))
    assert [row["method"] for row in rows] == ["mine", "OpenCV Telea", "OpenCV Navier-Stokes"]
    rows[0] |= {"verdict": "kept"}
    rows[1] |= {"verdict": "failed", "failure": "soft", "why": "a blur"}
    rows[2] |= {"verdict": "kept", "pixels": "0" * 12}  # another model's
    with (tmp_path / "judged.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    second = run(script, folder, "-o", tmp_path / "second", "--bundle", bundle, "--verdicts", tmp_path / "judged.csv")
    page = (tmp_path / "second" / "removal-tasks.md").read_text()
    assert second.exit_code == 0, second.output
    assert "mine: 1 of 1 kept; OpenCV Telea: 0 of 1 kept; OpenCV Navier-Stokes: not judged." in page
    assert "| **kept** | **failed**, soft: a blur | not judged |" in page


def test_verdicts_that_nobody_can_mean_are_refused(script: ModuleType, folder: Path, tmp_path: Path) -> None:
    judged = tmp_path / "judged.csv"
    judged.write_text("task,method,pixels,verdict,failure,why\na wire,mine,0,maybe,,\n")
    result = run(script, folder, "-o", tmp_path / "out", "--verdicts", judged)
    assert result.exit_code == 2
    assert "line 2: verdict is 'maybe', expected kept or failed" in result.output
    assert not (tmp_path / "out").exists()


def test_a_photo_that_differs_from_the_one_drawn_on_is_refused(
    script: ModuleType, folder: Path, tmp_path: Path
) -> None:
    with (folder / "photo.png").open("ab") as file:
        file.write(b"x")
    result = run(script, folder, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "photo.png with the SHA-256" in result.output
    assert "It is a test" in result.output
