"""The DWT against two independent implementations: PyWavelets and pytorch_wavelets."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from wavepaint.ops.dwt import DWT2d, dwt2d, idwt2d

# Some GPU hosts lack these packages.
pywt = pytest.importorskip("pywt", reason="PyWavelets is not installed")
pytorch_wavelets = pytest.importorskip("pytorch_wavelets", reason="pytorch_wavelets is not installed")

WAVELETS = ["haar", "db2", "db4", "sym3", "coif1", "bior2.2", "rbio3.1"]
SIZES = [(32, 32), (31, 32), (32, 45), (27, 33)]
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Rounding of sums of up to 2 x 24 x 24 products of values near 1."""


def random_image(size: tuple[int, int], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(2, 3, *size, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("wavelet", WAVELETS)
def test_analysis_equals_pywavelets(wavelet: str, size: tuple[int, int], levels: int, dtype: torch.dtype) -> None:
    x = random_image(size, dtype)
    low, details = dwt2d(x, wavelet, levels)
    expected_low, *expected_details = pywt.wavedec2(x.numpy().astype(np.float64), wavelet, mode="zero", level=levels)
    assert low.dtype == dtype
    np.testing.assert_allclose(low.numpy(), expected_low, atol=TOLERANCES[dtype] * 2**levels, rtol=0)
    for found, expected in zip(details, reversed(expected_details), strict=True):
        for band in range(3):
            np.testing.assert_allclose(
                found[:, :, band].numpy(), expected[band], atol=TOLERANCES[dtype] * 2**levels, rtol=0
            )


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("wavelet", WAVELETS)
def test_analysis_and_synthesis_equal_pytorch_wavelets(wavelet: str, size: tuple[int, int], levels: int) -> None:
    # float32, because pytorch_wavelets has float32 filters.
    x = random_image(size, torch.float32)
    low, details = dwt2d(x, wavelet, levels)
    expected_low, expected_details = pytorch_wavelets.DWTForward(J=levels, wave=wavelet, mode="zero")(x)
    torch.testing.assert_close(low, expected_low, atol=1e-5 * 2**levels, rtol=0)
    for found, expected in zip(details, expected_details, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5 * 2**levels, rtol=0)
    expected_image = pytorch_wavelets.DWTInverse(wave=wavelet, mode="zero")((expected_low, expected_details))
    found_image = idwt2d(low, details, wavelet)
    assert found_image.shape == expected_image.shape
    torch.testing.assert_close(found_image, expected_image, atol=2e-5 * 2**levels, rtol=0)


@pytest.mark.parametrize("levels", [1, 2, 4])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("wavelet", WAVELETS)
def test_synthesis_inverts_analysis(wavelet: str, size: tuple[int, int], levels: int) -> None:
    x = random_image(size)
    # The tables of bior and coif wavelets are exact to about 1e-11, and the levels multiply the error.
    torch.testing.assert_close(idwt2d(*dwt2d(x, wavelet, levels), wavelet, size=size), x, atol=1e-8, rtol=0)
    in_float32 = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    restored = idwt2d(*dwt2d(in_float32, "haar", levels), "haar", size=size)
    torch.testing.assert_close(restored, in_float32, atol=1e-6, rtol=0)


def test_orthogonal_wavelet_keeps_the_energy() -> None:
    x = random_image((64, 64))
    low, (details,) = dwt2d(x)
    assert float(low.square().sum() + details.square().sum()) == pytest.approx(float(x.square().sum()), rel=1e-12)


def test_gradients_equal_finite_differences() -> None:
    x = random_image((7, 6))[:1, :2].requires_grad_()
    low, details = dwt2d(x.detach(), "db2", 2)
    assert torch.autograd.gradcheck(lambda image: dwt2d(image, "db2", 2)[0], (x,))
    low.requires_grad_()
    assert torch.autograd.gradcheck(lambda band: idwt2d(band, details, "db2"), (low,))


def test_module_has_no_state_and_equals_the_function() -> None:
    module = DWT2d(3).double()
    assert not module.state_dict()
    assert not list(module.parameters())
    x = random_image((31, 20)).float()
    low, high = DWT2d(3)(x)
    expected_low, (expected_high,) = dwt2d(x)
    torch.testing.assert_close(low, expected_low, atol=1e-6, rtol=0)
    torch.testing.assert_close(high.unflatten(1, (3, 3)), expected_high, atol=1e-6, rtol=0)


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_cropped_border_halves_even_sizes_and_keeps_the_centre(wavelet: str) -> None:
    x = random_image((32, 40))
    full, _ = dwt2d(x, wavelet)
    low, high = DWT2d(3, wavelet, border="cropped").double()(x)
    assert low.shape == (2, 3, 16, 20)
    assert high.shape == (2, 9, 16, 20)
    start = (full.shape[2] - 16) // 2
    torch.testing.assert_close(low, full[:, :, start : start + 16, start : start + 20], atol=1e-6, rtol=0)


def test_module_exports_as_plain_convolutions(tmp_path: Path) -> None:
    path = tmp_path / "dwt.onnx"
    program = torch.onnx.export(
        DWT2d(4).eval(), (torch.rand(1, 4, 16, 16),), dynamo=True, opset_version=20, verbose=False
    )
    assert program is not None
    program.save(path)
    assert {node.op_type for node in onnx.load(path).graph.node} == {"Conv"}


def test_cached_filters_do_not_depend_on_the_default_device() -> None:
    """A network built on the meta device must not spoil the next one."""
    with torch.device("meta"):
        assert DWT2d(1, "bior4.4").low.is_meta
    assert DWT2d(1, "bior4.4").low.device.type == "cpu"
