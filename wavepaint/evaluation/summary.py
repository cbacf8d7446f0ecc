"""Means with intervals of an evaluation: by set, by share of the hole, and the difference of two subjects."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavepaint.evaluation.evaluate import Evaluation, Fill
from wavepaint.evaluation.fill_metrics import METRICS
from wavepaint.evaluation.intervals import CONFIDENCE, RESAMPLES, Estimate, estimate_means

ALL = "all"
"""Name of all sets together."""
NUM_BINS = 10

Groups = dict[str, dict[str, list[Fill]]]
"""Fills by group and subject."""


def list_measured(evaluation: Evaluation) -> list[str]:
    """Return the names of the metrics that were measured."""
    scores = next(iter(evaluation.fills.values()))[0].scores
    return [name for name in METRICS if getattr(scores, name) is not None]


def group_by_set(evaluation: Evaluation) -> Groups:
    """Return the fills of each set and, if there are several, of all together."""
    first = next(iter(evaluation.fills.values()))
    names = list(dict.fromkeys(fill.key.set_name for fill in first))
    groups = {
        name: {
            title: [fill for fill in fills if fill.key.set_name == name] for title, fills in evaluation.fills.items()
        }
        for name in names
    }
    return groups | ({ALL: dict(evaluation.fills)} if len(names) > 1 else {})


def group_by_hole(evaluation: Evaluation) -> Groups:
    """Return the fills of all sets by the share of the image that is hole, in steps of 10 %; empty ones are absent.

    A share on a border belongs to the lower bin, as in LaMa's evaluator (advimman/lama@786f593,
    saicinpainting/evaluation/evaluator.py).
    """
    edges = np.linspace(0, 1, NUM_BINS + 1)
    groups: Groups = {}
    for index in range(NUM_BINS):
        chosen = {
            title: [fill for fill in fills if np.searchsorted(edges, fill.hole_share) - 1 == index]
            for title, fills in evaluation.fills.items()
        }
        if any(chosen.values()):
            groups[f"{edges[index]:.0%}-{edges[index + 1]:.0%}".replace("%", "", 1)] = chosen
    return groups


def _tabulate(fills: Iterable[Fill], metrics: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[getattr(fill.scores, name) for name in metrics] for fill in fills], np.float64)


def _describe(estimates: Sequence[Estimate], metrics: Sequence[str]) -> dict[str, dict[str, float | None]]:
    return {name: estimate._asdict() for name, estimate in zip(metrics, estimates, strict=True)}


def _summarise(groups: Groups, metrics: Sequence[str], seed: int) -> dict[str, dict[str, Any]]:
    """Return the means of each group and subject, with their intervals."""
    return {
        name: {
            title: {
                "num_fills": len(fills),
                "num_photos": len({fill.key.photo for fill in fills}),
                **_describe(estimate_means(_tabulate(fills, metrics), _list_photos(fills), seed), metrics),
            }
            for title, fills in by_title.items()
        }
        for name, by_title in groups.items()
    }


def _list_photos(fills: Iterable[Fill]) -> list[str]:
    return [fill.key.photo for fill in fills]


def compare(first: Sequence[Fill], second: Sequence[Fill], metrics: Sequence[str], seed: int) -> dict[str, Any]:
    """Compare two subjects fill by fill.

    Returns:
        For each metric the mean difference, first minus second, with its interval, and the share of the fills that the
        first one wins; a tie counts as half.
    """
    differences = _tabulate(first, metrics) - _tabulate(second, metrics)
    estimates = estimate_means(differences, _list_photos(first), seed)
    compared = _describe(estimates, metrics)
    for column, name in enumerate(metrics):
        better = differences[:, column] * (1 if METRICS[name].higher_is_better else -1)
        compared[name]["share_won"] = float(((better > 0) + 0.5 * (better == 0)).mean())
    return compared


def summarise(evaluation: Evaluation, *, seed: int, distance: str = "") -> dict[str, Any]:
    """Return everything that a report states about the fills, as plain values.

    Args:
        evaluation: At least one subject with at least one fill.
        seed: Seed of the intervals.
        distance: Name of the Frechet distance, if it was measured.
    """
    metrics, by_set = list_measured(evaluation), group_by_set(evaluation)
    results = _summarise(by_set, metrics, seed)
    for name, distances in evaluation.frechet.items():
        for title, value in distances.items():
            results[name][title]["frechet"] = value
    for name, found in evaluation.discriminability.items():
        for title, one in found.items():
            results[name][title] |= {"u_ids": one.unpaired, "p_ids": one.paired}
    titles = list(evaluation.fills)
    return {
        "metrics": {name: METRICS[name].title for name in metrics},
        "frechet": distance or None,
        "has_ids": bool(evaluation.discriminability),
        "intervals": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "resampled": "photos", "seed": seed},
        "results": results,
        "by_hole_share": _summarise(group_by_hole(evaluation), metrics, seed),
        "comparison": {
            name: compare(by_title[titles[0]], by_title[titles[1]], metrics, seed)
            for name, by_title in by_set.items()
            if len(titles) == 2
        },
    }
