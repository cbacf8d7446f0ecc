"""The log of a run, its sample pictures and TensorBoard events."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.conftest import Run
from tests.unit.training.runs import CONFIG, Recorder, limit_file_size, read_log
from wavepaint.data.split import Split, write_split
from wavepaint.errors import OutputError
from wavepaint.training.loop import Trainer
from wavepaint.training.run_folder import SPLIT
from wavepaint.training.run_log import RunLog, draw_samples


def test_full_disk_gives_one_line_for_every_file(
    finished: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    epoch = finished[1].epochs[0]
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    samples = [(image, np.zeros((64, 64), np.uint8), image)]
    log = RunLog(tmp_path, step=0, tensorboard=True)
    log.add_epoch(epoch, draw_samples(samples))
    (events,) = (tmp_path / "tensorboard").iterdir()
    (picture,) = (tmp_path / "samples").iterdir()
    before = picture.read_bytes()
    for size in (events.stat().st_size + 10, 1_000, 100):  # events, the picture, the log
        with limit_file_size(size), pytest.raises(OutputError, match=r"^cannot write .*: File too large\.$"):
            log.add_epoch(epoch, draw_samples(samples))
        assert picture.read_bytes() == before or size > 1_000
    with limit_file_size(100), pytest.raises(OutputError, match="cannot write"):
        write_split(tmp_path / SPLIT, Split(train=("a" * 200,), val=("b",), seed=0))
    log.close()
    assert capfd.readouterr().err == ""


def test_tensorboard_gets_the_metrics_and_the_samples(photos: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = Trainer(CONFIG, photos, tmp_path, tensorboard=True)
    trainer.run(Recorder())
    trainer.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    points = [(event.step, event.value) for event in events.Scalars("val_psnr_db")]
    assert points == [(row["step"], pytest.approx(row["val_psnr_db"], rel=1e-6)) for row in read_log(tmp_path)]
    assert [image.step for image in events.Images("samples")] == [3, 6]
