"""Our metrics against torchmetrics, which many papers use."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.image.fid import _compute_fid

from wavepaint.metrics import image_quality
from wavepaint.metrics.frechet import compare_features

MARGIN = 5
"""Both libraries leave out the border of half a window, where they pad in different ways."""


@pytest.fixture(scope="module")
def pair(photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A photograph in [0, 1] and a noisy copy."""
    truth = photo[:128, :160] / 255
    noisy = truth + np.random.default_rng(0).normal(0, 0.05, truth.shape)
    return noisy.clip(0, 1), truth


def to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def test_psnr_is_torchmetrics(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = peak_signal_noise_ratio(*map(to_tensor, pair), data_range=1.0)
    assert image_quality.psnr(*pair) == pytest.approx(float(expected), rel=1e-6)  # torchmetrics adds up in float32


def test_ssim_is_torchmetrics(pair: tuple[np.ndarray, np.ndarray]) -> None:
    _, expected = structural_similarity_index_measure(
        *map(to_tensor, pair), data_range=1.0, sigma=1.5, return_full_image=True
    )
    inner = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    found = image_quality.ssim_map(*pair)[inner]
    expected_map = expected[0].permute(1, 2, 0).numpy()[inner]
    np.testing.assert_allclose(found, expected_map if found.ndim == 3 else expected_map.mean(-1), atol=1e-6)


def test_the_frechet_distance_is_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    sets = [rng.standard_normal((60, 12)), rng.standard_normal((80, 12)) @ rng.standard_normal((12, 12)) + 0.5]
    moments = [(torch.from_numpy(x.mean(0)), torch.from_numpy(np.cov(x, rowvar=False))) for x in sets]
    expected = float(_compute_fid(*moments[0], *moments[1]))
    assert compare_features(*sets) == pytest.approx(expected, rel=1e-8)
