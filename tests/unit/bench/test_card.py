"""The roofs of a card: measured rates, and the bound of each layer."""

import weakref

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from wavepaint.bench.card import Card, Layer, add_card_shares, count_layers, find_layer_seconds, measure_card
from wavepaint.bench.cells import PYTORCH, Cell, Result, TorchConfig
from wavepaint.bench.entrants import Subject
from wavepaint.bench.runners import fuse_in_half
from wavepaint.export.fusion.fuse import fuse


def test_a_card_is_measured() -> None:
    card = measure_card(seconds=0.01)
    assert card.gmac_per_s > 1
    assert card.copy_gb_per_s > 0.1


def test_measuring_a_card_leaves_no_memory_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells that follow in the same process count the memory that they take."""
    made: list[weakref.ref[torch.Tensor]] = []
    num_alive: list[int] = []
    empty_like = torch.empty_like

    def note(tensor: torch.Tensor) -> torch.Tensor:
        made.append(weakref.ref(empty := empty_like(tensor)))
        return empty

    monkeypatch.setattr(torch, "empty_like", note)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: num_alive.append(sum(one() is not None for one in made)))
    measure_card(seconds=0.01)
    assert len(made) == 2
    assert num_alive == [0]


def test_each_layer_is_bound_by_arithmetic_or_by_memory() -> None:
    card = Card(name="", gmac_per_s=100.0, copy_gb_per_s=10.0)
    arithmetic, memory = Layer(10e9, 1e6, 0), Layer(1e9, 1e9, 8e9)
    assert find_layer_seconds([arithmetic, memory], card, 8) == pytest.approx(0.1 + 0.2)
    assert find_layer_seconds([memory], card, 1) == pytest.approx(0.9)  # one image has the weights to itself


def test_layers_are_counted_as_pytorch_counts_them(default: Subject) -> None:
    layers = count_layers("default", 256, lambda: fuse_in_half(default))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        fuse(default.build_network(), upsampling="transposed")(torch.zeros(1, 3, 256, 256), torch.ones(1, 1, 256, 256))
    macs = default.bundle.manifest.macs_per_pixel * 256**2
    whole = counter.get_total_flops() / 2
    assert sum(layer.macs for layer in layers) == pytest.approx(whole, rel=0.02)
    assert macs < whole < 1.25 * macs  # the manifest counts a search in a ninth of the image
    num_weights = sum(parameter.numel() for parameter in fuse_in_half(default).parameters())
    assert sum(layer.weight_bytes for layer in layers) == pytest.approx(2 * num_weights, rel=0.05)
    card = Card(name="", gmac_per_s=1e5, copy_gb_per_s=1e6)  # so much memory that arithmetic binds every layer
    cell = Cell(default, TorchConfig(PYTORCH, "float16"), 256, 256, 4)
    result = Result(**cell.describe(), label="", compute_ms=4.0)
    shared = add_card_shares(cell, result, card)
    assert shared.roofline == pytest.approx(1000 * macs / 1e9 / 1e5)
    assert shared.layer_roofline == pytest.approx(1000 * whole / 1e9 / 1e5, rel=0.03)
    exact = Cell(default, TorchConfig(PYTORCH, "float32"), 256, 256, 4)
    assert add_card_shares(exact, result, card) == result
