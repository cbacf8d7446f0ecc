"""Overlap of predicted regions with those of the labels, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from wavepaint.metrics.overlap import measure_overlap


def test_overlap_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 500)
    predicted = np.where(rng.random(500) < 0.6, labels, rng.integers(0, 4, 500))
    found = measure_overlap(confusion_matrix(labels, predicted))
    np.testing.assert_allclose(found.class_iou, jaccard_score(labels, predicted, average=None))
    assert found.mean_iou == pytest.approx(jaccard_score(labels, predicted, average="macro"))
    assert found.pixel_accuracy == pytest.approx(accuracy_score(labels, predicted))


def test_classes_neither_labelled_nor_predicted_do_not_count() -> None:
    found = measure_overlap(np.diag([3, 0, 5]))
    np.testing.assert_array_equal(found.class_iou, [1, np.nan, 1])
    assert found.mean_iou == 1


def test_many_matrices_are_measured_at_once() -> None:
    matrices = np.random.default_rng(1).integers(0, 9, (5, 3, 3))
    many = measure_overlap(matrices)
    np.testing.assert_array_equal(many.mean_iou, [measure_overlap(one).mean_iou for one in matrices])
    assert np.isnan(measure_overlap(np.zeros((2, 2))).mean_iou)
