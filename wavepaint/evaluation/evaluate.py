"""Fill every case with every subject, and score the fills."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wavepaint.data.validation_set import Pixels
from wavepaint.errors import ImageError, printable
from wavepaint.evaluation.fill_metrics import Scores, measure_fill
from wavepaint.evaluation.photo_cases import CaseKey, Cases
from wavepaint.evaluation.subjects import Subject
from wavepaint.metrics.discriminability import Discriminability, measure_discriminability
from wavepaint.metrics.frechet import check_num_samples, compare_features

if TYPE_CHECKING:
    from wavepaint.metrics.feature_networks import FeatureNetwork
    from wavepaint.metrics.lpips import LPIPS

_TRUTH = ""
"""Stands for the photos among the titles of subjects."""


@dataclass(frozen=True, kw_only=True)
class Fill:
    """A case and the scores of its fill.

    Attributes:
        key: The case.
        hole_share: Share of the image that is hole, above 0 to 1.
        scores: The scores.
    """

    key: CaseKey
    hole_share: float
    scores: Scores


@dataclass
class Evaluation:
    """The fills of each subject by its title, and what compares whole sets, by set and title."""

    fills: dict[str, list[Fill]]
    frechet: dict[str, dict[str, float]] = field(default_factory=dict)
    discriminability: dict[str, dict[str, Discriminability]] = field(default_factory=dict)


def check_frechet(cases: Cases, network: "FeatureNetwork") -> None:
    """Refuse a Frechet distance before any work if a set has too few photos for a covariance.

    Raises:
        ConfigError: There are too few.
    """
    photos: dict[str, set[str]] = defaultdict(set)
    for key in cases.keys:
        photos[key.set_name].add(key.photo)
    check_num_samples(min(map(len, photos.values())), network.num_features, network.title)


def evaluate(
    cases: Cases,
    subjects: Sequence[Subject],
    *,
    lpips: "LPIPS | None" = None,
    network: "FeatureNetwork | None" = None,
    ids: bool = False,
    on_case: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Fill and score all cases.

    Args:
        cases: The cases.
        subjects: What fills them.
        lpips: The perceptual network; None leaves LPIPS out.
        network: The feature network of the Frechet distance; None leaves it out.
        ids: Also measure U-IDS and P-IDS with the features of the network.
        on_case: Called after each case.

    Raises:
        WavePaintError: A case cannot be loaded or filled, or there are too few photos for the Frechet distance.
    """
    if network is not None:
        check_frechet(cases, network)
    evaluation = Evaluation({subject.title: [] for subject in subjects})
    features: dict[tuple[str, str], list[NDArray[Any]]] = defaultdict(list)
    for key in cases.keys:
        case = cases.load(key)
        pictures = {subject.title: subject.fill(key, case) for subject in subjects}
        for title, filled in pictures.items():
            if filled.shape != case.photo.shape:
                raise ImageError(f"{printable(title)} fills {printable(case.name)} with an image of another size.")
            scores = Scores(photo=case.name, **measure_fill(filled, case, lpips))
            evaluation.fills[title].append(Fill(key=key, hole_share=float(case.mask.mean()), scores=scores))
        if network is not None:
            for title, picture in {_TRUTH: case.photo, **pictures}.items():
                features[key.set_name, title].append(_extract(network, picture))
        on_case()
    for (set_name, title), vectors in features.items():
        if title == _TRUTH:
            continue
        fills, photos = np.concatenate(vectors), np.concatenate(features[set_name, _TRUTH])
        evaluation.frechet.setdefault(set_name, {})[title] = compare_features(fills, photos)
        if ids:
            found = measure_discriminability(photos, fills)
            evaluation.discriminability.setdefault(set_name, {})[title] = found
    return evaluation


def _extract(network: "FeatureNetwork", image: Pixels) -> NDArray[Any]:
    from wavepaint.evaluation.perceptual import to_tensor

    return network.extract(to_tensor(image)).numpy()
