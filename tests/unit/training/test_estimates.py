"""Estimates of the time and the space that a run needs."""

from pathlib import Path

import pytest

from tests.unit.training.conftest import Run
from tests.unit.training.runs import CONFIG, EVERYTHING
from wavepaint.training.config import TrainConfig
from wavepaint.training.estimates import Pace, count_validations, estimate_disk, is_early
from wavepaint.training.loop import Trainer
from wavepaint.training.run_folder import BEST, LAST


@pytest.mark.parametrize(
    ("steps_per_epoch", "expected"),
    [(3, []), (49, []), (50, [25]), (200, [25, 50, 100]), (1_000, [25, 50, 100, 200, 400])],
)
def test_a_long_first_epoch_is_validated_early(steps_per_epoch: int, expected: list[int]) -> None:
    assert [step for step in range(3_000) if is_early(step, steps_per_epoch)] == expected


@pytest.mark.parametrize(("step", "expected"), [(0, 3), (1, 3), (4, 2), (7, 2), (8, 1), (9, 0)])
def test_the_last_validation_ends_the_run(step: int, expected: int) -> None:
    assert count_validations(step, 9, 4) == expected


def test_time_left_is_steps_and_validations_at_the_measured_pace() -> None:
    pace = Pace()
    pace.validation_s = 7.0
    arguments = {"total_steps": 1_000, "steps_per_epoch": 300}
    assert pace.estimate(1, 50.0, **arguments) is None  # a slow first step
    assert pace.estimate(20, 88.0, **arguments) is None
    assert pace.estimate(21, 90.0, **arguments) == pytest.approx(979 * 2.0 + 4 * 7.0)
    assert pace.estimate(41, 130.0, **arguments) is None


def test_pace_of_a_resumed_run_ignores_the_steps_before() -> None:
    pace = Pace()
    assert pace.estimate(501, 9_000.0, total_steps=1_000, steps_per_epoch=1_000) is None
    assert pace.estimate(521, 9_010.0, total_steps=1_000, steps_per_epoch=1_000) == pytest.approx(479 * 0.5)


@pytest.mark.parametrize(("config", "name"), [(CONFIG, "finished"), (EVERYTHING, "finished_everything")])
def test_estimated_space_is_about_that_of_the_files(
    config: TrainConfig, name: str, photos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(name)
    last, best = ((run[0] / file).stat().st_size for file in (LAST, BEST))
    pictures = sum(path.stat().st_size for path in (run[0] / "samples").iterdir())
    trainer = Trainer(config, photos, tmp_path)

    def estimate(resume: bool) -> tuple[int, int]:
        picture, optimization = trainer.validator.draw_example(), config.optimization
        use = estimate_disk(trainer.train_step, picture, optimization, num_pictures=3, resume=resume)
        return use.checkpoints, use.samples

    overhead = 60_000  # of the files' format; it is lost in the size of a real network
    assert estimate(False)[0] <= 2 * last + best <= estimate(False)[0] + 3 * overhead
    assert estimate(True)[0] <= last <= estimate(True)[0] + overhead
    assert estimate(False)[1] == pytest.approx(pictures, rel=0.3)
