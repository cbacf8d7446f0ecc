"""The configuration of a run, from its recipe, file, flags and checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training.conftest import Run
from tests.unit.training.runs import CONFIG
from wavepaint.errors import CheckpointError, WavePaintWarning
from wavepaint.training.config import TrainConfig
from wavepaint.training.initial_model import build_initial_model
from wavepaint.training.recipes import FINE_TUNE, FINE_TUNE_WITHOUT_LPIPS, get_recipe
from wavepaint.training.run_folder import BEST
from wavepaint.training.run_settings import locate_checkpoint, read_settings, resolve_settings
from wavepaint.weights.checkpoint import read_checkpoint

SHIPPED = {"num_modules": 1, "blocks_per_module": 4, "final_dim": 64, "mult": 2, "ff_channel": 64, "level": 4,
           "prefill_levels": 8, "borrow": True, "match": True}  # fmt: skip
DEFAULT = locate_checkpoint("default")


@pytest.fixture(autouse=True)
def _lpips_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with LPIPS weights, which nothing here reads."""
    (tmp_path / "lpips").mkdir()
    (tmp_path / "lpips" / "lpips_alexnet.safetensors").touch()
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WAVEPAINT_LPIPS", str(tmp_path / "lpips"))


def resolve(init_from: Path | None = None, *, recipe: str | None = None, file: Any = None, **flags: Any) -> TrainConfig:
    return resolve_settings(recipe, file or {}, flags, init_from=init_from)


def test_run_from_the_shipped_model_fine_tunes_its_network() -> None:
    config = resolve(DEFAULT)
    assert (config.recipe, config.architecture, config.hyper_parameters) == (FINE_TUNE, "wavepaint", SHIPPED)
    assert config.loss.lpips_hole > 0
    checkpoint = read_checkpoint(DEFAULT)
    state = build_initial_model(config, checkpoint).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in checkpoint.state.items())


def test_run_without_lpips_weights_says_what_it_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAVEPAINT_LPIPS")
    with pytest.warns(WavePaintWarning, match=r"LPIPS.* not on this machine.* smoother .*--download-weights"):
        config = resolve(DEFAULT)
    assert config.recipe == FINE_TUNE_WITHOUT_LPIPS
    assert not config.loss.needs_lpips
    # What the user asks for is never replaced.
    assert resolve(DEFAULT, recipe=FINE_TUNE).loss.needs_lpips
    assert resolve(DEFAULT, loss={"lpips": 1.0}).recipe == FINE_TUNE
    for asked in ({"download": True}, {"lpips_weights": Path("elsewhere")}):
        assert resolve_settings(None, {}, {}, init_from=DEFAULT, **asked).recipe == FINE_TUNE  # type: ignore[arg-type]


def test_network_comes_from_the_checkpoint_unless_settings_name_it(finished: Run) -> None:
    best = finished[0] / BEST
    network = CONFIG.hyper_parameters
    assert resolve().hyper_parameters == get_recipe("default").hyper_parameters
    assert resolve(best).recipe == "default"
    assert resolve(best).hyper_parameters == network
    assert resolve(best, recipe=FINE_TUNE).hyper_parameters == network
    assert resolve(best, hyper_parameters={"level": 3}).hyper_parameters == network | {"level": 3}
    assert resolve(best, file={"hyper_parameters": {"level": 2}}).hyper_parameters == network | {"level": 2}
    assert resolve(best, architecture="unet").hyper_parameters == {}
    for named in ({"recipe": "default-textures"}, {"file": {"recipe": "default-textures"}}):
        assert resolve(best, **named) == get_recipe("default-textures")


def test_network_that_does_not_fit_the_checkpoint_is_refused_with_the_difference() -> None:
    checkpoint = read_checkpoint(DEFAULT)
    with pytest.raises(CheckpointError, match=r"level 3 instead of 4, borrow .* leave --recipe out"):
        build_initial_model(resolve(DEFAULT, recipe="default"), checkpoint)


def test_file_named_like_the_shipped_model_needs_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").touch()
    with pytest.warns(WavePaintWarning, match="write ./default"):
        assert locate_checkpoint("default").name == "default.pt"
    assert locate_checkpoint("./default").resolve() == tmp_path / "default"


def test_settings_of_a_run_come_back_from_its_folder(finished: Run, tmp_path: Path) -> None:
    assert read_settings(finished[0]) == CONFIG
    with pytest.raises(CheckpointError, match="nothing to resume"):
        read_settings(tmp_path)
