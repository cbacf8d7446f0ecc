"""A classifier returns the best classes of a photo with their probabilities."""

from pathlib import Path

import numpy as np
import pytest

from tests.fakes.bundle import write_bundle
from tests.fakes.class_bundle import LABELS, write_class_bundle
from wavepaint.contract import CLASSIFICATION, SEGMENTATION
from wavepaint.errors import BundleError, ConfigError, EngineError
from wavepaint.runtime.recognition.classifier import Classifier

PURPLE = np.full((8, 8, 3), (204, 51, 255), np.uint8)  # the logits are 8, 2 and 10


def test_the_best_classes_come_first_with_their_softmax(tmp_path: Path) -> None:
    write_class_bundle(tmp_path / "bundle", CLASSIFICATION)
    with Classifier(tmp_path / "bundle") as classifier:
        predictions = classifier.classify(PURPLE)
        assert [prediction.label for prediction in predictions] == ["blue", "red", "green"]
        assert [prediction.index for prediction in predictions] == [2, 0, 1]
        wanted = np.exp([10.0, 8.0, 2.0]) / np.exp([10.0, 8.0, 2.0]).sum()
        assert [prediction.probability for prediction in predictions] == pytest.approx(wanted, rel=1e-5)
        assert [prediction.label for prediction in classifier.classify(PURPLE, top=1)] == ["blue"]


def test_transparent_parts_count_as_white(tmp_path: Path) -> None:
    write_class_bundle(tmp_path / "bundle", CLASSIFICATION)
    with Classifier(tmp_path / "bundle") as classifier:
        clear = np.zeros((8, 8, 4), np.uint8)
        assert {round(one.probability, 6) for one in classifier.classify(clear)} == {0.333333}


def test_huge_logits_do_not_overflow(tmp_path: Path) -> None:
    write_class_bundle(tmp_path / "bundle", CLASSIFICATION, model={"scale": 1e5})
    with Classifier(tmp_path / "bundle") as classifier:
        assert [one.probability for one in classifier.classify(PURPLE)] == [1.0, 0.0, 0.0]


def test_logits_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    write_class_bundle(tmp_path / "bundle", CLASSIFICATION, model={"shift": float("nan")})
    with (
        Classifier(tmp_path / "bundle") as classifier,
        pytest.raises(EngineError, match="not finite.*--engine"),
    ):
        classifier.classify(PURPLE)


def test_labels_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    write_class_bundle(tmp_path / "bundle", CLASSIFICATION, labels=[*LABELS, "infrared"])
    with Classifier(tmp_path / "bundle") as classifier, pytest.raises(BundleError, match="4 labels, and its model 3"):
        classifier.classify(PURPLE)


def test_a_bundle_of_another_task_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "fill")
    write_class_bundle(tmp_path / "map", SEGMENTATION)
    with pytest.raises(BundleError, match="for inpainting, expected one for classification. Run it with wp infer"):
        Classifier(tmp_path / "fill")
    with pytest.raises(BundleError, match="for segmentation, expected one for classification. Run it with wp segment"):
        Classifier(tmp_path / "map")


def test_arguments_out_of_range_are_refused(tmp_path: Path) -> None:
    write_class_bundle(tmp_path / "bundle", CLASSIFICATION)
    with pytest.raises(ConfigError, match="--engine"):
        Classifier(tmp_path / "bundle", engine="steam")  # type: ignore[arg-type]
    with Classifier(tmp_path / "bundle") as classifier, pytest.raises(ConfigError, match="top"):
        classifier.classify(PURPLE, top=0)
