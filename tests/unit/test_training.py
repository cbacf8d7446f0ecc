"""Training runs, on a tiny network: what they leave, how they go on, what stops them."""

import dataclasses
import json
import re
import resource
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.conftest import TINY
from wavepaint.data.split import Split, read_split, write_split
from wavepaint.errors import CheckpointError, ConfigError, OutputError, TrainingError, WavePaintWarning
from wavepaint.models.inputs import INITIAL_GATE
from wavepaint.ops.pyramid import fill_levels
from wavepaint.ops.shifted_details import shift_details
from wavepaint.training.config import DataConfig, LossConfig, OptimizationConfig, TrainConfig
from wavepaint.training.ema import EMA
from wavepaint.training.loop import BEST, LAST, SPLIT, RunFacts, Trainer
from wavepaint.training.record import EpochReport, RunRecord
from wavepaint.training.validation import Validation, ValidationMetrics
from wavepaint.weights.checkpoint import read_checkpoint

CONFIG = TrainConfig(
    recipe="test",
    hyper_parameters=TINY,
    data=DataConfig(crop_size=32, val_size=64, workers=0),
    loss=LossConfig(hole_l1=1.0, ssim=0.3),
    optimization=OptimizationConfig(batch_size=4, steps=6, steps_per_epoch=3, warmup_steps=2, clip_norm=1.0,
                                    precision="float32"),
)  # fmt: skip
EVERYTHING = CONFIG.change(
    {
        "hyper_parameters": {"dropout": 0.3},
        "data": {"crop_size": 40, "colour": 0.2, "perspective": 0.05, "masks": ["thin", "squares", "polygons"]},
        "loss": {
            "adversarial_kind": "non-saturating",
            "adversarial": 0.1,
            "feature_matching": 1.0,
            "r1": 0.001,
            "discriminator_channels": 4,
            "discriminator_layers": 2,
            "penalty_every": 2,
            "jitter": 4,
        },
        "optimization": {"accumulate": 2, "ema_decay": 0.9, "save_every": 2, "monitor": "ssim"},
    }
)
"""Every part of a run whose state a checkpoint has to hold."""


class Silent:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.epochs: list[EpochReport] = []

    def on_start(self, config: TrainConfig, facts: RunFacts) -> None:
        self.facts = facts

    def on_step(self, step: int, loss: float, images_per_s: float) -> None:
        assert 0 < images_per_s < 1e6
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


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Silent]:
    out, reporter = tmp_path_factory.mktemp("run"), Silent()
    assert Trainer(CONFIG, photos, out).run(reporter)
    return out, reporter


def test_a_run_leaves_what_it_should(finished: tuple[Path, Silent]) -> None:
    out, reporter = finished
    assert sorted(p.name for p in out.iterdir()) == [BEST, LAST, "log.jsonl", "samples", SPLIT]
    assert [p.name for p in sorted((out / "samples").iterdir())] == ["epoch_0001.png", "epoch_0002.png"]
    assert len(reporter.losses) == 6
    assert [e.step for e in reporter.epochs] == [3, 6]
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [entry["val_psnr_db"] for entry in log] == [e.val_psnr_db for e in reporter.epochs]
    for entry, losses in zip(log, (reporter.losses[:3], reporter.losses[3:]), strict=True):
        assert entry["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
        assert entry["loss_hole_l1"] + entry["loss_ssim"] == pytest.approx(entry["loss"], rel=1e-5)
    split = read_split(out / SPLIT)
    assert (len(split.train), len(split.val)) == (reporter.facts.num_train, reporter.facts.num_val)
    checkpoint = read_checkpoint(out / BEST)
    assert checkpoint.parameters == TINY
    assert checkpoint.training["config"] == CONFIG.to_dict()
    assert checkpoint.training["validation"]["psnr_hole_db"] == max(e.val_psnr_db for e in reporter.epochs)
    assert not checkpoint.resume


def test_a_prefilled_network_starts_at_the_prefill_and_learns(finished: tuple[Path, Silent], photos: Path) -> None:
    from wavepaint.models.inputs import INITIAL_GATE
    from wavepaint.models.wavepaint import WavePaint, WavePaintConfig
    from wavepaint.ops.pyramid import fill_levels
    from wavepaint.ops.shifted_details import shift_details

    model = WavePaint(WavePaintConfig(**TINY))
    model.start_from_initial_fill()
    image, mask = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 8:20] = 1
    with torch.no_grad():
        levels = fill_levels(image, mask, TINY["prefill_levels"])
        expected = levels[0] + INITIAL_GATE * shift_details(levels[0], levels[4], mask, 16)[:, :3]
        torch.testing.assert_close(model.eval()(image, mask), expected, atol=1e-6, rtol=0)
        trained = read_checkpoint(finished[0] / BEST).build()
        assert not torch.equal(trained(image, mask), expected)


def test_training_lowers_the_loss(photos: Path, tmp_path: Path) -> None:
    config = CONFIG.change(
        {
            "hyper_parameters": {
                "prefill_levels": 0,
                "borrow": False,
            },  # from black: there is much to learn in a few steps
            "loss": {"ssim": 0},
            "optimization": {"steps": 60, "steps_per_epoch": 60, "learning_rate": 5e-3},
        }
    )
    reporter = Silent()
    Trainer(config, photos, tmp_path / "run").run(reporter)
    assert np.mean(reporter.losses[-20:]) < 0.7 * np.mean(reporter.losses[:5])


def assert_same_state(a: Any, b: Any, name: str = "") -> None:
    """Compare nested states bit for bit; seconds are not part of it."""
    assert type(a) is type(b), name
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), name
    elif isinstance(a, Mapping):
        assert a.keys() == b.keys(), name
        for key in a.keys() - {"seconds", "waited"}:
            assert_same_state(a[key], b[key], f"{name}/{key}")
    elif isinstance(a, (list, tuple)):
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same_state(*pair, f"{name}/{index}")
    else:
        assert a == b, name


@pytest.mark.parametrize("config", [CONFIG, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("stop_after", [3, 4])
def test_a_resumed_run_is_that_which_was_never_stopped(
    config: TrainConfig, stop_after: int, photos: Path, tmp_path: Path
) -> None:
    whole, first, second = Silent(), Silent(), Silent()
    assert Trainer(config, photos, tmp_path / "whole").run(whole)
    assert not Trainer(config, photos, tmp_path / "cut").run(first, lambda: len(first.losses) == stop_after)
    assert Trainer(config, photos, tmp_path / "cut", resume=True).run(second)
    assert first.losses + second.losses == whole.losses
    expected, got = (read_checkpoint(tmp_path / name / LAST) for name in ("whole", "cut"))
    assert_same_state(got.state, expected.state)
    assert_same_state(got.resume, expected.resume)
    best, best_cut = (read_checkpoint(tmp_path / name / BEST) for name in ("whole", "cut"))
    assert_same_state(best_cut.state, best.state)
    assert [e.loss for e in first.epochs + second.epochs] == pytest.approx([e.loss for e in whole.epochs], rel=1e-12)


def test_a_killed_run_goes_on_from_its_last_save_and_repeats_what_was_lost(photos: Path, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    class Fatal(Silent):
        def on_step(self, step: int, loss: float, images_per_s: float) -> None:
            super().on_step(step, loss, images_per_s)
            if step == 5:
                raise KilledError

    whole, first, second = Silent(), Fatal(), Silent()
    Trainer(EVERYTHING, photos, tmp_path / "whole").run(whole)
    with pytest.raises(KilledError):
        Trainer(EVERYTHING, photos, tmp_path / "cut").run(first)
    with (tmp_path / "cut" / "log.jsonl").open("a") as log:
        log.write('{"epoch": 2, "step": 6}\n{"epoch": 3, "st')  # logged, but killed before it was saved
    trainer = Trainer(EVERYTHING, photos, tmp_path / "cut", resume=True)
    assert trainer.step == 4
    assert trainer.run(second)
    assert first.losses[:4] + second.losses == whole.losses
    entries = [json.loads(line) for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == [3, 6]
    states = (read_checkpoint(tmp_path / name / LAST).resume for name in ("whole", "cut"))
    assert_same_state(*states)


def test_after_adamw_the_best_weights_go_on_with_sgd(photos: Path, tmp_path: Path) -> None:
    config = CONFIG.change(
        {"optimization": {"epochs": 4, "steps_per_epoch": 2, "schedule": "epochs", "adamw_epochs": 2,
                          "sgd_learning_rate": 1e-9}}
    )  # fmt: skip
    reporter = Silent()
    trainer = Trainer(config, photos, tmp_path)
    assert trainer.run(reporter)
    assert [epoch.stage for epoch in reporter.epochs] == ["adamw", "adamw", "sgd", "sgd"]
    assert isinstance(trainer.updater.optimizer, torch.optim.SGD)
    best = max(reporter.epochs[:2], key=lambda epoch: epoch.val_psnr_db)
    # SGD at this rate leaves the weights where they are, though not the batch statistics.
    assert reporter.epochs[-1].val_psnr_db == pytest.approx(best.val_psnr_db, abs=0.5)


def test_plateau_ends_a_run_before_its_last_epoch_and_it_stays_ended(photos: Path, tmp_path: Path) -> None:
    config = CONFIG.change(
        {"optimization": {"epochs": 50, "steps_per_epoch": 1, "schedule": "plateau", "patience": 1,
                          "learning_rate": 1e-9, "sgd_learning_rate": 1e-9, "warmup_steps": 0, "monitor": "ssim"}}
    )  # fmt: skip
    reporter = Silent()
    assert Trainer(config, photos, tmp_path).run(reporter)
    assert len(reporter.losses) < 50
    assert {epoch.stage for epoch in reporter.epochs} == {"adamw", "sgd"}
    again = Silent()
    assert Trainer(config, photos, tmp_path, resume=True).run(again)
    assert again.losses == []


def test_without_steps_per_epoch_an_epoch_is_one_pass_over_the_photos(photos: Path, tmp_path: Path) -> None:
    config = CONFIG.change({"data": {"val_fraction": 0.2}, "optimization": {"epochs": 2, "steps_per_epoch": 0,
                                                                             "batch_size": 2}})  # fmt: skip
    reporter = Silent()
    Trainer(config, photos, tmp_path).run(reporter)
    assert len(reporter.losses) == 2 * (reporter.facts.num_train // 2)


def test_averaged_weights_are_what_is_validated_and_exported(photos: Path, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG.change({"optimization": {"ema_decay": 0.9}}), photos, tmp_path)
    trainer.run(Silent())
    averaged = trainer.updater.averaged
    assert averaged is not None
    last = read_checkpoint(tmp_path / LAST)
    assert_same_state(dict(last.resume["updater"]["averaged"]), dict(averaged.model.state_dict()))
    assert any(not torch.equal(tensor, averaged.model.state_dict()[name]) for name, tensor in last.state.items())


def test_the_running_mean_is_the_formulas() -> None:
    model = torch.nn.BatchNorm1d(1)
    averaged = EMA(model, decay=0.9)
    expected = 1.0
    for step in range(200):
        with torch.no_grad():
            model.weight.fill_(float(step))
        model.num_batches_tracked.fill_(step)
        averaged.update(model)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert averaged.model.weight.item() == pytest.approx(expected, rel=1e-5)
    assert averaged.model.num_batches_tracked.item() == 199


@torch.no_grad()
def assert_begins_as(model: nn.Module, begun: nn.Module, *, borrowed_share: float = 0.0) -> None:
    """The two fill alike but for the share of the first offer that one of them adds."""
    image, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 20:40, 8:40] = 1
    expected = begun.eval()(image, mask)
    if borrowed_share:
        levels = fill_levels(image * (1 - mask), mask, TINY["prefill_levels"])
        offer = shift_details(levels[0], levels[4], mask, 16)[:, :3]
        assert offer.any()
        expected = expected + borrowed_share * offer
    torch.testing.assert_close(model.eval()(image, mask), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "more", [{"num_modules": 3}, {"level": 3}, {"level": 4, "num_modules": 3}], ids=["module", "level", "both"]
)
def test_a_run_begins_from_a_smaller_networks_weights(
    more: dict[str, int], finished: tuple[Path, Silent], photos: Path, tmp_path: Path
) -> None:
    """Modules and wavelet levels that are not there yet change nothing at first."""
    begun = read_checkpoint(finished[0] / BEST)
    trainer = Trainer(CONFIG.change({"hyper_parameters": more}), photos, tmp_path / "run", init_from=begun.path)
    assert_begins_as(trainer.model, begun.build())
    trainer.run(Silent())
    assert read_checkpoint(tmp_path / "run" / BEST).training["begun_from"]["sha256"] == begun.sha256


@pytest.mark.parametrize(
    ("former", "borrowed_share"),
    [({"level": 1}, 0.0), ({"borrow": False, "num_modules": 1}, INITIAL_GATE)],
    ids=["a single level, which has no number in its name", "nothing borrowed"],
)
def test_a_run_begins_from_another_shape_of_network(
    former: dict[str, int | bool], borrowed_share: float, photos: Path, tmp_path: Path
) -> None:
    """A block's only wavelet level becomes the finest of several; what is borrowed is added."""
    config = CONFIG.change({"hyper_parameters": former, "optimization": {"steps": 3}})
    assert Trainer(config, photos, tmp_path / "former").run(Silent())
    begun = read_checkpoint(tmp_path / "former" / BEST)
    model = Trainer(CONFIG, photos, tmp_path / "run", init_from=begun.path).model
    assert_begins_as(model, begun.build(), borrowed_share=borrowed_share)


def test_a_run_that_begins_from_a_network_with_another_prefill_has_the_one_it_asks_for(
    finished: tuple[Path, Silent], photos: Path, tmp_path: Path
) -> None:
    """What is saved is the network that was trained, also for a reader of its weights alone."""
    config = CONFIG.change({"hyper_parameters": {"prefill_levels": 3}, "optimization": {"steps": 3}})
    trainer = Trainer(config, photos, tmp_path, init_from=finished[0] / BEST)
    assert trainer.run(Silent())
    saved = read_checkpoint(tmp_path / BEST)
    torch.save(saved.state, tmp_path / "state.pt")
    alone = read_checkpoint(tmp_path / "state.pt")
    assert saved.parameters["prefill_levels"] == alone.parameters["prefill_levels"] == 3
    image, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 8:56, 8:56] = 1
    with torch.no_grad():
        expected = trainer.updater.result.eval()(image, mask)
        for checkpoint in (saved, alone):
            torch.testing.assert_close(checkpoint.build()(image, mask), expected, atol=1e-6, rtol=0)


def test_a_run_does_not_begin_from_another_networks_weights(
    finished: tuple[Path, Silent], photos: Path, tmp_path: Path
) -> None:
    begun = read_checkpoint(finished[0] / BEST)
    with pytest.raises(CheckpointError, match="is a wavepaint network: expected unet"):
        config = CONFIG.change({"architecture": "unet", "hyper_parameters": {"base_channels": 4}})
        Trainer(config, photos, tmp_path / "other", init_from=begun.path)
    with pytest.raises(CheckpointError, match="has shape"):
        Trainer(CONFIG.change({"hyper_parameters": {"final_dim": 16}}), photos, tmp_path / "wide", init_from=begun.path)


@pytest.mark.parametrize(
    ("architecture", "parameters", "loss"),
    [
        ("lama", {"num_blocks": 1, "base_channels": 4, "global_channels": 24}, {"known_l1": 10.0}),
        ("unet", {"base_channels": 4}, {"ssim": 3.0, "mae": 1.0}),
        ("wavepaint", TINY, {"hole_l1": 1.0, "adversarial_kind": "wasserstein", "adversarial": 0.1,
                             "gradient_penalty": 10.0, "discriminator_channels": 4}),
    ],
    ids=["lama", "cnn", "wasserstein"],
)  # fmt: skip
def test_every_architecture_trains(
    architecture: str, parameters: dict[str, Any], loss: dict[str, Any], photos: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        CONFIG, architecture=architecture, hyper_parameters=parameters, loss=LossConfig(**loss)
    )
    trainer = Trainer(config, photos, tmp_path)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    reporter = Silent()
    assert trainer.run(reporter)
    assert all(np.isfinite(reporter.losses))
    parameters_changed = [not torch.equal(p, before[name]) for name, p in trainer.model.named_parameters()]
    # Of LaMa, what joins local and global halves of its last block may get no gradient in so few steps.
    assert np.mean(parameters_changed) > 0.9
    assert read_checkpoint(tmp_path / BEST).architecture.name == architecture


def test_a_run_is_not_overwritten_and_not_resumed_by_mistake(
    finished: tuple[Path, Silent], photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="holds a run already.*--resume"):
        Trainer(CONFIG, photos, finished[0])
    with pytest.raises(CheckpointError, match="nothing to resume"):
        Trainer(CONFIG, photos, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="other settings .learning_rate, seed."):
        changed = CONFIG.change({"seed": 3, "optimization": {"learning_rate": 1.0}})
        Trainer(changed, photos, finished[0], resume=True)
    free = CONFIG.change({"data": {"workers": 1}, "optimization": {"save_every": 5}})
    assert Trainer(free, photos, finished[0], resume=True).step == 6


def test_a_run_from_before_a_setting_existed_goes_on_with_its_default(
    finished: tuple[Path, Silent], photos: Path, tmp_path: Path
) -> None:
    content = torch.load(finished[0] / LAST)
    del content["training"]["config"]["optimization"]["discriminator_steps"]
    torch.save(content, tmp_path / LAST)
    assert Trainer(CONFIG, photos, tmp_path, resume=True).step == 6


def test_photos_that_came_or_went_are_noticed(photos: Path, tmp_path: Path) -> None:
    Trainer(CONFIG, photos, tmp_path / "run").run(Silent())
    other = tmp_path / "photos"
    other.mkdir()
    for name in ("b.png", "f.bmp"):
        (other / name).write_bytes((photos / name).read_bytes())
    with pytest.raises(TrainingError, match="not those the run began with"):
        Trainer(CONFIG, other, tmp_path / "run", resume=True)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(photos: Path, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, photos, tmp_path)

    class Poison(Silent):
        def on_epoch(self, report: EpochReport) -> None:
            with torch.no_grad():
                next(trainer.model.parameters()).fill_(float("nan"))

    with pytest.raises(TrainingError, match=r"not finite at step 4. The last good state is in .*last.pt; try"):
        trainer.run(Poison())
    last = read_checkpoint(tmp_path / LAST)
    assert last.resume["step"] == 3
    assert all(tensor.isfinite().all() for tensor in last.state.values())


@pytest.mark.parametrize(
    "schedule", [{"schedule": "epochs", "epochs": 4, "adamw_epochs": 2}, {"steps": 6}], ids=["switch", "end"]
)
def test_a_run_whose_validation_is_never_a_number_says_that_there_are_no_best_weights(
    schedule: dict[str, Any], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = ValidationMetrics(psnr_db=float("nan"), ssim=0.5, lpips=None)
    monkeypatch.setattr(Validation, "run", lambda self, model: nothing)
    trainer = Trainer(CONFIG.change({"optimization": {"steps_per_epoch": 3, **schedule}}), photos, tmp_path)
    with pytest.raises(TrainingError, match=r"no best weights .* up to step 6 --monitor psnr was not a number"):
        trainer.run(Silent())
    assert not (tmp_path / BEST).exists()


def test_a_validation_that_is_not_a_number_is_not_the_best(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SGD then goes on from the last best weights that were measured."""
    run, figures = Validation.run, iter([20.0, float("nan"), 19.0])
    monkeypatch.setattr(
        Validation, "run", lambda self, model: dataclasses.replace(run(self, model), psnr_db=next(figures))
    )
    changes = {"schedule": "epochs", "epochs": 3, "adamw_epochs": 2, "steps_per_epoch": 1}
    reporter = Silent()
    assert Trainer(CONFIG.change({"optimization": changes}), photos, tmp_path).run(reporter)
    assert [epoch.best for epoch in reporter.epochs] == [True, False, False]
    assert read_checkpoint(tmp_path / BEST).training["step"] == 1


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes: each then fails as it does on a full disk."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_a_full_disk_stops_the_run_and_keeps_the_last_good_state(photos: Path, tmp_path: Path) -> None:
    class Filling(Silent):
        def on_epoch(self, report: EpochReport) -> None:
            stack.enter_context(full_disk((tmp_path / LAST).stat().st_size - 1_000))

    with ExitStack() as stack, pytest.raises(OutputError) as caught:
        Trainer(CONFIG, photos, tmp_path).run(Filling())
    assert re.fullmatch(
        r"cannot write .*last\.pt: File too large\. .*make room and go on with --resume\.", str(caught.value)
    )
    assert read_checkpoint(tmp_path / LAST).resume["step"] == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == [BEST, LAST, "log.jsonl", "samples", SPLIT]


def test_a_full_disk_is_said_in_one_line_by_whatever_a_run_writes(
    finished: tuple[Path, Silent], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    epoch = finished[1].epochs[0]
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    samples = [(image, np.zeros((64, 64), np.uint8), image)]
    record = RunRecord(tmp_path, step=0, tensorboard=True)
    record.add_epoch(epoch, samples)
    (events,) = (tmp_path / "tensorboard").iterdir()
    (picture,) = (tmp_path / "samples").iterdir()
    kept = picture.read_bytes()
    for room in (events.stat().st_size + 10, 1_000, 100):  # events, the picture, the log
        with full_disk(room), pytest.raises(OutputError, match=r"^cannot write .*: File too large\.$"):
            record.add_epoch(epoch, samples)
        assert picture.read_bytes() == kept or room > 1_000
    with full_disk(100), pytest.raises(OutputError, match="cannot write"):
        write_split(tmp_path / SPLIT, Split(train=("a" * 200,), val=("b",), seed=0))
    record.close()
    assert capfd.readouterr().err == ""


def test_what_cannot_work_is_told_before_the_work(photos: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WAVEPAINT_LPIPS", raising=False)
    refusals: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"loss": {"lpips": 1.0}}, TrainingError, "weights of LPIPS .alexnet."),
        ({"data": {"crop_size": 30}}, ConfigError, "--crop-size is 30: this network needs a multiple of 8"),
        ({"data": {"perspective": 0.5}}, ConfigError, "--perspective is 0.5"),
        ({"optimization": {"precision": "fp16"}}, ConfigError, "--precision fp16 trains on GPUs alone"),
        ({"architecture": "wavemix-classifier"}, TrainingError, "is not an inpainting network"),
        ({"hyper_parameters": {"num_moduls": 3}}, ConfigError, "num_moduls"),
    ]
    for changes, kind, message in refusals:
        with pytest.raises(kind, match=message):
            Trainer(CONFIG.change(changes), photos, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_small_photos_are_told_of(photos: Path, tmp_path: Path) -> None:
    with pytest.warns(WavePaintWarning, match="smaller than the crop of 400"):
        Trainer(CONFIG.change({"data": {"crop_size": 400}, "optimization": {"steps": 1}}), photos, tmp_path).run(
            Silent()
        )


def test_tensorboard_gets_the_figures_and_the_samples(photos: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = Trainer(CONFIG, photos, tmp_path, tensorboard=True)
    trainer.run(Silent())
    trainer.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    points = [(event.step, event.value) for event in events.Scalars("val_psnr_db")]
    assert points == [(row["step"], pytest.approx(row["val_psnr_db"], rel=1e-6)) for row in log]
    assert [image.step for image in events.Images("samples")] == [3, 6]
