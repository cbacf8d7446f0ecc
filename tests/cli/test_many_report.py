"""The report of wp infer over many photographs: looked after before the work, and complete whatever ends it."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fakes.inpainter import fake_inpainter
from wavepaint.cli import infer_many
from wavepaint.cli.infer_many import INTERRUPTED, check_files, fill_many
from wavepaint.errors import OutputError
from wavepaint.runtime.batch import JobResult
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.jobs import Job, find_jobs


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    (tmp_path / "images").mkdir()
    for number in range(40):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / "images" / f"{number:02}.png")
    Image.new("L", (8, 8), 0).save(tmp_path / "mask.png")
    return find_jobs(str(tmp_path / "images"), str(tmp_path / "mask.png"), tmp_path / "out")


def interrupt_by_exception() -> None:
    raise KeyboardInterrupt


def interrupt_by_many_signals() -> None:
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("interrupt", [interrupt_by_exception, interrupt_by_many_signals])
def test_ctrl_c_while_progress_is_told_leaves_a_row_for_every_result(
    tmp_path: Path, jobs: list[Job], monkeypatch: pytest.MonkeyPatch, interrupt: object
) -> None:
    tell = infer_many._Progress.tell

    def tell_and_interrupt(self: infer_many._Progress, result: JobResult) -> None:
        tell(self, result)
        if self.done == 3:
            interrupt()  # type: ignore[operator]

    monkeypatch.setattr(infer_many._Progress, "tell", tell_and_interrupt)
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = fill_many(
            fake_inpainter(), jobs, FillOptions(), overwrite=False, resume=False, report=tmp_path / "report.json"
        )
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


def test_a_report_replaces_nothing_but_that_of_the_run_that_is_resumed(tmp_path: Path, jobs: list[Job]) -> None:
    def check(name: str, *, overwrite: bool = False, resume: bool = False) -> None:
        check_files(jobs, [], [tmp_path / "out"], tmp_path / name, overwrite=overwrite, resume=resume)

    fill_many(fake_inpainter(), jobs, FillOptions(), overwrite=False, resume=False, report=tmp_path / "report.json")
    (tmp_path / "notes.json").write_text('{"mine": []}')
    check("new.json", resume=True)
    check("report.json", resume=True)
    check("notes.json", overwrite=True)
    for job in jobs:
        job.out.unlink()
    for name, resume in (("report.json", False), ("notes.json", False), ("notes.json", True)):
        with pytest.raises(OutputError, match=f"{name} exists already"):
            check(name, resume=resume)


def test_what_could_not_be_written_after_the_work_is_refused_before_it(tmp_path: Path, jobs: list[Job]) -> None:
    def check(folder: Path, report: Path | None) -> None:
        check_files(jobs, [tmp_path / "model.onnx"], [folder], report, overwrite=True, resume=False)

    (tmp_path / "model.onnx").touch()
    with pytest.raises(OutputError, match="cannot write /proc/report.json"):
        check(tmp_path / "out", Path("/proc/report.json"))
    with pytest.raises(OutputError, match="cannot write /proc/out"):
        check(Path("/proc/out"), None)
    for report in (jobs[3].image, tmp_path / "mask.png", tmp_path / "model.onnx"):
        with pytest.raises(OutputError, match=f"{report.name} is one of the inputs"):
            check(tmp_path / "out", report)
    with pytest.raises(OutputError, match="both would be written"):
        check(tmp_path / "out", jobs[0].out)
