"""Training configurations: recipes, TOML files, changes, and refused settings."""

import dataclasses
import json
import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wavepaint.bench.entrants import BASELINES
from wavepaint.contract import get_task
from wavepaint.data.masks import MaskSampler
from wavepaint.errors import ConfigError
from wavepaint.models.lama import LaMaConfig, SpectralTransform
from wavepaint.models.registry import ARCHITECTURES as REGISTRY
from wavepaint.models.registry import build_model
from wavepaint.training.class_recipes import CLASS_ARCHITECTURES, CLASS_RECIPES
from wavepaint.training.config import SECTIONS, TrainConfig, read_config
from wavepaint.training.config_file import format_toml, read_toml
from wavepaint.training.data_config import DataConfig
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.optimization_config import OptimizationConfig
from wavepaint.training.recipes import ARCHITECTURES, RECIPES, get_recipe, lama_spectral
from wavepaint.training.settings import name_flag


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_round_trip_and_build(name: str, tmp_path: Path) -> None:
    config = get_recipe(name)
    assert config.recipe == name
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    (tmp_path / "config.toml").write_text(format_toml(config))
    values = read_toml(tmp_path / "config.toml")
    assert get_recipe(values["recipe"]).change(values) == config
    with torch.device("meta"):
        plain = {"prefill_levels": 0, "borrow": False, "match": False} if config.architecture == "wavepaint" else {}
        build_model(config.architecture, {**config.hyper_parameters, **plain})


def test_every_inpainting_network_has_a_recipe_and_completes() -> None:
    inpainting = {
        name
        for name, architecture in REGISTRY.items()
        if architecture.task == "inpainting" and not architecture.is_comparator
    }
    assert set(ARCHITECTURES) == inpainting


def test_every_network_with_classes_has_a_recipe_and_completes() -> None:
    with_classes = {name for name, architecture in REGISTRY.items() if get_task(architecture.task).has_classes}
    assert {make().architecture for make in CLASS_RECIPES.values()} == set(CLASS_ARCHITECTURES) == with_classes
    for name, make in CLASS_RECIPES.items():
        config = make()
        assert config.recipe == name
        assert read_config(json.loads(json.dumps(config.to_dict()))) == config
        with torch.device("meta"):
            build_model(config.architecture, config.hyper_parameters)


def test_recipes_have_the_settings_of_the_papers() -> None:
    """Sources: appendix B of the resource-efficient paper, section 4 of WavePaint, LaMa's configuration."""
    stl10 = get_recipe("wavemix-stl10")
    assert (stl10.loss.ssim, stl10.loss.mae) == (3, 1)
    optimization = stl10.optimization
    assert (optimization.batch_size, optimization.epochs, optimization.adamw_epochs) == (40, 100, 50)
    assert (optimization.learning_rate, optimization.weight_decay) == (1e-3, 0.01)
    assert (optimization.sgd_learning_rate, optimization.sgd_momentum) == (1e-3, 0.9)
    assert (stl10.data.val_fraction, stl10.data.test_fraction, stl10.data.crop_size) == (0.1, 0.1, 96)
    assert get_recipe("wavepaint-celebahq").optimization.patience == 20
    assert get_recipe("wavepaint-imagenet").optimization.patience == 10
    assert get_recipe("wavepaint-celebahq").hyper_parameters["dropout"] == 0.5
    lama = get_recipe("lama-places").loss
    assert (lama.known_l1, lama.adversarial, lama.feature_matching, lama.perceptual, lama.r1) == (10, 10, 100, 30, 1e-3)
    wgan = get_recipe("lama-wgan")
    assert (wgan.loss.adversarial_kind, wgan.loss.adversarial, wgan.loss.gradient_penalty) == ("wasserstein", 1, 10)
    assert wgan.optimization.discriminator_steps == 5
    assert get_recipe("lama-spectral").hyper_parameters["spectral_l2g"]


def test_recipe_for_stl10_trains_the_network_of_the_papers_table() -> None:
    """It has 14 million parameters, LaMa's augmentation, and masks that cover the same share of 96 and 256 pixels."""
    config = get_recipe("wavemix-stl10")
    assert (config.architecture, config.hyper_parameters) == BASELINES["wavemix-inpainting"]
    with torch.device("meta"):
        model = build_model(config.architecture, config.hyper_parameters)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 13.88
    assert (config.data.min_scale, config.data.max_scale) == (0.7, 1.3)
    assert config.data.flip
    assert config.data.colour == 0.2
    assert config.data.perspective == 0.06
    shares = []
    for size in (96, 256):
        sampler, rng = MaskSampler(config.data.masks), np.random.default_rng(0)
        shares.append([sampler(size, size, rng).mean() for _ in range(50)])
    assert shares[0] == pytest.approx(shares[1], abs=0.02)
    assert get_recipe("cnn-stl10").data == config.data


def test_lama_spectral_cites_its_paper_and_replaces_the_convolutions_into_global_channels() -> None:
    for text in (LaMaConfig.__doc__, lama_spectral.__doc__):
        assert "Improvement on Image inpainting with Fourier Convolutions" in str(text)
        assert "2021" in str(text)
    config = get_recipe("lama-spectral")
    with torch.device("meta"):
        model = build_model(config.architecture, config.hyper_parameters)
    kinds = {name.rsplit(".", 1)[1] for name, layer in model.named_modules() if isinstance(layer, SpectralTransform)}
    assert kinds == {"convl2g", "convg2g"}  # global to global is LaMa's own


def test_every_setting_has_a_help_text_and_its_own_flag() -> None:
    fields = [field for section in SECTIONS.values() for field in dataclasses.fields(section)]
    flags = [name_flag(field) for field in fields]
    assert all(field.metadata["help"].endswith(".") for field in fields)
    assert len(set(flags)) == len(flags)
    assert {"--crop-size", "--ssim-weight", "--batch-size", "--adversarial-kind"} <= set(flags)


CONFIG = TrainConfig(recipe="test", loss=LossConfig(mae=1.0), optimization=OptimizationConfig(steps=10))


def test_changes_are_merged_into_their_section() -> None:
    changed = CONFIG.change({"data": {"crop_size": 64}, "hyper_parameters": {"level": 2}, "loss": {"mae": 2}})
    assert changed.data == dataclasses.replace(CONFIG.data, crop_size=64)
    assert changed.hyper_parameters == {"level": 2}
    assert changed.loss.mae == 2.0
    assert changed.optimization == CONFIG.optimization


def test_steps_replace_epochs_and_vice_versa() -> None:
    by_epochs = CONFIG.change({"optimization": {"epochs": 3}})
    assert (by_epochs.optimization.steps, by_epochs.optimization.epochs) == (0, 3)
    assert by_epochs.change({"optimization": {"steps": 7}}).optimization.epochs == 0
    with pytest.raises(ConfigError, match="--steps is 7 and --epochs 3"):
        CONFIG.change({"optimization": {"steps": 7, "epochs": 3}})


def test_new_architecture_drops_the_former_hyper_parameters() -> None:
    config = get_recipe("default").change({"architecture": "unet"})
    assert config.hyper_parameters == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": 1}, "unknown training setting colour. Expected one of recipe, architecture"),
        ({"data": {"crop_sise": 1}}, "unknown training setting data.crop_sise. Did you mean crop_size?"),
        ({"data": {"crop_size": 1.5}}, "data.crop_size is 1.5: expected a whole number"),
        ({"data": {"flip": 1}}, "data.flip is 1: expected true or false"),
        ({"data": {"masks": "thin"}}, "data.masks is 'thin': expected a list of names"),
        ({"data": 3}, "data is 3: expected a table"),
        ({"loss": {"ssim": "much"}}, "loss.ssim is 'much': expected a number"),
        ({"loss": {"ssim": True}}, "loss.ssim is True: expected a number"),
        ({"seed": -1}, "--seed is -1"),
        ({"optimization": {"monitor": "lpips"}}, "--monitor is lpips"),
        ({"optimization": {"discriminator_steps": 5}}, "--discriminator-steps is 5: expected 1 with"),
    ],
)
def test_unknown_settings_and_wrong_types_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CONFIG.change(values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        (DataConfig, {"crop_size": 0}, "--crop-size is 0: expected 1 or more"),
        (DataConfig, {"workers": -1}, "--workers is -1"),
        (DataConfig, {"min_scale": 2.0}, "--max-scale is 1.0: expected at least --min-scale"),
        (DataConfig, {"masks": ()}, "--masks is empty"),
        (OptimizationConfig, {"steps": 1, "discriminator_steps": 0}, "--discriminator-steps is 0: expected 1 or more"),
        (DataConfig, {"masks": ("round",)}, "there are no 'round' masks"),
        (DataConfig, {"masks": ("silhouettes",)}, "add --silhouettes FOLDER"),
        (DataConfig, {"val_fraction": 1.0}, "--val-fraction"),
        (DataConfig, {"val_fraction": 0.5, "test_fraction": 0.5}, "--test-fraction is 0.5"),
        (OptimizationConfig, {}, "--steps is 0 and --epochs 0"),
        (OptimizationConfig, {"steps": 1, "learning_rate": 0.0}, "--learning-rate is 0.0"),
        (OptimizationConfig, {"steps": 1, "learning_rate": float("nan")}, "--learning-rate is nan"),
        (OptimizationConfig, {"steps": 1, "beta2": 1.0}, "--beta2 is 1.0"),
        (OptimizationConfig, {"steps": 1, "schedule": "plateau"}, "--patience is 0: expected 1 or more"),
        (OptimizationConfig, {"steps": 1, "patience": 3}, "--patience is 3: expected 0 with --schedule cosine"),
        (OptimizationConfig, {"steps": 1, "schedule": "stairs"}, "--schedule is stairs: expected one of cosine"),
        (OptimizationConfig, {"steps": 1, "batch_size": 6, "accumulate": 4}, "a divisor of --batch-size"),
    ],
)
def test_refused_settings_name_their_flag(section: type, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        section(**change)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "every loss weight is 0: set one or more of --ssim-weight, .*--lpips-hole-weight"),
        ({"mae": -1}, "--mae-weight is -1: expected 0 or more"),
        ({"hole_l1": math.nan}, "--hole-l1-weight is nan"),
        ({"lpips": math.inf}, "--lpips-weight is inf"),
        ({"mae": 1, "r1": 0.1}, "--r1-weight is 0.1, but there is no discriminator: set --adversarial-kind"),
        ({"mae": 1, "feature_matching": 1}, "--feature-matching-weight is 1, but there is no discriminator"),
        ({"adversarial": 1}, "--adversarial-weight is 1, but there is no discriminator"),
        ({"mae": 1, "adversarial_kind": "wasserstein"}, "--adversarial-weight is 0"),
        (
            {"adversarial": 1, "gradient_penalty": 1, "adversarial_kind": "non-saturating"},
            "--gradient-penalty-weight is 1, but --adversarial-kind non-saturating has no such penalty",
        ),
        (
            {"adversarial": 1, "gradient_penalty": 1, "r1": 1, "adversarial_kind": "wasserstein"},
            "--r1-weight is 1, but --adversarial-kind wasserstein has no such penalty",
        ),
        ({"adversarial": 1, "adversarial_kind": "wasserstein"}, "--gradient-penalty-weight is 0"),
        (
            {"mae": 1, "adversarial_kind": "hinge"},
            "--adversarial-kind is hinge: expected one of none, non-saturating",
        ),
        ({"mae": 1, "lpips_network": "squeeze"}, "--lpips-network is squeeze"),
    ],
)
def test_refused_loss_weights_name_their_flag(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LossConfig(**arguments)  # type: ignore[arg-type]


def test_jitter_leaves_32_pixels() -> None:
    config = get_recipe("default")
    assert config.change({"data": {"crop_size": 48}, "loss": {"jitter": 16}}).loss.jitter == 16
    with pytest.raises(ConfigError, match="--jitter is 17: expected at most 16, which leaves 32 pixels of a"):
        config.change({"data": {"crop_size": 48}, "loss": {"jitter": 17}})


def test_files_that_are_not_toml_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("crop_size = = 3")
    for path in (tmp_path / "broken.toml", tmp_path / "none.toml"):
        with pytest.raises(ConfigError, match="cannot be read as TOML"):
            read_toml(path)
    with pytest.raises(ConfigError, match="is a folder: expected a TOML file"):
        read_toml(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_settings_are_read_from_a_pipe(tmp_path: Path) -> None:
    """Shells pass one for ``--config <(command)``."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("seed = 3\n",))
    writer.start()
    assert read_toml(pipe) == {"seed": 3}
    writer.join()


def test_unknown_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown recipe 'x'"):
        get_recipe("x")
