"""Outputs of jobs are checked before the work, and the report is complete whatever ends the work."""

import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fakes.inpainter import fake_inpainter
from wavepaint.cli.infer_runs import run_jobs
from wavepaint.cli.interrupt import INTERRUPTED
from wavepaint.cli.progress import Progress
from wavepaint.contract import Bundle
from wavepaint.errors import OutputError
from wavepaint.runtime.batch import fill_jobs
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.jobs import Job, check_jobs
from wavepaint.runtime.pairing import find_jobs

NUM_PHOTOS = 30


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    (tmp_path / "images").mkdir()
    for number in range(NUM_PHOTOS):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / "images" / f"{number:02}.png")
    Image.new("L", (8, 8), 0).save(tmp_path / "mask.png")
    return find_jobs(str(tmp_path / "images"), str(tmp_path / "mask.png"), tmp_path / "out")


def run(jobs: list[Job], report: Path) -> int:
    return run_jobs(fake_inpainter(), jobs, FillOptions(), overwrite=False, resume=False, report=report)


def raise_interrupt() -> None:
    raise KeyboardInterrupt


def send_many_signals() -> None:
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("interrupt", [raise_interrupt, send_many_signals])
def test_after_ctrl_c_the_report_has_a_row_for_every_result(
    tmp_path: Path, jobs: list[Job], monkeypatch: pytest.MonkeyPatch, interrupt: Callable[[], None]
) -> None:
    advance = Progress.advance

    def advance_and_interrupt(self: Progress, count: int = 1) -> None:
        advance(self, count)
        if self.num_done == 3:
            interrupt()

    monkeypatch.setattr(Progress, "advance", advance_and_interrupt)
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = run(jobs, tmp_path / "report.json")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, former)
    assert status == INTERRUPTED
    report = json.loads((tmp_path / "report.json").read_text())
    written = sorted(str(path) for path in (tmp_path / "out").iterdir())
    assert report["interrupted"]
    assert report["filled"] == len(written) >= 3
    assert [row["out"] for row in report["images"]] == written
    assert len(written) < len(jobs)


def test_ctrl_c_stops_a_single_photo_at_once(
    tmp_path: Path, jobs: list[Job], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inpainter = fake_inpainter()
    monkeypatch.setattr(type(inpainter), "fill_photos", lambda self, pairs, options, on_progress: raise_interrupt())
    status = run_jobs(inpainter, jobs[:1], FillOptions(), overwrite=False, resume=False, report=None)
    assert status == INTERRUPTED
    assert "0 filled of 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_summary_escapes_names_that_cannot_be_printed(
    tmp_path: Path, jobs: list[Job], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inpainter = fake_inpainter()
    monkeypatch.setattr(inpainter.bundle.manifest, "name", "a\nerror: \x1b[31m")
    job = dataclasses.replace(jobs[0], out=tmp_path / "b\n\x1b[2J.png")
    assert run_jobs(inpainter, [job], FillOptions(), overwrite=False, resume=False, report=None) == 0
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 1


def test_the_progress_of_a_single_photo_goes_through_its_phases(jobs: list[Job], full_bundle: Bundle) -> None:
    phases: list[tuple[str, float]] = []
    note = lambda phase, share: phases.append((phase, share))  # noqa: E731
    with Inpainter(full_bundle.folder, engine="ort-cpu") as inpainter:
        Image.fromarray(np.eye(8, dtype=bool)).save(jobs[0].inputs[1])
        list(fill_jobs(inpainter, jobs[:1], on_progress=note))
        assert phases == [("reading", 0), ("filling", 0), ("filling", 1.0), ("writing", 0)]
        phases.clear()
        list(fill_jobs(inpainter, jobs[1:3], on_progress=note))
        assert phases == []


def test_a_report_replaces_only_the_report_of_the_run_that_is_resumed(tmp_path: Path, jobs: list[Job]) -> None:
    def check(name: str, *, overwrite: bool = False, resume: bool = False) -> None:
        check_jobs(jobs, [], tmp_path / name, overwrite=overwrite, resume=resume)

    assert run(jobs, tmp_path / "report.json") == 0
    (tmp_path / "notes.json").write_text('{"mine": []}')
    check("new.json", resume=True)
    check("report.json", resume=True)
    check("notes.json", overwrite=True)
    for job in jobs:
        job.outputs[0].unlink()
    for name, resume in (("report.json", False), ("notes.json", False), ("notes.json", True)):
        with pytest.raises(OutputError, match=f"{name} exists already"):
            check(name, resume=resume)


def test_outputs_that_cannot_be_written_are_refused_before_the_work(tmp_path: Path, jobs: list[Job]) -> None:
    def check(changed: list[Job], report: Path | None = None) -> None:
        check_jobs(changed, [tmp_path / "model.onnx"], report, overwrite=True, resume=False)

    def check_one(out: str) -> None:
        check([Job(jobs[0].image, jobs[0].mask, Path(out))])

    (tmp_path / "model.onnx").touch()
    check(jobs, tmp_path / "report.json")
    with pytest.raises(OutputError, match=r"cannot write /proc/report.json"):
        check(jobs, Path("/proc/report.json"))
    with pytest.raises(OutputError, match=r"cannot write /proc/out/00.png"):
        check_one("/proc/out/00.png")
    with pytest.raises(OutputError, match="it is a folder"):
        check_one(str(tmp_path))
    with pytest.raises(OutputError, match=r"a.xyz: .xyz is not a known image suffix"):
        check_one(str(tmp_path / "a.xyz"))
    for report in (jobs[3].inputs[0], tmp_path / "mask.png", tmp_path / "model.onnx"):
        with pytest.raises(OutputError, match=f"{report.name} is one of the inputs"):
            check(jobs, report)
    with pytest.raises(OutputError, match="both would be written"):
        check(jobs, jobs[0].outputs[0])
    assert not (tmp_path / "out").exists()


def test_a_report_names_streams_by_a_dash(tmp_path: Path, jobs: list[Job]) -> None:
    out = (tmp_path / "out.png").open("wb")
    with out:
        assert run([Job(jobs[1].inputs[0].read_bytes(), jobs[1].mask, out)], tmp_path / "report.json") == 0
    (row,) = json.loads((tmp_path / "report.json").read_text())["images"]
    assert (row["image"], row["mask"], row["out"]) == ("-", str(tmp_path / "mask.png"), "-")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), np.full((8, 8, 3), 1))
