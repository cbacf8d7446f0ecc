"""The competitors: the model that ships, bundles, baselines and OpenCV's methods."""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.fakes.bundle import write_bundle
from tests.networks import BARE
from tests.unit.bench.results import make_report
from wavepaint.bench import entrants, report
from wavepaint.bench.cells import Cell, list_cells
from wavepaint.bench.classical import METHODS, RADIUS, Classical
from wavepaint.bench.entrants import BASELINES, Subject, open_entrant, open_subject
from wavepaint.bench.race import race
from wavepaint.bench.roofline import add_shares
from wavepaint.errors import ConfigError
from wavepaint.export import bundle as export
from wavepaint.models.registry import build_model
from wavepaint.optional import make_install_command


def test_a_baseline_is_exported_once_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path))
    monkeypatch.setitem(BASELINES, "little", ("wavepaint", BARE))
    stages: list[str] = []
    first = open_subject("little", on_stage=stages.append)
    assert stages
    assert not first.is_trained
    assert {artifact.precision for artifact in first.bundle.manifest.artifacts} == {"float32", "float16"}
    again = open_subject("little", on_stage=lambda stage: pytest.fail(stage))
    assert again.bundle.folder == first.bundle.folder
    exact = race(list_cells([first], [32], [1], engines=["ort-cpu", "pytorch"], precisions=["float32"]), rounds=1)
    assert exact[1].psnr_db is not None  # PyTorch builds the network with the weights of the export
    assert exact[1].psnr_db > 90

    def export_again(checkpoint: Any, folder: Path, **options: Any) -> Any:
        return write_bundle(folder)

    monkeypatch.setattr(export, "write_bundle", export_again)
    (first.bundle.folder / "model.onnx").write_bytes(b"damaged")
    assert open_subject("little").bundle.manifest.name == "convolution"


def test_a_model_is_named_or_a_bundle(subject: Subject) -> None:
    assert open_subject("default").is_trained
    assert open_subject(str(subject.bundle.folder)).name == "convolution"
    with pytest.raises(ConfigError, match="unknown model 'nothing': expected default, wavepaint.*--models"):
        open_subject("nothing")


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_can_be_built(name: str) -> None:
    architecture, parameters = entrants.BASELINES[name]
    with torch.device("meta"):
        network = build_model(architecture, parameters)
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    expected = {"wavepaint": 6.69, "lama": 27.05, "big-lama": 50.98, "cnn": 11.87, "wavemix-inpainting": 13.88}
    assert millions == pytest.approx(expected.get(name, millions), abs=0.05)


def test_opencv_races_whatever_engines_are_chosen(subject: Subject) -> None:
    telea = open_entrant("telea")
    cells = list_cells([subject, telea], [64], [2], engines=["ort-cpu"], precisions=["float32"])
    assert [(cell.engine, cell.precision) for cell in cells] == [("ort-cpu", "float32"), ("opencv", "uint8")]
    network, classical = race(cells, threads=1, rounds=2, seconds=0)
    assert classical.problem == ""
    assert (classical.weights, classical.gmac, classical.num_parameters) == ("none", 0, 0)
    assert classical.images_per_s == pytest.approx(2 / (classical.p50_ms or 0) * 1e3)
    shared = add_shares(cells[1], classical, None, 10.0)
    assert (shared.roofline, shared.copy_share) == (None, None)
    assert cv2.__version__ in classical.label
    assert "| telea | opencv | uint8 | 64x64 | 2 |" in report.make_markdown(make_report(), [network, classical], "lama")


@pytest.mark.parametrize("name", METHODS)
def test_opencv_fills_the_same_images_as_bytes(name: str, subject: Subject) -> None:
    image, mask = Cell(Classical(name), None, 48, 48, 2).make_inputs()
    other, hole = Cell(subject, None, 48, 48, 2).make_inputs()
    assert np.abs(image / 255 - other.transpose(0, 2, 3, 1)).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(mask[..., 0] > 0, hole[:, 0] > 0)
    fill, _ = Classical(name).open()
    filled = fill(image, mask)
    assert np.array_equal(filled[1], cv2.inpaint(image[1], mask[1], RADIUS, getattr(cv2, METHODS[name])))
    inside = np.broadcast_to(mask > 0, image.shape)
    assert np.array_equal(filled[~inside], image[~inside])
    assert (filled[inside] != image[inside]).any()


def test_an_opencv_that_changes_known_pixels_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "inpaint", lambda image, mask, radius, flag: image // 2)
    (result,) = race(list_cells([Classical("telea")], [64], [1], engines=[]), rounds=1, seconds=0)
    assert "changes known pixels" in result.problem
    assert result.p50_ms is None


def test_a_missing_opencv_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    (result,) = race(list_cells([Classical("telea")], [64], [1], engines=[]), rounds=1, seconds=0)
    assert make_install_command("opencv") in result.problem
