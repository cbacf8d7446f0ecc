"""The Frechet distance between two sets of feature vectors, each taken as a Gaussian, in numpy and float64.

    d = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))

Source: D. Dowson and B. Landau, "The Frechet Distance between Multivariate Normal Distributions" (1982), eq. 4; M.
Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium" (2017), eq. 6. Only
with the features of one particular Inception network is it the FID (:mod:`wavepaint.metrics.feature_networks`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavepaint.errors import ConfigError

Vector = NDArray[np.floating[Any]]


def measure_frechet(mean_a_D: Vector, covariance_a_DD: Vector, mean_b_D: Vector, covariance_b_DD: Vector) -> float:
    """Return the distance of two Gaussians, 0 for equal ones.

    Args:
        mean_a_D: Mean of the first, (D,).
        covariance_a_DD: Its covariance (D, D), symmetric without negative eigenvalues.
        mean_b_D: Mean of the second.
        covariance_b_DD: Its covariance.
    """
    mean_a, cov_a, mean_b, cov_b = (
        np.asarray(x, np.float64) for x in (mean_a_D, covariance_a_DD, mean_b_D, covariance_b_DD)
    )
    # tr (A B)^(1/2) is the sum of the square roots of the eigenvalues of A^(1/2) B A^(1/2), which is symmetric. The
    # square root of A B itself may become complex by rounding.
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    return max(float(distance), 0.0)


def compare_features(features_a_ND: Vector, features_b_ND: Vector) -> float:
    """Return the distance of two sets of feature vectors, (N, D) each; the numbers N may differ.

    Raises:
        ConfigError: A set has too few vectors for a covariance; see :func:`check_num_samples`.
    """
    for features in (features_a_ND, features_b_ND):
        check_num_samples(*features.shape)
    moments: list[Vector] = []
    for features in (features_a_ND, features_b_ND):
        values = np.asarray(features, np.float64)
        moments += [values.mean(axis=0), np.cov(values, rowvar=False).reshape(values.shape[1], values.shape[1])]
    return measure_frechet(*moments)


def check_num_samples(num_samples: int, num_features: int, what: str = "the Frechet distance") -> None:
    """Refuse a covariance that is singular because it has too few samples, whatever the images look like.

    Raises:
        ConfigError: There are no more samples than features.
    """
    if num_samples <= num_features:
        smaller = " take a network with fewer features (AlexNet has 256)," if num_features > 256 else ""
        raise ConfigError(
            f"{what} needs more photos in each set than its network has features, {num_features}, and there are "
            f"{num_samples}: add photos,{smaller} or leave the distance out."
        )
