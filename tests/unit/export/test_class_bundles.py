"""Bundles of the authors' classifiers and segmenters: from a state dict to logits that equal those of their code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.exports import export_once
from tests.golden.sines import set_sine_weights, sines
from wavepaint.contract import CLASSIFICATION, PRESETS, SEGMENTATION, Bundle
from wavepaint.errors import CheckpointError, ConfigError
from wavepaint.export.bundle import ExportOptions, write_bundle
from wavepaint.export.classes import ClassOptions
from wavepaint.export.fusion.fuse import fuse
from wavepaint.export.fusion.upsampling import PhaseUpsample
from wavepaint.export.plans import EngineRequest
from wavepaint.export.precision import LogitsGuard, TypedLayer, to_half
from wavepaint.export.verify import list_cases
from wavepaint.models.normalized_network import NormalizedNetwork
from wavepaint.models.registry import HyperParameters, build_model
from wavepaint.models.wavemix_networks import WaveMixSegmenter
from wavepaint.runtime.engines.logits_comparison import LogitsBudget
from wavepaint.runtime.engines.registry import find_runnable, open_execution
from wavepaint.weights.checkpoint import read_checkpoint

AUTHORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "golden" / "authors.json").read_text())["cases"]
SMALL: HyperParameters = {"mult": 2, "ff_channel": 6, "final_dim": 8, "num_classes": 5, "depth": 2, "level": 2}
CITYSCAPES = {**SMALL, "initial_conv": "pachify", "head_dim": 6}
STRIDED = {**SMALL, "initial_conv": "strided"}
IMAGE = ((sines((2, 3, 32, 48), 0.1) + 1) / 2).float().numpy()
PLAIN = ClassOptions(preprocessing="plain")


def save_released(path: Path, name: str, parameters: HyperParameters) -> Path:
    """Save weights as the authors do: a state dict and nothing else."""
    torch.save(set_sine_weights(build_model(name, parameters)).float().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def segmenter(export_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The layout of the authors' Cityscapes file, with float16."""
    folder = tmp_path_factory.mktemp("segmenter")
    checkpoint = save_released(folder / "cityscapes.pth", "wavemix-segmenter", CITYSCAPES)
    classes = ClassOptions(preprocessing="plain", labels=tuple("abcde"))
    options = ExportOptions(precisions=("float16",), classes=classes)
    return export_once(checkpoint, folder / "segmenter", export_cache, options)


def run_everywhere(bundle: Bundle, image: np.ndarray) -> dict[str, np.ndarray]:
    """Return the logits of every CPU engine by its name, in exact float32."""
    found = {}
    for execution in find_runnable(bundle.get_model(bundle.find_artifact("onnx", "float32"))):
        if execution.arithmetic == "float32":
            with open_execution(execution) as session:
                found[session.engine] = session.run(image)
    return found


def test_a_released_segmenter_gives_the_authors_logits_in_every_engine(segmenter: Bundle) -> None:
    expected = AUTHORS["segmenter_cityscapes"]
    for logits in run_everywhere(segmenter, IMAGE).values():
        assert list(logits.shape) == expected["shape"]
        sampled = logits.ravel()[:: max(1, logits.size // 16)][:16]
        assert sampled.tolist() == pytest.approx(expected["values"], abs=2e-5, rel=2e-5)


def test_the_manifest_names_task_labels_and_preprocessing(segmenter: Bundle) -> None:
    manifest = segmenter.manifest
    assert segmenter.task is SEGMENTATION
    assert (manifest.architecture, manifest.labels) == ("wavemix-segmenter", list("abcde"))
    assert manifest.preprocessing == PRESETS["plain"]
    assert [tensor["name"] for tensor in manifest.contract["float32"]["inputs"]] == ["image"]
    assert manifest.hyper_parameters["head_dim"] == 6
    (half,) = (artifact for artifact in manifest.artifacts if artifact.precision == "float16")
    assert half.details["pytorch_max_relative_error"] <= 0.02


def test_every_model_is_verified_against_pytorch(segmenter: Bundle) -> None:
    for path, exact in (("model.onnx", 1e-5), ("model.fp16.onnx", 0.02)):
        reports = segmenter.manifest.verification[path]
        assert {report["engine"].split()[0] for report in reports} == {"ONNX", "OpenVINO"}
        for report in reports:
            limit = 0.05 if report["precision"] == "bfloat16" else exact  # some processors compute it, too
            assert report["passed"]
            assert report["reference"].startswith("PyTorch")
            assert report["max_relative_error"] is not None
            assert report["max_relative_error"] <= limit


def test_a_model_takes_any_batch_and_size(segmenter: Bundle) -> None:
    for shape in ((1, 3, 16, 16), (3, 3, 64, 32)):
        for logits in run_everywhere(segmenter, np.full(shape, 0.5, np.float32)).values():
            assert logits.shape == (shape[0], 5, *shape[2:])


def test_a_strided_classifier_needs_its_stride_and_normalises_in_the_graph(tmp_path: Path) -> None:
    checkpoint = save_released(tmp_path / "strided.pth", "wavemix-classifier", STRIDED)
    with pytest.raises(CheckpointError, match="do not show the stride.*wp export --stride"):
        write_bundle(read_checkpoint(checkpoint), tmp_path / "bundle", options=ExportOptions(classes=PLAIN))
    options = ExportOptions(classes=ClassOptions(preprocessing="imagenet", image_size=(64, 64)))
    bundle = write_bundle(read_checkpoint(checkpoint, {"stride": 2}), tmp_path / "bundle", options=options)
    assert bundle.task is CLASSIFICATION
    assert bundle.manifest.labels == ["0", "1", "2", "3", "4"]
    expected = AUTHORS["classifier_strided"]
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (PRESETS["imagenet"].mean, PRESETS["imagenet"].std))
    for logits in run_everywhere(bundle, IMAGE * std + mean).values():
        flat = logits.ravel()
        assert flat[:: max(1, flat.size // 16)][:16].tolist() == pytest.approx(expected["values"], abs=2e-5, rel=2e-5)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (ExportOptions(), "--preprocessing"),
        (ExportOptions(classes=PLAIN, io_dtypes=("uint8",)), "for inpainting only"),
        (
            ExportOptions(classes=ClassOptions(preprocessing="plain", labels=("cat",))),
            "1 labels: this network has 5 classes",
        ),
        (ExportOptions(classes=PLAIN, engines=EngineRequest(required=True)), "Leave out --engine"),
    ],
)
def test_options_that_do_not_suit_a_classifier_write_nothing(
    tmp_path: Path, options: ExportOptions, problem: str
) -> None:
    checkpoint = save_released(tmp_path / "c.pth", "wavemix-classifier", {**STRIDED, "initial_conv": "pachify"})
    with pytest.raises(ConfigError, match=problem):
        write_bundle(read_checkpoint(checkpoint), tmp_path / "bundle", options=options)
    assert [path.name for path in tmp_path.iterdir()] == ["c.pth"]


def test_an_inpainting_network_has_no_classes(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="inpainting network, which has no classes: leave out --labels"):
        write_bundle(read_checkpoint(tiny_checkpoint), tmp_path / "bundle", options=ExportOptions(classes=PLAIN))


def test_the_head_of_a_segmenter_is_fused_where_that_saves_work() -> None:
    image = torch.from_numpy(IMAGE).double()
    for num_classes, is_fused in ((2, True), (40, False)):
        network = set_sine_weights(build_model("wavemix-segmenter", {**CITYSCAPES, "num_classes": num_classes}))
        fused = fuse(network)
        assert isinstance(fused, WaveMixSegmenter)
        assert isinstance(fused.get_head()[0], PhaseUpsample)
        assert isinstance(fused.get_head()[-1], torch.nn.Identity) == is_fused
        with torch.inference_mode():
            assert torch.allclose(fused(image), network.eval()(image), atol=1e-10, rtol=1e-10)


def test_the_guard_keeps_layers_in_float32_where_half_precision_overflows() -> None:
    network = set_sine_weights(build_model("wavemix-classifier", {**SMALL, "depth": 1})).float()
    block = network.get_submodule("layers.0")
    with torch.no_grad():
        block.get_submodule("feedforward2.3").weight.mul_(1e7)
        block.get_submodule("feedforward2.3").bias.mul_(1e7)
        block.get_submodule("feedforward2.4").weight.mul_(1e-7)
    normalized = NormalizedNetwork(network, PRESETS["imagenet"]).eval()
    cases = list_cases(CLASSIFICATION, 16)
    result = to_half(normalized, cases, guard=LogitsGuard(CLASSIFICATION))
    assert result.kept_float32 == [f"network.layers.0.feedforward2.{n}" for n in (3, 4)]
    assert -result.worst <= 0.02
    typed = [module for module in result.network.modules() if isinstance(module, TypedLayer)]
    assert {module.dtype for module in typed} == {torch.float16, torch.float32}
    strict = LogitsGuard(CLASSIFICATION, LogitsBudget(max_relative_error=2e-5))
    assert len(to_half(normalized, cases, guard=strict).kept_float32) > 2
