"""Reconstruction losses against independent computations: by hand, numpy and scikit-image."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from tests.unit.training.losses.images import HOLE, OUTPUT, TARGET, tensors
from wavepaint.training.losses import reconstruction


def test_ssim_equals_scikit_images_inside_the_image() -> None:
    expected = []
    for a, b in zip(OUTPUT, TARGET, strict=True):
        options = {"data_range": 1, "channel_axis": 0, "gaussian_weights": True, "use_sample_covariance": False}
        _, similarity = structural_similarity(a, b, full=True, **options)
        expected.append(similarity[:, 5:-5, 5:-5].mean())
    output, target, _ = tensors()
    assert reconstruction.ssim(output, target).item() == pytest.approx(np.mean(expected), abs=1e-5)


def test_autocast_does_not_change_losses_of_pixels() -> None:
    """With SSIM in bfloat16, whose variances are differences of nearly equal means, networks stop learning at 8 dB."""
    output, target, mask = tensors()
    losses = (
        reconstruction.ssim,
        reconstruction.l1,
        reconstruction.l2,
        lambda a, b: reconstruction.hole_l1(a, b, mask),
        lambda a, b: reconstruction.known_l1(a, b, mask),
    )
    for loss in losses:
        expected = loss(output, target)
        with torch.autocast("cpu", torch.bfloat16):
            found = loss(output, target)
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_pixel_losses_equal_their_definitions() -> None:
    output, target, mask = tensors()
    error = np.abs(OUTPUT - TARGET)
    assert reconstruction.l1(output, target).item() == pytest.approx(error.mean(), rel=1e-5)
    assert reconstruction.l2(output, target).item() == pytest.approx((error**2).mean(), rel=1e-5)
    assert reconstruction.hole_l1(output, target, mask).item() == pytest.approx(error[HOLE].mean(), rel=1e-5)
    assert reconstruction.hole_l1(output, target, torch.zeros_like(mask)).item() == 0
    expected = error[~HOLE].sum() / error.size
    assert reconstruction.known_l1(output, target, mask).item() == pytest.approx(expected, rel=1e-5)


def test_composite_has_the_output_only_in_the_hole() -> None:
    output, target, mask = tensors()
    filled = reconstruction.composite(output, target, mask).numpy()
    np.testing.assert_array_equal(filled, np.where(HOLE, output.numpy(), target.numpy()))


def test_mean_around_the_hole_counts_only_its_neighbourhood() -> None:
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 5, 8] = 1
    region = reconstruction.dilate_mask(mask, 2)
    assert region.sum() == 25
    assert region[..., 3:8, 6:11].min() == 1
    values = torch.where(region > 0, 7.0, 100.0)
    assert reconstruction.mean_around_hole(values, mask, margin=2).item() == 7
    assert reconstruction.mean_around_hole(values, torch.zeros_like(mask), margin=2).item() == 0


def test_feature_distance_sums_the_means_of_layers() -> None:
    a, b = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 8, 2, 2)], [torch.ones(1, 2, 4, 4), torch.full((1, 8, 2, 2), 3.0)]
    assert reconstruction.feature_distance(a, b).item() == 1 + 9


def test_jitter_crops_all_tensors_alike_and_reaches_every_shift() -> None:
    rows = torch.arange(10.0).reshape(1, 1, 10, 1).expand(1, 1, 10, 8)
    columns = torch.arange(8.0).expand(1, 1, 10, 8)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(100):
        a, b = reconstruction.shift_and_crop(2, reconstruction.draw_shift(2, generator), rows, columns)
        assert a.shape == b.shape == (1, 1, 8, 6)
        assert torch.equal(a.diff(dim=2), torch.ones(1, 1, 7, 6))
        seen.add((a[0, 0, 0, 0].item(), b[0, 0, 0, 0].item()))
    assert seen == {(top, left) for top in range(3) for left in range(3)}
    state = torch.get_rng_state()
    assert reconstruction.shift_and_crop(0, reconstruction.draw_shift(0), rows)[0].equal(rows)
    assert torch.get_rng_state().equal(state), "without jitter no random number is drawn"
