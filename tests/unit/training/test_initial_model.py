"""Runs that start from the initial fill, or from the weights of another network."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import FULL as WITH_INITIAL_FILL
from tests.unit.training.conftest import Run, finish
from tests.unit.training.runs import CONFIG, Recorder
from wavepaint.errors import CheckpointError
from wavepaint.models.inputs import INITIAL_GATE
from wavepaint.models.registry import build_model
from wavepaint.models.wavepaint import WavePaint, WavePaintConfig
from wavepaint.ops.initial_fill import fill_levels
from wavepaint.ops.shifted_details import shift_details
from wavepaint.training.config import TrainConfig
from wavepaint.training.loop import Trainer
from wavepaint.training.run_folder import BEST
from wavepaint.weights.checkpoint import read_checkpoint
from wavepaint.weights.grow_network import load_initial_weights

FULL = CONFIG.change({"hyper_parameters": WITH_INITIAL_FILL, "optimization": {"steps": 3}})
"""A run of a network with initial fill and shifted details."""


@pytest.fixture(scope="module")
def full_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finish(FULL, photos, tmp_path_factory.mktemp("full"))


def make_case() -> tuple[Tensor, Tensor]:
    image, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 20:40, 8:40] = 1
    return image, mask


def compute_shifted_detail(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the initial fill and the first shifted detail."""
    levels = fill_levels(image * (1 - mask), mask, WITH_INITIAL_FILL["prefill_levels"])
    return levels[0], shift_details(levels[0], levels[4], mask, 16)[:, :3]


@torch.no_grad()
def test_network_starts_at_the_initial_fill_and_learns(full_run: Run) -> None:
    model = WavePaint(WavePaintConfig(**WITH_INITIAL_FILL))
    model.start_from_initial_fill()
    image, mask = make_case()
    initial_fill, detail = compute_shifted_detail(image, mask)
    expected = torch.where(mask > 0.5, initial_fill + INITIAL_GATE * detail, image)
    torch.testing.assert_close(model.eval()(image, mask), expected, atol=1e-6, rtol=0)
    trained = read_checkpoint(full_run[0] / BEST).build()
    assert not torch.equal(trained(image, mask), expected)


@torch.no_grad()
def assert_starts_as(model: nn.Module, former: nn.Module, *, gate: float = 0.0) -> None:
    """Both networks give the same fill, except for shifted details, times ``gate``, that only ``model`` adds."""
    image, mask = make_case()
    expected = former.eval()(image, mask)
    if gate:
        _, detail = compute_shifted_detail(image, mask)
        assert detail.any()
        expected = expected + gate * detail
    torch.testing.assert_close(model.eval()(image, mask), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "more", [{"num_modules": 3}, {"level": 3}, {"level": 4, "num_modules": 3}], ids=["module", "level", "both"]
)
def test_larger_network_starts_from_a_smaller_one(
    more: dict[str, int], full_run: Run, photos: Path, tmp_path: Path
) -> None:
    """New modules and wavelet levels change nothing at first."""
    former = read_checkpoint(full_run[0] / BEST)
    config = FULL.change({"hyper_parameters": more, "optimization": {"steps": 1}})
    trainer = Trainer(config, photos, tmp_path / "run", init_from=former.path)
    assert_starts_as(trainer.model, former.build())
    trainer.run(Recorder())
    assert read_checkpoint(tmp_path / "run" / BEST).training["begun_from"]["sha256"] == former.sha256


@pytest.mark.parametrize(
    ("former", "gate"),
    [({"level": 1}, 0.0), ({"borrow": False, "num_modules": 1}, INITIAL_GATE)],
    ids=["a single level, which has no number in its name", "no shifted details"],
)
def test_run_starts_from_a_network_of_another_shape(
    former: dict[str, int | bool], gate: float, photos: Path, tmp_path: Path
) -> None:
    """The only wavelet level of a block becomes the finest of several, and shifted details are added."""
    config: TrainConfig = FULL.change({"hyper_parameters": former, "optimization": {"steps": 1}})
    path = finish(config, photos, tmp_path / "former")[0] / BEST
    model = Trainer(FULL, photos, tmp_path / "run", init_from=path).model
    assert_starts_as(model, read_checkpoint(path).build(), gate=gate)


def test_an_added_detail_takes_half_of_the_gates(tmp_path: Path) -> None:
    """The matched detail shows the texture that the shifted ones show, so all of them in full would be too much."""
    parameters = {"blocks_per_module": 1, "prefill_levels": 5, "borrow": True}
    smaller, larger = (build_model("wavepaint", parameters | more) for more in ({}, {"match": True}))
    torch.save(smaller.state_dict(), tmp_path / "smaller.pt")
    larger.start_from_initial_fill()
    load_initial_weights(larger, read_checkpoint(tmp_path / "smaller.pt"), "wavepaint")
    before, after = (network.get_submodule("wavemodules.0.decoder2.0") for network in (smaller, larger))
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(new[:3], old[:3])
        assert torch.equal(new[3:5], old[3:5] / 2)
    assert not after.weight[5].any()
    assert after.bias[5].item() == pytest.approx(INITIAL_GATE)


def test_run_keeps_its_own_levels_of_initial_fill(full_run: Run, photos: Path, tmp_path: Path) -> None:
    """The checkpoint contains the network that was trained, even for a reader of only its weights."""
    config = FULL.change({"hyper_parameters": {"prefill_levels": 3}})
    trainer = Trainer(config, photos, tmp_path, init_from=full_run[0] / BEST)
    assert trainer.run(Recorder())
    saved = read_checkpoint(tmp_path / BEST)
    torch.save(saved.state, tmp_path / "state.pt")
    weights_only = read_checkpoint(tmp_path / "state.pt")
    assert saved.parameters["prefill_levels"] == weights_only.parameters["prefill_levels"] == 3
    image, mask = make_case()
    with torch.no_grad():
        expected = trainer.train_step.result.eval()(image, mask)
        for checkpoint in (saved, weights_only):
            torch.testing.assert_close(checkpoint.build()(image, mask), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "unet", "hyper_parameters": {"base_channels": 4}}, "is a wavepaint network: expected unet"),
        ({"hyper_parameters": {"final_dim": 16}}, "has shape"),
    ],
)
def test_weights_of_another_network_are_refused(
    changes: dict[str, Any], message: str, full_run: Run, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        Trainer(FULL.change(changes), photos, tmp_path / "run", init_from=full_run[0] / BEST)
