"""The Fourier transform as matrix products against PyTorch's FFT."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wavepaint.ops.dft import InverseRealDFT2d, RealDFT2d

TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}
sizes = st.one_of(st.integers(1, 40), st.sampled_from([64, 75, 128]))
with_any_size = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def matrices(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Run the matrix products, as an export does."""
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    monkeypatch.setattr(torch.fft, "rfft2", None)
    monkeypatch.setattr(torch.fft, "irfft2", None)
    return monkeypatch


fft2, inverse_fft2 = torch.fft.rfft2, torch.fft.irfft2


@with_any_size
@given(
    height=sizes,
    width=sizes,
    batch=st.integers(1, 3),
    channels=st.integers(1, 4),
    dtype=st.sampled_from(list(TOLERANCES)),
    seed=st.integers(0, 99),
)
def test_both_directions_equal_the_fft(
    matrices: pytest.MonkeyPatch, height: int, width: int, batch: int, channels: int, dtype: torch.dtype, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, height, width, generator=generator, dtype=dtype)
    expected = fft2(x, norm="ortho")
    found = RealDFT2d()(x)
    assert found.dtype == dtype
    parts = found.unflatten(1, (channels, 2))
    torch.testing.assert_close(parts[:, :, 0], expected.real, atol=TOLERANCES[dtype], rtol=0)
    torch.testing.assert_close(parts[:, :, 1], expected.imag, atol=TOLERANCES[dtype], rtol=0)
    torch.testing.assert_close(InverseRealDFT2d()(found, x), x, atol=TOLERANCES[dtype], rtol=0)

    # A network changes the coefficients, so that they belong to no real map.
    y = torch.randn(found.shape, generator=generator, dtype=dtype)
    pairs = y.unflatten(1, (channels, 2))
    wanted = inverse_fft2(torch.complex(pairs[:, :, 0], pairs[:, :, 1]), s=(height, width), norm="ortho")
    torch.testing.assert_close(InverseRealDFT2d()(y, x), wanted, atol=TOLERANCES[dtype], rtol=0)


def test_fft_runs_outside_of_exports() -> None:
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    spectrum = RealDFT2d()(x)
    expected = fft2(x, norm="ortho")
    assert torch.equal(spectrum, torch.stack([expected.real, expected.imag], dim=2).flatten(1, 2))
    assert torch.equal(InverseRealDFT2d()(spectrum, x), inverse_fft2(expected, s=(6, 7), norm="ortho"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_keep_their_dtype_and_values(dtype: torch.dtype) -> None:
    x = torch.rand(1, 2, 12, 15, generator=torch.Generator().manual_seed(0)).to(dtype)
    spectrum = RealDFT2d()(x)
    back = InverseRealDFT2d()(spectrum, x)
    assert spectrum.dtype == back.dtype == dtype
    torch.testing.assert_close(back, x, atol=20 * torch.finfo(dtype).eps, rtol=0)


def test_autocast_transforms_in_float32_with_gradients() -> None:
    x = torch.rand(1, 2, 5, 6, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        back = InverseRealDFT2d()(RealDFT2d()(x), x)
    assert back.dtype == torch.float32
    torch.testing.assert_close(back, x.float(), atol=1e-6, rtol=0)
    back.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.ones_like(x.grad), atol=1e-2, rtol=0)
