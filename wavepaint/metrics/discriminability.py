"""How well a linear classifier tells fills from photos by their features: U-IDS and P-IDS.

Source: S. Zhao et al., "Large Scale Image Completion via Co-Modulated Generative Adversarial Networks" (2021), section
3.2. A linear support vector machine is fitted to the features of all photos and all fills, with the settings of the
authors' code. They take the features of the FID's Inception.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavepaint.metrics.frechet import check_num_samples
from wavepaint.optional import require

_MAX_ITERATIONS = 10_000
"""Scikit-learn's default of 1,000 ends early on features of fills that resemble the photos."""


class Discriminability(NamedTuple):
    """Shares from 0 to 1; the higher, the less the fills can be told from photos.

    Attributes:
        unpaired: U-IDS: the share of photos and fills that the classifier takes for the other kind; about 0.5 if it
            cannot tell them apart.
        paired: P-IDS: the share of fills that the classifier finds more like a photo than their own photo.
    """

    unpaired: float
    paired: float


def measure_discriminability(photos_ND: NDArray[Any], fills_ND: NDArray[Any]) -> Discriminability:
    """Return U-IDS and P-IDS.

    Args:
        photos_ND: Features of the photos, (N, D).
        fills_ND: Features of their fills, in the same order.

    Raises:
        ConfigError: There are no more photos than features. A linear classifier then separates any two sets.
        EngineError: scikit-learn is not installed.
    """
    num_photos, num_features = photos_ND.shape
    check_num_samples(num_photos, num_features, "U-IDS")
    svm = require("sklearn.svm", extra="ids")
    classifier = svm.LinearSVC(dual=False, max_iter=_MAX_ITERATIONS)
    features, is_photo = np.concatenate([photos_ND, fills_ND]), np.repeat([1, 0], len(photos_ND))
    classifier.fit(features, is_photo)
    photos, fills = (classifier.decision_function(x) for x in (photos_ND, fills_ND))
    return Discriminability(
        unpaired=float(1 - classifier.score(features, is_photo)), paired=float((fills > photos).mean())
    )
