"""PyTorch on a real GPU: the networks equal those on the CPU, and a training step in bfloat16. Skipped without a GPU.

They need PyTorch with CUDA, and neither TensorRT nor a package for CUDA.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import randomise
from tests.networks import make_random_lpips
from wavepaint.models import inputs
from wavepaint.models.registry import build_model
from wavepaint.ops.initial_fill import fill_levels
from wavepaint.ops.matched_details import match_details
from wavepaint.ops.shifted_details import shift_details
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.hardware import pick_device, pick_precision
from wavepaint.training.recipes import get_recipe
from wavepaint.training.schedule import Schedule
from wavepaint.training.step import TrainStep

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs PyTorch with CUDA and an NVIDIA GPU"),
]
DEVICE = torch.device("cuda")

TOLERANCE = 3e-5
"""Both sides sum in float32 in another order. On a CPU these networks differ from float64 by up to 4e-6. If their
weights are rounded to TF32, they differ by 6e-5 (LaMa) to 2e-3."""

SMALL: dict[str, Any] = {"blocks_per_module": 2, "final_dim": 16, "mult": 2, "ff_channel": 16}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "the paper's WavePaint": ("wavepaint", {**SMALL, "num_modules": 2, "level": 3}),
    "with matched details": (
        "wavepaint", {**SMALL, "num_modules": 1, "level": 4, "prefill_levels": 8, "borrow": True, "match": True}
    ),
    "LaMa": ("lama", {"num_blocks": 2, "base_channels": 8, "global_channels": 48}),
    "custom CNN": ("unet", {}),
}  # fmt: skip


@pytest.fixture
def exact() -> Iterator[None]:
    """Turn TF32 off: by default, convolutions on a GPU round their inputs to ten bits."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    yield
    cudnn.allow_tf32, matmul.allow_tf32 = before


def make_batch(height: int = 128, width: int = 192) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, mask = torch.rand(2, 3, height, width, generator=generator), torch.zeros(2, 1, height, width)
    mask[0, :, 30:90, 40:110] = 1
    mask[1, :, 5:60, 70:85] = 1
    return image, mask


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_network_equals_itself_on_the_cpu(exact: None, name: str, layout: torch.memory_format) -> None:
    architecture, parameters = NETWORKS[name]
    network, batch = randomise(build_model(architecture, parameters)), make_batch()
    moved: Any = copy.deepcopy(network)
    moved.to(DEVICE, memory_format=layout)
    with torch.inference_mode():
        expected = network(*batch)
        found = moved(*(tensor.to(DEVICE, memory_format=layout) for tensor in batch))
    assert found.device.type == DEVICE.type
    assert expected.std() > 0.05  # it is no constant
    torch.testing.assert_close(found.cpu(), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["with matched details", "LaMa"])
def test_a_cuda_graph_equals_eager_calls(exact: None, name: str) -> None:
    architecture, parameters = NETWORKS[name]
    network: Any = randomise(build_model(architecture, parameters)).to(DEVICE)
    batch = [tensor.to(DEVICE) for tensor in make_batch()]
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.inference_mode():
        expected = network(*batch)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            network(*batch)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            found = network(*batch)
        batch[1].copy_(batch[1].flip(-1))  # holes elsewhere
        graph.replay()
        torch.testing.assert_close(found, network(*batch), atol=TOLERANCE, rtol=0)
    assert not torch.equal(found, expected)


def test_gradients_equal_those_on_the_cpu(exact: None) -> None:
    architecture, parameters = NETWORKS["with matched details"]
    network, batch = randomise(build_model(architecture, parameters)), make_batch()
    moved = copy.deepcopy(network).to(DEVICE)
    network(*batch).square().mean().backward()
    moved(*(tensor.to(DEVICE) for tensor in batch)).square().mean().backward()
    for (name, one), other in zip(network.named_parameters(), moved.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        # On a CPU, gradients differ from those of float64 by up to 9e-6 of their length. Some are 0 but for rounding.
        difference = torch.linalg.vector_norm(other.grad.cpu() - one.grad)
        assert difference <= 2e-4 * torch.linalg.vector_norm(one.grad) + 1e-6, name


def test_matched_details_stay_in_float32_under_autocast() -> None:
    image, mask = (tensor.to(DEVICE) for tensor in make_batch())
    fills = fill_levels(image, mask, 5)
    shifted = shift_details(fills[0], fills[4], mask, 16)
    expected = match_details(fills, mask, shifted)
    with torch.autocast(DEVICE.type, torch.bfloat16):
        found = match_details(fills, mask, shifted)
    assert expected.any()
    assert found.dtype == torch.float32
    # The same kernels run; bfloat16 would differ by 1e-2.
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_a_step_in_bfloat16_trains_and_keeps_matched_details_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    context = DistributedContext()
    assert pick_device(None, context).type == DEVICE.type
    dtype = pick_precision("bf16", DEVICE)
    assert dtype is torch.bfloat16
    config = get_recipe("default-structure").change(
        {
            "hyper_parameters": {"final_dim": 16, "ff_channel": 16, "blocks_per_module": 1},
            "loss": {"discriminator_channels": 4},
            "optimization": {"batch_size": 2, "channels_last": True, "warmup_steps": 0},
        }
    )
    torch.manual_seed(0)
    model: Any = build_model(config.architecture, config.hyper_parameters)
    model.to(DEVICE, memory_format=torch.channels_last)
    lpips = make_random_lpips("alexnet").to(DEVICE)
    schedule = Schedule(config.optimization, 10)
    step = TrainStep(config, model, schedule, context, DEVICE, autocast_dtype=dtype, lpips=lpips)
    details: list[tuple[Tensor, Tensor]] = []

    def note(*arguments: Any) -> Tensor:
        found = match_details(*arguments)
        assert torch.is_autocast_enabled(DEVICE.type)
        with torch.autocast(DEVICE.type, enabled=False):
            details.append((found, match_details(*arguments)))
        return found

    monkeypatch.setattr(inputs, "match_details", note)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    batch = tuple(tensor.to(DEVICE) for tensor in make_batch())
    losses = [step.run([batch], number) for number in range(2)]  # type: ignore[list-item]
    for name, value in (item for found in losses for item in found.items()):
        assert value.isfinite().all(), name
    assert len(details) >= 2
    for found, expected in details:
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    moved = [name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])]
    assert len(moved) > len(before) / 2
    assert all(parameter.isfinite().all() for parameter in model.parameters())
