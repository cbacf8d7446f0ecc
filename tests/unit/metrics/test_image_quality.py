"""PSNR and SSIM against scikit-image."""

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from wavepaint.metrics import image_quality

RNG = np.random.default_rng(0)
A = RNG.random((40, 50, 3))
B = np.clip(A + RNG.normal(0, 0.1, A.shape), 0, 1)
MASK = RNG.random((40, 50)) < 0.3


def test_psnr_equals_scikit_image() -> None:
    assert image_quality.psnr(A, B) == pytest.approx(peak_signal_noise_ratio(A, B, data_range=1), rel=1e-12)


def test_ssim_map_equals_scikit_image() -> None:
    _, expected = structural_similarity(
        A, B, data_range=1, channel_axis=2, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    np.testing.assert_allclose(image_quality.ssim_map(A, B), expected, atol=1e-12)


def test_ssim_of_a_batch_is_the_mean_over_its_images() -> None:
    single = [image_quality.ssim(A, B), image_quality.ssim(B, A * 0.5)]
    assert image_quality.ssim(np.stack([A, B]), np.stack([B, A * 0.5])) == pytest.approx(np.mean(single), rel=1e-12)


def test_masked_metrics_count_only_the_hole() -> None:
    outside = B.copy()
    outside[~MASK] = 0.123
    for metric in (image_quality.psnr, image_quality.masked_l1, image_quality.masked_l2):
        assert metric(A, B, MASK) == metric(A, outside, MASK)
    assert image_quality.masked_l1(A, B, MASK) == pytest.approx(np.abs(A - B)[MASK].mean())
    assert image_quality.psnr(A, A) == math.inf
    assert math.isnan(image_quality.masked_l1(A, B, np.zeros_like(MASK)))
    assert math.isnan(image_quality.psnr(A, B, np.zeros_like(MASK)))
