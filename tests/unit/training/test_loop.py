"""Training runs of a tiny network: what they write, how they resume, and what stops them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.networks import BARE
from tests.unit.training.conftest import Run
from tests.unit.training.runs import CONFIG, EVERYTHING, Recorder, assert_same_state, read_log
from wavepaint.data.split import read_split
from wavepaint.errors import ConfigError, TrainingError, WavePaintWarning
from wavepaint.training import estimates
from wavepaint.training.config import TrainConfig
from wavepaint.training.loop import Trainer
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.reporter import EpochReport
from wavepaint.training.run_folder import BEST, LAST, SPLIT
from wavepaint.training.validator import ValidationMetrics, Validator
from wavepaint.weights.checkpoint import read_checkpoint


def test_run_writes_checkpoints_log_split_and_samples(finished: Run) -> None:
    out, reporter = finished
    assert sorted(p.name for p in out.iterdir()) == [BEST, LAST, "log.jsonl", "samples", SPLIT]
    assert [p.name for p in sorted((out / "samples").iterdir())] == [f"epoch_000{epoch}.png" for epoch in range(3)]
    assert len(reporter.losses) == 6
    assert [e.step for e in reporter.epochs] == [3, 6]
    log = read_log(out)
    assert [entry["val_psnr_db"] for entry in log] == [e.metrics.psnr_db for e in reporter.epochs]
    for entry, losses in zip(log, (reporter.losses[:3], reporter.losses[3:]), strict=True):
        assert entry["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
        assert entry["loss_hole_l1"] + entry["loss_ssim"] == pytest.approx(entry["loss"], rel=1e-5)
        assert entry["grad_norm"] > 0
    split = read_split(out / SPLIT)
    assert (len(split.train), len(split.val)) == (reporter.facts.num_train, reporter.facts.num_val)
    checkpoint = read_checkpoint(out / BEST)
    assert checkpoint.parameters == BARE
    assert checkpoint.training["config"] == CONFIG.to_dict()
    assert checkpoint.training["validation"]["psnr_hole_db"] == max(e.metrics.psnr_db for e in reporter.epochs)
    assert not checkpoint.resume


def test_training_lowers_the_loss(photos: Path, tmp_path: Path) -> None:
    config = CONFIG.change(
        {"loss": {"ssim": 0}, "optimization": {"steps": 40, "steps_per_epoch": 40, "learning_rate": 5e-3}}
    )
    reporter = Recorder()
    Trainer(config, photos, tmp_path / "run").run(reporter)
    assert np.mean(reporter.losses[-10:]) < 0.7 * np.mean(reporter.losses[:5])


@pytest.mark.parametrize(("config", "name"), [(CONFIG, "finished"), (EVERYTHING, "finished_everything")])
@pytest.mark.parametrize("stop_after", [3, 4])
def test_resumed_run_equals_an_uninterrupted_one(
    config: TrainConfig, name: str, stop_after: int, photos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole_folder, whole = request.getfixturevalue(name)
    first, second = Recorder(), Recorder()
    assert not Trainer(config, photos, tmp_path).run(first, lambda: len(first.losses) == stop_after)
    assert Trainer(config, photos, tmp_path, resume=True).run(second)
    assert first.losses + second.losses == whole.losses
    for file in (LAST, BEST):
        expected, got = (read_checkpoint(folder / file) for folder in (whole_folder, tmp_path))
        assert_same_state(got.state, expected.state)
        assert_same_state(got.resume, expected.resume)
    assert [e.loss for e in first.epochs + second.epochs] == pytest.approx([e.loss for e in whole.epochs], rel=1e-12)


def test_killed_run_continues_from_its_last_save(finished_everything: Run, photos: Path, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    class Fatal(Recorder):
        def on_step(self, step: int, loss: float, images_per_s: float) -> None:
            super().on_step(step, loss, images_per_s)
            if step == 5:
                raise KilledError

    whole_folder, whole = finished_everything
    first, second = Fatal(), Recorder()
    with pytest.raises(KilledError):
        Trainer(EVERYTHING, photos, tmp_path).run(first)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"epoch": 2, "step": 6}\n{"epoch": 3, "st')  # logged, but killed before the save
    trainer = Trainer(EVERYTHING, photos, tmp_path, resume=True)
    assert trainer.step == 4
    assert trainer.run(second)
    assert first.losses[:4] + second.losses == whole.losses
    assert [entry["step"] for entry in read_log(tmp_path)] == [3, 6]
    assert_same_state(*(read_checkpoint(folder / LAST).resume for folder in (whole_folder, tmp_path)))


def test_early_validations_save_trained_weights_and_change_nothing(
    finished: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "FIRST_VALIDATION", 1)

    class Watcher(Recorder):
        def on_validation(self, step: int, metrics: ValidationMetrics) -> None:
            super().on_validation(step, metrics)
            files = {path.name for path in tmp_path.rglob("*.p[tn]*")}
            assert files == ({"epoch_0000.png", "epoch_0001.png", BEST} if step else {"epoch_0000.png"})
            if step:
                best = read_checkpoint(tmp_path / BEST)
                assert (best.training["step"], best.training["validation"]["psnr_hole_db"]) == (1, metrics.psnr_db)
                assert not torch.equal(next(iter(best.state.values())), first_weights)

    whole_folder, whole = finished
    reporter, trainer = Watcher(), Trainer(CONFIG, photos, tmp_path)
    first_weights = next(iter(trainer.model.state_dict().values())).clone()
    assert trainer.run(reporter)
    assert list(reporter.early) == [0, 1]
    assert list(whole.early) == [0]
    assert reporter.losses == whole.losses
    for file in (LAST, BEST):
        expected, got = (read_checkpoint(folder / file) for folder in (whole_folder, tmp_path))
        assert_same_state(got.state, expected.state)
        assert_same_state(got.resume, expected.resume)
    assert [row["step"] for row in read_log(tmp_path)] == [3, 6]


def test_run_stopped_before_its_first_step_can_start_again(photos: Path, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, photos, tmp_path)
    assert not trainer.run(Recorder(), lambda: True)
    assert trainer.step == 0
    assert not list(tmp_path.glob("*.pt"))
    assert Trainer(CONFIG, photos, tmp_path).run(Recorder())


def test_estimate_of_the_time_comes_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Watcher(Recorder):
        def on_estimate(self, seconds_left: float, images_per_s: float) -> None:
            estimates_at.append(len(self.losses))
            assert seconds_left > 0

    monkeypatch.setattr(estimates, "_MEASURED_STEPS", 2)
    estimates_at: list[int] = []
    assert Trainer(CONFIG, photos, tmp_path).run(Watcher())
    assert estimates_at == [3]


def test_sgd_continues_from_the_best_weights_of_adamw(photos: Path, tmp_path: Path) -> None:
    config = CONFIG.change(
        {"optimization": {"epochs": 4, "steps_per_epoch": 2, "schedule": "epochs", "adamw_epochs": 2,
                          "sgd_learning_rate": 1e-9}}
    )  # fmt: skip
    reporter = Recorder()
    trainer = Trainer(config, photos, tmp_path)
    assert trainer.run(reporter)
    assert [epoch.stage for epoch in reporter.epochs] == ["adamw", "adamw", "sgd", "sgd"]
    assert isinstance(trainer.train_step.optimizer, torch.optim.SGD)
    best = max(reporter.epochs[:2], key=lambda epoch: epoch.metrics.psnr_db)
    # At this rate SGD keeps the weights, but not the batch statistics.
    assert reporter.epochs[-1].metrics.psnr_db == pytest.approx(best.metrics.psnr_db, abs=0.5)


def test_plateau_ends_a_run_early_and_for_good(photos: Path, tmp_path: Path) -> None:
    config = CONFIG.change(
        {"optimization": {"epochs": 50, "steps_per_epoch": 1, "schedule": "plateau", "patience": 1,
                          "learning_rate": 1e-9, "sgd_learning_rate": 1e-9, "warmup_steps": 0, "monitor": "ssim"}}
    )  # fmt: skip
    reporter = Recorder()
    assert Trainer(config, photos, tmp_path).run(reporter)
    assert len(reporter.losses) < 50
    assert {epoch.stage for epoch in reporter.epochs} == {"adamw", "sgd"}
    again = Recorder()
    assert Trainer(config, photos, tmp_path, resume=True).run(again)
    assert again.losses == []


def test_epoch_is_one_pass_over_the_photos_by_default(photos: Path, tmp_path: Path) -> None:
    config = CONFIG.change({"data": {"val_fraction": 0.2}, "optimization": {"epochs": 2, "steps_per_epoch": 0,
                                                                             "batch_size": 2}})  # fmt: skip
    reporter = Recorder()
    Trainer(config, photos, tmp_path).run(reporter)
    assert len(reporter.losses) == 2 * (reporter.facts.num_train // 2)


def test_averaged_weights_are_stored_and_exported(finished_everything: Run) -> None:
    last, best = (read_checkpoint(finished_everything[0] / name) for name in (LAST, BEST))
    averaged = last.resume["updater"]["averaged"]
    assert last.resume["updater"]["averaged_updates"] == 6
    assert any(not torch.equal(tensor, averaged[name]) for name, tensor in last.state.items())
    if best.training["step"] == 6:
        assert_same_state(best.state, dict(averaged))


@pytest.mark.parametrize(
    ("architecture", "parameters", "loss"),
    [
        ("lama", {"num_blocks": 1, "base_channels": 4, "global_channels": 24}, {"known_l1": 10.0}),
        ("unet", {"base_channels": 4}, {"ssim": 3.0, "mae": 1.0}),
        ("wavepaint", BARE, {"hole_l1": 1.0, "adversarial_kind": "wasserstein", "adversarial": 0.1,
                             "gradient_penalty": 10.0, "discriminator_channels": 4}),
    ],
    ids=["lama", "cnn", "wasserstein"],
)  # fmt: skip
def test_every_architecture_trains(
    architecture: str, parameters: dict[str, Any], loss: dict[str, Any], photos: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        CONFIG, architecture=architecture, hyper_parameters=parameters, loss=LossConfig(**loss)
    ).change({"optimization": {"steps": 3}})
    trainer = Trainer(config, photos, tmp_path)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    reporter = Recorder()
    assert trainer.run(reporter)
    assert all(np.isfinite(reporter.losses))
    changed = [not torch.equal(p, before[name]) for name, p in trainer.model.named_parameters()]
    # In so few steps the layers that join local and global halves of LaMa's last block may get no gradient.
    assert np.mean(changed) > 0.9
    assert read_checkpoint(tmp_path / BEST).architecture.name == architecture


def test_non_finite_loss_stops_the_run_and_keeps_the_last_good_state(photos: Path, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, photos, tmp_path)

    class Poison(Recorder):
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
def test_run_without_best_weights_explains_why(
    schedule: dict[str, Any], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = ValidationMetrics(psnr_db=float("nan"), ssim=0.5, lpips=None)
    monkeypatch.setattr(Validator, "measure", lambda self, model: nothing)
    trainer = Trainer(CONFIG.change({"optimization": {"steps_per_epoch": 3, **schedule}}), photos, tmp_path)
    with pytest.raises(TrainingError, match=r"no best weights .* up to step 6 no validation gave .* --monitor psnr"):
        trainer.run(Recorder())
    assert not (tmp_path / BEST).exists()


def test_nan_validation_is_never_the_best(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SGD then continues from the last best weights that were measured."""
    measure, values = Validator.measure, iter([30.0, 20.0, float("nan"), 19.0])  # the first is before training
    monkeypatch.setattr(
        Validator, "measure", lambda self, model: dataclasses.replace(measure(self, model), psnr_db=next(values))
    )
    changes = {"schedule": "epochs", "epochs": 3, "adamw_epochs": 2, "steps_per_epoch": 1}
    reporter = Recorder()
    assert Trainer(CONFIG.change({"optimization": changes}), photos, tmp_path).run(reporter)
    assert [epoch.best for epoch in reporter.epochs] == [True, False, False]
    assert read_checkpoint(tmp_path / BEST).training["step"] == 1


def test_bad_settings_fail_before_any_work(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WAVEPAINT_LPIPS", raising=False)
    refusals: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"loss": {"lpips": 1.0}}, TrainingError, "weights of LPIPS .alexnet."),
        ({"data": {"crop_size": 35}}, ConfigError, "--crop-size is 35: this network needs a multiple of"),
        ({"data": {"perspective": 0.5}}, ConfigError, "--perspective is 0.5"),
        ({"optimization": {"precision": "fp16"}}, ConfigError, "--precision fp16 trains only on GPUs"),
        ({"architecture": "wavemix-classifier"}, TrainingError, "is not an inpainting network"),
        ({"hyper_parameters": {"num_moduls": 3}}, ConfigError, "num_moduls"),
    ]
    for changes, kind, message in refusals:
        with pytest.raises(kind, match=message):
            Trainer(CONFIG.change(changes), photos, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_photos_smaller_than_the_crop_give_a_warning(photos: Path, tmp_path: Path) -> None:
    config = CONFIG.change({"data": {"crop_size": 204}, "optimization": {"steps": 1, "batch_size": 1}})
    with pytest.warns(WavePaintWarning, match="smaller than the crop of 204"):
        Trainer(config, photos, tmp_path).run(Recorder())
