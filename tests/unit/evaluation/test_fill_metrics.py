"""Scores of a fill against scikit-image."""

import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from tests.networks import make_random_lpips
from wavepaint.evaluation.fill_metrics import MAX_PSNR_DB, METRICS, measure_fill
from wavepaint.evaluation.perceptual import measure_lpips
from wavepaint.evaluation.photo_cases import Case


def make_case() -> tuple[Case, np.ndarray]:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (48, 56, 3), dtype=np.uint8)
    mask = np.zeros((48, 56), np.uint8)
    mask[10:30, 20:45] = 1
    noise = rng.integers(-20, 21, photo.shape) * mask[..., None]
    return Case("a.png", photo, mask), (photo.astype(int) + noise).clip(0, 255).astype(np.uint8)


def test_scores_of_the_whole_image_are_those_of_scikit_image() -> None:
    case, filled = make_case()
    a, b = filled / 255, case.photo / 255
    scores = measure_fill(filled, case, None)
    assert scores["psnr_db"] == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), rel=1e-12)
    assert scores["l2"] == pytest.approx(mean_squared_error(b, a), rel=1e-12)
    assert scores["l1"] == pytest.approx(np.abs(a - b).mean(), rel=1e-12)
    options = {"data_range": 1, "channel_axis": 2, "gaussian_weights": True, "use_sample_covariance": False}
    _, similarity = structural_similarity(a, b, full=True, **options)
    assert scores["ssim"] == pytest.approx(similarity.mean(), rel=1e-9)
    assert scores["ssim_hole"] == pytest.approx(similarity[case.mask > 0].mean(), rel=1e-9)


def test_scores_in_the_hole_follow_from_its_pixels() -> None:
    case, filled = make_case()
    difference = (filled / 255 - case.photo / 255)[case.mask > 0]
    scores = measure_fill(filled, case, None)
    assert scores["l1_hole"] == pytest.approx(np.abs(difference).mean())
    assert scores["l2_hole"] == pytest.approx((difference**2).mean())
    assert scores["psnr_hole_db"] == pytest.approx(-10 * np.log10((difference**2).mean()))
    assert set(scores) == {name for name in METRICS if "lpips" not in name}


def test_perfect_fill_has_a_finite_psnr() -> None:
    case, _ = make_case()
    scores = measure_fill(case.photo, case, None)
    assert (scores["psnr_db"], scores["psnr_hole_db"], scores["ssim"], scores["l1"]) == (MAX_PSNR_DB, MAX_PSNR_DB, 1, 0)


def test_lpips_is_measured_if_it_is_given() -> None:
    case, filled = make_case()
    lpips = make_random_lpips("alexnet")
    scores = measure_fill(filled, case, lpips)
    assert (scores["lpips_hole"], scores["lpips_around"], scores["lpips"]) == measure_lpips(
        lpips, filled, case.photo, case.mask
    )
    assert set(scores) == set(METRICS)
