"""The folder of a run: refusals, resumed settings, and a full disk."""

import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.unit.training.conftest import Run
from tests.unit.training.runs import CONFIG, Recorder, limit_file_size, read_log
from wavepaint.data.sources import open_source
from wavepaint.errors import CheckpointError, OutputError, TrainingError, WavePaintWarning
from wavepaint.training.data_module import DataModule
from wavepaint.training.estimates import DiskUse
from wavepaint.training.loop import Trainer
from wavepaint.training.reporter import EpochReport
from wavepaint.training.run_folder import BEST, LAST, SPLIT, RunFolder
from wavepaint.weights.checkpoint import read_checkpoint


def test_run_is_never_overwritten_or_resumed_by_mistake(finished: Run, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="contains a run already.*--resume"):
        Trainer(CONFIG, photos, finished[0])
    with pytest.raises(CheckpointError, match="nothing to resume"):
        Trainer(CONFIG, photos, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="other settings .learning_rate, seed."):
        changed = CONFIG.change({"seed": 3, "optimization": {"learning_rate": 1.0}})
        Trainer(changed, photos, finished[0], resume=True)
    free = CONFIG.change({"data": {"workers": 1}, "optimization": {"save_every": 5}})
    assert Trainer(free, photos, finished[0], resume=True).step == 6


def test_run_with_fewer_settings_resumes_with_their_defaults(finished: Run, photos: Path, tmp_path: Path) -> None:
    content = torch.load(finished[0] / LAST)
    del content["training"]["config"]["optimization"]["discriminator_steps"]
    torch.save(content, tmp_path / LAST)
    assert Trainer(CONFIG, photos, tmp_path, resume=True).step == 6


def test_epoch_of_an_earlier_version_continues_under_todays_names(photos: Path, tmp_path: Path) -> None:
    """Earlier checkpoints call the gradient norm "gradient"."""
    first, second = Recorder(), Recorder()
    assert not Trainer(CONFIG, photos, tmp_path).run(first, lambda: len(first.losses) == 4)
    content = torch.load(tmp_path / LAST)
    losses = content["resume"]["sums"]["losses"]
    losses["gradient"] = losses.pop("grad_norm")
    torch.save(content, tmp_path / LAST)
    assert Trainer(CONFIG, photos, tmp_path, resume=True).run(second)
    before, after = read_log(tmp_path)
    assert before.keys() == after.keys()


def test_changed_photos_are_noticed(finished: Run, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    other = tmp_path / "photos"
    other.mkdir()
    for name in ("b.png", "f.bmp"):
        (other / name).write_bytes((photos / name).read_bytes())
    with pytest.raises(TrainingError, match="not those the run began with"):
        Trainer(CONFIG, other, tmp_path / "run", resume=True)


def test_photos_held_out_for_a_test_are_recorded_like_the_others(photos: Path) -> None:
    held_out = CONFIG.change({"data": {"test_fraction": 0.3}})
    data = DataModule(held_out, photos, None)
    assert data.record["test"] == open_source(photos).describe(data.split.test)
    assert data.record["test"]["num_photos"] > 0
    assert "test" not in DataModule(CONFIG, photos, None).record


def test_folder_among_the_photos_is_refused(tmp_path: Path) -> None:
    """Sample pictures there would become photos of the next run."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (tmp_path / "link").symlink_to(photos)
    for out in (photos, photos / "run", tmp_path / "link" / "run"):
        with pytest.raises(OutputError, match=r"is among the photos in .*: choose a folder outside \(-o\)"):
            RunFolder(out, [photos], resume=False)
    with pytest.raises(OutputError, match="is among the photos"):
        RunFolder(tmp_path, [tmp_path / "other", tmp_path], resume=False)
    (photos / "run").mkdir()
    (photos / "run" / LAST).touch()
    RunFolder(photos / "run", [photos], resume=True)  # the split of a resumed run finds new photos
    for out in (tmp_path, tmp_path / "run", photos / ".hidden"):  # hidden folders are never searched for photos
        RunFolder(out, [photos], resume=False)


def test_sample_pictures_never_land_in_the_folder_of_the_photos(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is among the photos"):
        RunFolder(tmp_path / "run", [tmp_path / "run" / "samples"], resume=False)


def test_space_is_compared_with_the_disk_before_the_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = DiskUse(checkpoints=5_000_000, samples=2_000_000)
    folder = RunFolder(tmp_path / "new" / "run", [], resume=False)
    free = {"bytes": 7_000_000}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free["bytes"]))
    assert folder.check_space(use) == 7_000_000
    free["bytes"] = 6_000_000
    with pytest.warns(WavePaintWarning, match="need up to 7 MB, and 6 MB are free"):
        folder.check_space(use)
    free["bytes"] = 4_000_000
    with pytest.raises(OutputError, match=r"new/run need 5 MB, and 4 MB are free: free space, or .* \(-o\)"):
        folder.check_space(use)
    free["bytes"] = 1
    with pytest.raises(OutputError, match="are free"):
        Trainer(CONFIG, photos, tmp_path / "other")
    assert not list(tmp_path.iterdir())


def test_full_disk_stops_the_run_and_keeps_the_last_good_state(photos: Path, tmp_path: Path) -> None:
    class Filling(Recorder):
        def on_epoch(self, report: EpochReport) -> None:
            stack.enter_context(limit_file_size((tmp_path / LAST).stat().st_size - 1_000))

    with ExitStack() as stack, pytest.raises(OutputError) as caught:
        Trainer(CONFIG, photos, tmp_path).run(Filling())
    assert re.fullmatch(
        r"cannot write .*last\.pt: File too large\. .*free space and pass --resume\.", str(caught.value)
    )
    assert read_checkpoint(tmp_path / LAST).resume["step"] == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == [BEST, LAST, "log.jsonl", "samples", SPLIT]
