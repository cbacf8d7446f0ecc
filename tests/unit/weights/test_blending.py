"""Blends of two checkpoints."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tests.conftest import FULL, randomise
from wavepaint.cli import blend
from wavepaint.errors import CheckpointError, ConfigError, OutputError
from wavepaint.models.registry import build_model
from wavepaint.weights.blending import blend_weights, describe_blend
from wavepaint.weights.checkpoint import Checkpoint, read_checkpoint, save_checkpoint


def save(path: Path, seed: int, **changes: int) -> Checkpoint:
    parameters = {**FULL, **changes}
    model = randomise(build_model("wavepaint", parameters), seed)
    save_checkpoint(path, model, architecture="wavepaint", parameters=parameters, training={"step": seed})
    return read_checkpoint(path)


@pytest.fixture
def ends(tmp_path: Path) -> tuple[Checkpoint, Checkpoint]:
    return save(tmp_path / "faithful.pt", 1), save(tmp_path / "sharp.pt", 2)


def test_shares_0_and_1_give_the_checkpoints(ends: tuple[Checkpoint, Checkpoint]) -> None:
    for share, end in zip((0.0, 1.0), ends, strict=True):
        blend = blend_weights(*ends, share)
        for name, tensor in end.state.items():
            torch.testing.assert_close(blend[name], tensor, atol=0, rtol=0)


def test_share_between_gives_the_weighted_mean(ends: tuple[Checkpoint, Checkpoint]) -> None:
    blend = blend_weights(*ends, 0.25)
    for name, tensor in blend.items():
        a, b = (end.state[name] for end in ends)
        expected = 0.75 * a.double() + 0.25 * b.double() if tensor.is_floating_point() else b.double()
        torch.testing.assert_close(tensor.double(), expected, atol=1e-6, rtol=1e-6)


def test_record_names_both_checkpoints(ends: tuple[Checkpoint, Checkpoint]) -> None:
    record = describe_blend(*ends, 0.8)
    assert record["step"] == 2
    assert record["blended_with"] == {
        "file": "faithful.pt", "sha256": ends[0].sha256, "share_of_this": 0.8, "training": {"step": 1},
    }  # fmt: skip


def test_impossible_shares_and_different_networks_are_refused(
    ends: tuple[Checkpoint, Checkpoint], tmp_path: Path
) -> None:
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="--share is"):
            blend_weights(*ends, share)
    with pytest.raises(CheckpointError, match="are not of the same network"):
        blend_weights(ends[0], save(tmp_path / "wide.pt", 3, final_dim=16), 0.5)


@pytest.mark.usefixtures("ends")
def test_the_next_command_can_be_pasted(tmp_path: Path) -> None:
    out = tmp_path / "be tween.PTH"
    arguments = [str(tmp_path / "faithful.pt"), str(tmp_path / "sharp.pt"), "-o", str(out)]
    result = CliRunner().invoke(blend.command, arguments, catch_exceptions=False)
    assert result.output == f"{out}: export it with: wp export '{out}' -o BUNDLE\n"
    assert read_checkpoint(out).architecture.name == "wavepaint"


@pytest.mark.parametrize("name", ["x.safetensors", "x.png", "x"])
def test_a_blend_is_not_written_under_the_name_of_another_format(tmp_path: Path, name: str) -> None:
    arguments = ["first.pt", "second.pt", "-o", str(tmp_path / name)]
    with pytest.raises(OutputError, match=r"PyTorch checkpoint\. Use a name in \.pt, \.pth, \.ckpt"):
        CliRunner().invoke(blend.command, arguments, catch_exceptions=False)
    assert not (tmp_path / name).exists()
