"""Bundles for super-resolution: from a state dict with the authors' names to images that equal those of their code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.exports import export_once
from tests.golden.sines import set_sine_weights, sines
from wavepaint.contract import SUPER_RESOLUTION, Bundle
from wavepaint.errors import ConfigError, ImageError
from wavepaint.export.bundle import ExportOptions, write_bundle
from wavepaint.export.classes import ClassOptions
from wavepaint.export.precision import make_guard, to_half
from wavepaint.export.verify import list_cases
from wavepaint.models.architecture_detection import detect_architecture
from wavepaint.models.registry import build_model
from wavepaint.runtime.engines.comparison import FLOAT32_IMAGE, HALF_IMAGE
from wavepaint.runtime.engines.registry import find_runnable, open_execution
from wavepaint.weights.checkpoint import read_checkpoint

AUTHORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "golden" / "authors.json").read_text())["cases"]
PARAMETERS = {"mult": 2, "ff_channel": 6, "final_dim": 8, "depth": 2, "level": 2}
IMAGE = ((sines((2, 3, 32, 48), 0.1) + 1) / 2).float().numpy()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as the authors save them: a state dict and nothing else."""
    path = tmp_path_factory.mktemp("upscaling") / "sisr.pth"
    network = set_sine_weights(build_model("wavemix-super-resolution", PARAMETERS)).float()
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, export_cache: Path) -> Bundle:
    return export_once(checkpoint, checkpoint.parent / "upscaling", export_cache, ExportOptions())


def test_weights_with_the_authors_names_give_their_images_in_every_engine(bundle: Bundle) -> None:
    expected = AUTHORS["super_resolution_level2"]
    for execution in find_runnable(bundle.get_model(bundle.find_artifact("onnx", "float32"))):
        if execution.arithmetic == "float32":
            with open_execution(execution) as session:
                image = session.run(IMAGE)
            assert list(image.shape) == expected["shape"]
            sampled = image.ravel()[:: max(1, image.size // 16)][:16]
            assert sampled.tolist() == pytest.approx(np.clip(expected["values"], 0, 1).tolist(), abs=2e-5)


def test_the_manifest_names_the_task_and_what_verification_measured(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert bundle.task is SUPER_RESOLUTION
    assert (manifest.labels, manifest.preprocessing, manifest.size_multiple) == (None, None, 4)
    assert manifest.hyper_parameters == PARAMETERS
    assert manifest.contract["float32"]["outputs"][0]["shape"] == ["N", 3, "2*H", "2*W"]
    for report in manifest.verification["model.onnx"]:
        assert report["passed"]
        most, least_db = (0.05, 50) if report["precision"] == "bfloat16" else (1e-5, 90)  # some processors compute both
        assert report["max_error"] < most
        assert report["min_psnr_db"] > least_db


def test_half_precision_keeps_the_psnr(checkpoint: Path) -> None:
    network = read_checkpoint(checkpoint).build()
    guard = make_guard(SUPER_RESOLUTION)
    half = to_half(network, list_cases(SUPER_RESOLUTION, 4)[:3], guard=guard)
    assert guard.describe_worst(half.worst) >= 50


def test_options_of_classes_and_sizes_that_do_not_suit_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    options = ExportOptions(classes=ClassOptions(preprocessing="plain"))
    with pytest.raises(ConfigError, match="is a super-resolution network, which has no classes"):
        write_bundle(read_checkpoint(checkpoint), tmp_path / "bundle", options=options)
    with pytest.raises(ImageError, match="multiples of 4"):
        read_checkpoint(checkpoint).build()(torch.zeros(1, 3, 6, 8))


def test_budgets_judge_error_shape_and_values_that_are_not_finite() -> None:
    image = np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4)
    assert FLOAT32_IMAGE.compare("same", (image,), image, image).passed
    assert not FLOAT32_IMAGE.compare("off", (image,), image + np.float32(1e-3), image).passed
    assert HALF_IMAGE.compare("off", (image,), image + np.float32(1e-3), image).passed
    assert not HALF_IMAGE.compare("far", (image,), image + np.float32(1e-2), image).passed
    assert not HALF_IMAGE.compare("shape", (image,), image[..., :2], image).passed
    broken = image.copy()
    broken[0, 0, 0, 1] = np.nan
    compared = HALF_IMAGE.compare("broken", (image,), broken, image)
    assert (compared.passed, compared.num_not_finite, compared.not_finite_at) == (False, 1, [[0, 0, 0, 1]])


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_names_and_shapes_show_the_hyper_parameters(level: int) -> None:
    parameters = {"mult": 3, "ff_channel": 5, "final_dim": 12, "depth": 2, "level": level}
    state = build_model("wavemix-super-resolution", parameters).state_dict()
    architecture, found = detect_architecture(state)
    assert (architecture.name, found) == ("wavemix-super-resolution", parameters)
