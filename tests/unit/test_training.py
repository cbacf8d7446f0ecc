"""Training: data, configuration, the loop and what it leaves, all on a tiny network."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from wavepaint.training.data import RandomCrops, find_photos, load_validation, split_photos

from tests.conftest import TINY
from wavepaint.errors import CheckpointError, ConfigError, OutputError, TrainingError, WavePaintWarning
from wavepaint.models.checkpoint import read_checkpoint
from wavepaint.training.config import RECIPES, TrainConfig, get_recipe
from wavepaint.training.loop import BEST, LAST, EpochReport, Trainer

CONFIG = TrainConfig(
    recipe="test",
    hyper_parameters=TINY,
    crop_size=32,
    batch_size=4,
    steps=6,
    steps_per_epoch=3,
    warmup_steps=2,
    hole_l1_weight=1.0,
    ssim_weight=0.3,
    precision="float32",
    workers=0,
    val_size=64,
)


class Silent:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.epochs: list[EpochReport] = []

    def on_start(self, config: TrainConfig, **facts: Any) -> None:
        self.facts = facts

    def on_step(self, step: int, loss: float) -> None:
        self.losses.append(loss)

    def on_epoch(self, report: EpochReport) -> None:
        self.epochs.append(report)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six real photographs in nested folders, beside files that are none."""
    from skimage import data

    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep" / "er").mkdir(parents=True)
    names = ("a.jpg", "b.png", "deep/c.webp", "deep/er/d.JPG", "deep/e.png", "f.bmp")
    for name, load in zip(names, (data.chelsea, data.coffee, data.rocket, data.astronaut, data.camera, data.cat),
                          strict=True):  # fmt: skip
        image = Image.fromarray(load())
        image.thumbnail((200, 200))
        image.save(folder / name)
    (folder / "notes.txt").write_text("not a photo")
    (folder / ".hidden.jpg").write_text("not a photo either")
    return folder


def test_photos_are_found_in_any_layout(photos: Path) -> None:
    found = [p.relative_to(photos).as_posix() for p in find_photos(photos)]
    assert found == ["a.jpg", "b.png", "deep/c.webp", "deep/e.png", "deep/er/d.JPG", "f.bmp"]


def test_folders_without_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no photos"):
        find_photos(tmp_path)
    with pytest.raises(TrainingError, match="not a folder"):
        find_photos(tmp_path / "none")


def test_the_split_keeps_a_photo_on_its_side(photos: Path) -> None:
    found = find_photos(photos)
    train, val = split_photos(found, photos, 0.4)
    assert sorted(train + val) == found
    fewer_train, fewer_val = split_photos(found[1:], photos, 0.4)
    assert set(fewer_train) <= set(train)
    assert set(fewer_val) <= set(val)
    with pytest.raises(TrainingError, match="2 or more"):
        split_photos(found[:1], photos, 0.4)
    assert len(split_photos(found[:2], photos, 1e-9)[1]) == 1


def test_a_sample_depends_on_seed_and_number_alone(photos: Path) -> None:
    crops, again = RandomCrops(find_photos(photos), CONFIG), RandomCrops(find_photos(photos), CONFIG)
    image, mask = crops[7]
    assert image.shape == (3, 32, 32)
    assert mask.shape == (1, 32, 32)
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    for number in (3, 7):
        for tensor, expected in zip(again[number], crops[number], strict=True):
            assert torch.equal(tensor, expected)
    other = RandomCrops(find_photos(photos), dataclasses.replace(CONFIG, seed=1))
    assert not torch.equal(other[7][0], image)


def test_every_photo_is_seen_before_any_is_seen_twice(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crops = RandomCrops(find_photos(photos), CONFIG)
    seen: list[Path] = []
    load = crops._photo
    monkeypatch.setattr(crops, "_photo", lambda path: seen.append(path) or load(path))
    for number in range(12):
        crops[number]
    assert len(set(seen[:6])) == len(set(seen[6:])) == 6


def test_photos_smaller_than_the_crop_are_enlarged(photos: Path) -> None:
    crops = RandomCrops(find_photos(photos), dataclasses.replace(CONFIG, crop_size=400))
    assert crops[0][0].shape == (3, 400, 400)


def test_validation_is_fixed(photos: Path) -> None:
    first, second = (load_validation(find_photos(photos), CONFIG) for _ in range(2))
    for (image, mask), (image_2, mask_2) in zip(first, second, strict=True):
        assert image.shape == (64, 64, 3)
        assert np.array_equal(image, image_2)
        assert np.array_equal(mask, mask_2)


def test_a_broken_training_photo_is_reported_once_and_replaced(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "ok.png").write_bytes((photos / "b.png").read_bytes())
    (tmp_path / "broken.jpg").write_bytes((photos / "a.jpg").read_bytes()[:500])
    crops = RandomCrops(find_photos(tmp_path), CONFIG)
    with pytest.warns(WavePaintWarning, match=r"skipped: .*broken\.jpg") as caught:
        samples = [crops[number] for number in range(4)]
    assert [image.shape for image, _ in samples] == [(3, 32, 32)] * 4
    assert len(caught) == 1
    (tmp_path / "ok.png").unlink()
    with pytest.raises(TrainingError, match="none of the training photos"), pytest.warns(WavePaintWarning):
        RandomCrops(find_photos(tmp_path), CONFIG)[0]


def test_a_broken_validation_photo_is_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "ok.png").write_bytes((photos / "b.png").read_bytes())
    (tmp_path / "broken.jpg").write_bytes((photos / "a.jpg").read_bytes()[:500])
    with pytest.raises(TrainingError, match=r"broken\.jpg cannot be decoded"):
        load_validation(find_photos(tmp_path), CONFIG)


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Silent]:
    out, reporter = tmp_path_factory.mktemp("run"), Silent()
    assert Trainer(CONFIG, photos, out).run(reporter)
    return out, reporter


def test_a_run_leaves_what_it_should(finished: tuple[Path, Silent]) -> None:
    out, reporter = finished
    assert sorted(p.name for p in out.iterdir()) == [BEST, LAST, "log.jsonl", "samples"]
    assert [p.name for p in sorted((out / "samples").iterdir())] == ["epoch_0001.png", "epoch_0002.png"]
    assert len(reporter.losses) == 6
    assert [e.step for e in reporter.epochs] == [3, 6]
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [entry["val_psnr_db"] for entry in log] == [e.val_psnr_db for e in reporter.epochs]
    checkpoint = read_checkpoint(out / BEST)
    assert checkpoint.parameters == TINY
    assert checkpoint.training["config"] == CONFIG.to_dict()
    assert checkpoint.training["validation"]["psnr_hole_db"] == max(e.val_psnr_db for e in reporter.epochs)
    assert not checkpoint.resume


def test_a_prefilled_network_starts_at_the_prefill_and_learns(finished: tuple[Path, Silent], photos: Path) -> None:
    from wavepaint.models.wavepaint import WavePaint
    from wavepaint.ops.pyramid import pyramid_fill

    model = WavePaint(**TINY)
    model.start_from_prefill()
    image, mask = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 8:20] = 1
    with torch.no_grad():
        expected = pyramid_fill(image, mask, TINY["prefill_levels"])
        torch.testing.assert_close(model.eval()(image, mask), expected, atol=1e-6, rtol=0)
        trained = read_checkpoint(finished[0] / BEST).build()
        assert not torch.equal(trained(image, mask), expected)


def test_training_lowers_the_loss(photos: Path, tmp_path: Path) -> None:
    parameters = {**TINY, "prefill_levels": 0}  # from black: there is much to learn in a few steps
    config = dataclasses.replace(
        CONFIG, hyper_parameters=parameters, steps=60, steps_per_epoch=60, learning_rate=5e-3, ssim_weight=0.0
    )
    reporter = Silent()
    Trainer(config, photos, tmp_path / "run").run(reporter)
    assert np.mean(reporter.losses[-20:]) < 0.7 * np.mean(reporter.losses[:5])


def test_resuming_gives_the_weights_of_an_uninterrupted_run(
    finished: tuple[Path, Silent], photos: Path, tmp_path: Path
) -> None:
    whole, reporter = finished
    first = Silent()
    assert not Trainer(CONFIG, photos, tmp_path).run(first, should_stop=lambda: len(first.losses) == 4)
    second = Silent()
    assert Trainer(CONFIG, photos, tmp_path, resume=True).run(second)
    assert first.losses + second.losses == reporter.losses
    state, expected = (read_checkpoint(folder / LAST).state for folder in (tmp_path, whole))
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name


def test_a_run_is_not_overwritten_and_not_resumed_by_mistake(
    finished: tuple[Path, Silent], photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="holds a run already.*--resume"):
        Trainer(CONFIG, photos, finished[0])
    with pytest.raises(CheckpointError, match="nothing to resume"):
        Trainer(CONFIG, photos, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="other settings .learning_rate."):
        Trainer(dataclasses.replace(CONFIG, learning_rate=1.0), photos, finished[0], resume=True)


def test_a_loss_that_is_not_finite_stops_the_run(photos: Path, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, photos, tmp_path)
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="not finite at step 1.*--learning-rate"):
        trainer.run(Silent())


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_round_trip_and_build(name: str) -> None:
    from wavepaint.models.registry import build_model

    config = get_recipe(name)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with torch.device("meta"):
        build_model(config.architecture, {**config.hyper_parameters, "prefill_levels": 0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "--steps is 0: expected 1 or more"),
        ({"learning_rate": 0.0}, "--learning-rate is 0.0"),
        ({"learning_rate": float("nan")}, "--learning-rate is nan"),
        ({"workers": -1}, "--workers is -1"),
        ({"min_scale": 2.0}, "--max-scale is 1.0: expected at least --min-scale"),
        ({"masks": ()}, "--masks"),
        ({"masks": ("round",)}, "--masks is round: expected one or more of thin, medium, thick"),
        ({"hole_l1_weight": 0.0, "ssim_weight": 0.0}, "every loss weight is 0"),
        ({"val_fraction": 1.0}, "--val-fraction"),
    ],
)
def test_settings_that_make_no_sense_name_their_flag(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(CONFIG, **change)


def test_unknown_recipes_and_settings() -> None:
    with pytest.raises(ConfigError, match="unknown recipe 'x'"):
        get_recipe("x")
    with pytest.raises(ConfigError, match="unknown training settings: colour"):
        TrainConfig.from_dict({**CONFIG.to_dict(), "colour": 1})
