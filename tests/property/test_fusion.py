"""Exact fusion: the fused network equals the original for every configuration, size and border."""

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from tests.conftest import randomise
from tests.property.networks import baselines, wavepaint_parameters
from wavepaint.export.fusion.fuse import fuse
from wavepaint.export.fusion.upsampling import PhaseUpsample, SubPixelUpsample, Upsampling, has_phases
from wavepaint.export.fusion.wavemix import FusedStem, PhaseBlocks
from wavepaint.models.registry import HyperParameters, build_model, get_architecture

TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Largest error relative to the largest output (or 1): a different order of the same sums."""


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1))


@settings(max_examples=25, deadline=None)
@given(
    parameters=wavepaint_parameters,
    wavelet=st.sampled_from(["haar", "db2", "sym3", "coif1", "bior2.2", "convolution"]),
    dtype=st.sampled_from(list(TOLERANCES)),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    upsampling=st.sampled_from(get_args(Upsampling)),
    seed=st.integers(0, 999),
)
def test_fused_wavepaint_equals_the_original(
    parameters: HyperParameters,
    wavelet: str,
    dtype: torch.dtype,
    rows: int,
    columns: int,
    upsampling: Upsampling,
    seed: int,
) -> None:
    parameters = {**parameters, "wavelet": wavelet}
    model = randomise(build_model("wavepaint", parameters), seed).to(dtype)
    multiple = get_architecture("wavepaint").size_multiple(parameters)
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, rows * multiple, columns * multiple, generator=generator, dtype=dtype)
    mask = (torch.rand(2, 1, *image.shape[2:], generator=generator) > 0.5).to(dtype)
    fused = fuse(model, upsampling=upsampling)
    with torch.no_grad():
        assert relative_error(fused(image, mask), model(image, mask)) <= TOLERANCES[dtype]
    in_phases = any(isinstance(module, PhaseBlocks) for module in fused.modules())
    assert in_phases == (wavelet == "haar" and upsampling == "phases")


@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(["wavemix-classifier", "wavemix-segmenter"]),
    strided=st.booleans(),
    dtype=st.sampled_from(list(TOLERANCES)),
    level=st.integers(1, 4),
    upsampling=st.sampled_from(get_args(Upsampling)),
    seed=st.integers(0, 999),
)
def test_fused_wavemix_equals_the_original(
    name: str, strided: bool, dtype: torch.dtype, level: int, upsampling: Upsampling, seed: int
) -> None:
    parameters: HyperParameters = {"num_classes": 4, "depth": 2, "final_dim": 24, "ff_channel": 8, "level": level}
    if name == "wavemix-classifier":
        parameters["initial_conv"] = "strided" if strided else "patchify"
    model = randomise(build_model(name, parameters), seed).to(dtype)
    multiple = get_architecture(name).size_multiple(parameters)
    image = torch.rand(2, 3, multiple, 2 * multiple, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    fused = fuse(model, upsampling=upsampling)
    with torch.no_grad():
        assert relative_error(fused(image), model(image)) <= TOLERANCES[dtype]
    if name == "wavemix-segmenter" or strided:
        assert any(isinstance(module, FusedStem) for module in fused.modules())


@settings(max_examples=30, deadline=None)
@given(
    network=baselines,
    dtype=st.sampled_from(list(TOLERANCES)),
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    upsampling=st.sampled_from(get_args(Upsampling)),
    seed=st.integers(0, 999),
)
def test_fused_baselines_equal_the_originals(
    network: tuple[str, HyperParameters],
    dtype: torch.dtype,
    rows: int,
    columns: int,
    upsampling: Upsampling,
    seed: int,
) -> None:
    name, parameters = network
    model = randomise(build_model(name, parameters), seed).to(dtype)
    multiple = get_architecture(name).size_multiple(parameters)
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, rows * multiple, columns * multiple, generator=generator, dtype=dtype)
    mask = (torch.rand(2, 1, *image.shape[2:], generator=generator) > 0.5).to(dtype)
    fused = fuse(model, upsampling=upsampling)
    with torch.no_grad():
        assert relative_error(fused(image, mask), model(image, mask)) <= TOLERANCES[dtype]
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    if name == "lama":
        assert any(isinstance(module, PhaseUpsample) for module in fused.modules()) == (upsampling == "phases")


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3)], ids=str)
@pytest.mark.parametrize("kernel", [3, 4])
def test_upsampling_in_phases_equals_the_transposed_convolution(size: tuple[int, int], kernel: int) -> None:
    up = torch.nn.ConvTranspose2d(5, 3, kernel, stride=2, padding=1, output_padding=4 - kernel).double()
    assert has_phases(up)
    x = torch.rand(2, 5, *size, dtype=torch.float64)
    torch.testing.assert_close(PhaseUpsample(up)(x), up(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3)], ids=str)
def test_sub_pixel_upsampling_equals_the_transposed_convolution(size: tuple[int, int]) -> None:
    up = torch.nn.ConvTranspose2d(5, 3, 4, stride=2, padding=1).double()
    assert up.bias is not None
    sub_pixel = SubPixelUpsample(up.weight.detach(), up.bias.detach(), up.weight)
    x = torch.rand(2, 5, *size, dtype=torch.float64)
    torch.testing.assert_close(sub_pixel(x), up(x), atol=1e-12, rtol=0)


def count_gmac(model: torch.nn.Module, side: int = 256) -> float:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(torch.zeros(1, 3, side, side, device="meta"), torch.zeros(1, 1, side, side, device="meta"))
    return counter.get_total_flops() / 2e9


def test_fusion_about_halves_the_cost_of_the_papers_network() -> None:
    parameters = {"num_modules": 4, "blocks_per_module": 4, "mult": 2, "final_dim": 128, "ff_channel": 128}
    model = build_model("wavepaint", parameters).eval()
    assert count_gmac(model.to("meta")) == pytest.approx(46, abs=1)
    for upsampling in get_args(Upsampling):
        assert count_gmac(fuse(model, upsampling=upsampling).to("meta")) <= 25


def test_the_original_is_unchanged_and_no_batch_norm_follows_a_convolution() -> None:
    model = randomise(build_model("wavepaint", {"level": 2, "final_dim": 8, "num_modules": 1, "blocks_per_module": 2}))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fused = fuse(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    names = [name for name, module in fused.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert names == ["wavemodules.0.depthconv.2"]  # it follows an activation
