"""Runs of classifiers and segmenters: they resume, measure, and record their classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.unit.training.recognition.conftest import make_config
from tests.unit.training.runs import Recorder, assert_same_state
from wavepaint.contract import PRESETS
from wavepaint.errors import CheckpointError, ConfigError, TrainingError
from wavepaint.export.classes import ClassOptions, describe_classes
from wavepaint.training.config import find_differences, read_config
from wavepaint.training.loop import Trainer
from wavepaint.training.run_folder import BEST, LAST
from wavepaint.training.run_settings import resolve_settings
from wavepaint.weights.checkpoint import read_checkpoint


@pytest.fixture
def data(request: pytest.FixtureRequest, task: str) -> Path:
    return request.getfixturevalue("class_folders" if task == "classify" else "label_folders")


@pytest.mark.filterwarnings("ignore:validation has")
@pytest.mark.parametrize("task", ["classify", "segment"])
def test_resumed_run_equals_an_uninterrupted_one(task: str, data: Path, tmp_path: Path) -> None:
    settings = {"ema_decay": 0.9, "accumulate": 2, "warmup_steps": 2, "steps": 4, "steps_per_epoch": 2}
    config = make_config(task, **settings).change({"data": {"colour": 0.2, "rotation": 10.0}})
    whole, first, second = Recorder(), Recorder(), Recorder()
    names = ["background", "square"]
    Trainer(config, data, tmp_path / "whole", labels=names).run(whole)
    assert not Trainer(config, data, tmp_path / "parts", labels=names).run(first, lambda: len(first.losses) == 3)
    saved = read_checkpoint(tmp_path / "parts" / LAST)
    resumed = Trainer(read_config(saved.training["config"]), data, tmp_path / "parts", resume=True)
    assert resumed.run(second)
    assert first.losses + second.losses == whole.losses
    for file in (LAST, BEST):
        expected, got = (read_checkpoint(tmp_path / run / file) for run in ("whole", "parts"))
        assert_same_state(got.state, expected.state)
        assert_same_state(got.resume, expected.resume)
        assert got.training["labels"] == names


@pytest.mark.filterwarnings("ignore:validation has")
@pytest.mark.parametrize("task", ["classify", "segment"])
def test_export_finds_labels_and_preprocessing_in_the_checkpoint(task: str, data: Path, tmp_path: Path) -> None:
    config = make_config(task, steps=1).change({"classes": {"preprocessing": "cifar10"}})
    Trainer(config, data, tmp_path).run(Recorder())
    checkpoint = read_checkpoint(tmp_path / BEST)
    assert checkpoint.parameters["num_classes"] == 2
    found = describe_classes(checkpoint, 8, ClassOptions())
    assert found["labels"] == (["blue", "red ones"] if task == "classify" else ["0", "1"])
    side = config.data.crop_size
    assert (found["preprocessing"].mean, found["preprocessing"].size) == (PRESETS["cifar10"].mean, (side, side))
    assert found["preprocessing"].resize == ("crop" if task == "classify" else "stretch")
    chosen = describe_classes(
        checkpoint, 8, ClassOptions(labels=("a", "b"), preprocessing="plain", image_size=(64, 64))
    )
    assert (chosen["labels"], chosen["preprocessing"].size) == (["a", "b"], (64, 64))
    assert chosen["preprocessing"].mean == (0, 0, 0)
    for wrong in ("grey", [0.5, 0.5], [0.5, 0.5, 7]):
        checkpoint.training["preprocessing"]["mean"] = wrong
        with pytest.raises(CheckpointError, match=r"damaged record of its classes .*mean"):
            describe_classes(checkpoint, 8, ClassOptions())
    checkpoint.training["labels"] = 3
    with pytest.raises(CheckpointError, match=r"damaged record of its classes .*labels"):
        describe_classes(checkpoint, 8, ClassOptions())


@pytest.mark.filterwarnings("ignore:validation has")
def test_a_segmenter_starts_from_a_classifier(class_folders: Path, label_folders: Path, tmp_path: Path) -> None:
    """Stem and blocks come from the classifier, and the head is new, as in the authors' Cityscapes program."""
    Trainer(make_config("classify", steps=1), class_folders, tmp_path / "a").run(Recorder())
    start = tmp_path / "a" / BEST
    small = {"data": {"crop_size": 32, "workers": 0}, "optimization": {"steps": 1}}
    config = resolve_settings(None, {}, small, task="segment", init_from=start)
    assert (config.architecture, config.hyper_parameters["initial_conv"]) == ("wavemix-segmenter", "patchify")
    former = read_checkpoint(start).state
    trainer = Trainer(config, label_folders, tmp_path / "b", init_from=start)
    state = trainer.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in former.items() if not name.startswith("pool."))
    assert state["pool.2.weight"].ndim == 4
    with pytest.raises(CheckpointError, match=r"missing .*depth 2 instead of 1"):
        Trainer(config.change({"hyper_parameters": {"depth": 2}}), label_folders, tmp_path / "c", init_from=start)


def test_a_network_starts_from_one_of_its_own_kind_only(tmp_path: Path, tiny_checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="is a wavepaint network: expected a classifier or a segmenter"):
        resolve_settings(None, {}, {}, task="classify", init_from=tiny_checkpoint)


@pytest.mark.filterwarnings("ignore:validation has")
def test_micro_batches_with_uneven_labels_give_the_step_of_the_whole_batch(label_folders: Path, tmp_path: Path) -> None:
    losses, gradients = [], []
    for accumulate in (1, 2):
        config = make_config("segment", accumulate=accumulate).change({"hyper_parameters": {"depth": 0}})
        trainer = Trainer(config, label_folders, tmp_path / str(accumulate))
        image = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        target = (image[:, 0] > 0.5).long()
        target[:2, :30] = -100
        parts = list(zip(image.chunk(accumulate), target.chunk(accumulate), strict=True))
        losses.append(trainer.train_step.run(parts, 0)["loss"].item())
        gradients.append(torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:validation has")
def test_samples_show_what_the_network_predicts(class_folders: Path, label_folders: Path, tmp_path: Path) -> None:
    for task, data in (("classify", class_folders), ("segment", label_folders)):
        trainer = Trainer(make_config(task), data, tmp_path / task)
        model = trainer.train_step.result
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        before = np.asarray(trainer.validator.draw(model))
        with torch.no_grad():
            head = model.pool if task == "classify" else model.get_head()
            head[2].bias.copy_(torch.tensor([0.0, 5.0]))
        after = np.asarray(trainer.validator.draw(model))
        assert before.shape == after.shape == np.asarray(trainer.validator.draw_example()).shape
        assert (before != after).any()


@pytest.mark.filterwarnings("ignore:validation has")
def test_validation_measures_what_the_command_does(class_folders: Path, label_folders: Path, tmp_path: Path) -> None:
    """A network that always takes class 1 is right where the label is 1."""
    for task, data in (("classify", class_folders), ("segment", label_folders)):
        trainer = Trainer(make_config(task), data, tmp_path / task)
        model = trainer.train_step.result
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
            (model.pool if task == "classify" else model.get_head())[2].bias.copy_(torch.tensor([0.0, 5.0]))
        metrics = trainer.validator.measure(model)
        labels = np.concatenate([np.ravel(label) for _, label in trainer.data.val_images])
        share = float((labels == 1).sum() / (labels != 255).sum())
        if task == "classify":
            assert (metrics.top1, metrics.top5) == (share, 1)
        else:
            assert metrics.pixel_accuracy == pytest.approx(share)
            assert metrics.class_iou == {"0": 0.0, "1": pytest.approx(share)}
            assert metrics.mean_iou == pytest.approx(share / 2)


def test_settings_of_other_tasks_are_refused_by_their_flags() -> None:
    config = make_config("classify")
    assert "masks" not in config.to_dict()["data"]
    assert "loss" not in config.to_dict()
    assert read_config(config.to_dict()) == config
    with pytest.raises(ConfigError, match="--masks, --ssim-weight, --discriminator-steps: no such setting with --task"):
        config.change({"data": {"masks": ["thin"]}, "loss": {"ssim": 1}, "optimization": {"discriminator_steps": 2}})
    with pytest.raises(ConfigError, match="--monitor is psnr: expected top-1 or top-5 with --task classify"):
        config.change({"optimization": {"monitor": "psnr"}})
    with pytest.raises(ConfigError, match="--min-crop is 1.5: expected a share above 0 and up to 1"):
        config.change({"classes": {"min_crop": 1.5}})
    with pytest.raises(ConfigError, match="--label-smoothing: no such setting with --task inpaint"):
        resolve_settings(None, {}, {"classes": {"label_smoothing": 0.1}})


def test_validation_images_have_the_size_of_the_crops_unless_one_is_named() -> None:
    config = make_config("segment")
    assert config.data.val_size == config.data.crop_size == 32
    assert config.change({"data": {"crop_size": 64, "val_size": 128}}).data.val_size == 128


@pytest.mark.parametrize(
    ("recipe", "file", "task", "expected"),
    [
        (None, {}, None, "inpaint"),
        (None, {"task": "inpaint"}, None, "inpaint"),
        (None, {}, "segment", "segment"),
        ("wavemix-tiny-imagenet", {}, None, "classify"),
        (None, {"task": "segment", "recipe": "segment"}, None, "segment"),
        ("lama-places", {}, "classify", "recipe lama-places (--recipe) is for --task inpaint, not for --task classify"),
        (None, {"task": "segment"}, "classify", "the file (--config) is for --task segment, not for --task classify"),
        (None, {"task": "paint"}, None, "task is 'paint': expected inpaint, classify, segment"),
        (None, {"recipe": "none"}, "classify", "unknown recipe 'none'"),
    ],
)
def test_task_comes_from_flag_file_or_recipe(recipe: str | None, file: dict, task: str | None, expected: str) -> None:
    if ":" not in expected and " " not in expected:
        assert resolve_settings(recipe, file, {}, task=task).kind == expected
        return
    with pytest.raises(ConfigError) as caught:
        resolve_settings(recipe, file, {}, task=task)
    assert expected in str(caught.value)


def test_network_of_another_task_is_refused(class_folders: Path, tmp_path: Path) -> None:
    config = make_config("classify").change({"architecture": "unet"})
    with pytest.raises(TrainingError, match="unet is not a classifier, .* another --architecture or --task"):
        Trainer(config, class_folders, tmp_path)


def test_differing_labels_and_classes_are_refused(class_folders: Path, tmp_path: Path) -> None:
    config = make_config("classify")
    with pytest.raises(ConfigError, match="there are 3 labels, and .* has 2 classes"):
        Trainer(config, class_folders, tmp_path, labels=["a", "b", "c"])
    with pytest.raises(ConfigError, match="num_classes is 5, and .* has 2 classes"):
        Trainer(config.change({"hyper_parameters": {"num_classes": 5}}), class_folders, tmp_path)
    assert find_differences(config.to_dict(), config.change({"seed": 1}).to_dict()) == ["seed"]
    assert not list(tmp_path.iterdir())


def test_a_picture_of_guesses_keeps_every_image() -> None:
    from wavepaint.training.recognition.class_pictures import Guess, draw_guesses

    image = np.full((40, 40, 3), (1, 2, 3), np.uint8)
    picture = draw_guesses([image] * 5, [Guess("a", 0.5, "b"), *[Guess("Größe" * 20, 1.0, "c")] * 4])
    assert isinstance(picture, Image.Image)
    assert (np.asarray(picture) == (1, 2, 3)).all(axis=2).sum() == 5 * 40 * 40
