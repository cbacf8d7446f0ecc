"""Cells race in a child process that may be lost."""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import pytest

from wavepaint.bench import worker
from wavepaint.bench.cells import Cell, Result, list_cells
from wavepaint.bench.entrants import Subject
from wavepaint.bench.worker import NOT_RUN, Limits, Send, Worker, WorkerLostError, race_in_child

OPTIONS = {"threads": 1, "rounds": 1, "seconds": 0.0, "photos": None, "plans": None, "in_pytorch": False}
PATIENT = Limits(step_s=60)


def misbehave(how: str, send: Send) -> None:
    """Run in a child process: answer, die, hang, or go on forever."""
    send(("step", how))
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "lose CUDA":
        os._exit(86)
    while how == "hang":
        signal.pause()
    while how == "go on":
        send(("step", how))
        time.sleep(0.05)


def test_a_lost_child_is_replaced() -> None:
    with closing(Worker()) as child:
        assert list(child.run(PATIENT, misbehave, "answer")) == [("step", "answer")]
        for how, limits, reason in (
            ("die", PATIENT, "its process died (SIGKILL)"),
            ("lose CUDA", PATIENT, "CUDA refused every further call"),
            ("hang", Limits(step_s=0.2), "made no progress for 0 s and was killed"),
        ):
            with pytest.raises(WorkerLostError) as caught:
                list(child.run(limits, misbehave, how))
            assert reason in str(caught.value)
        assert list(child.run(PATIENT, misbehave, "answer")) == [("step", "answer")]


def test_a_child_is_killed_soon_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "GRACE_S", 0.1)
    with closing(Worker()) as child:
        list(child.run(PATIENT, misbehave, "answer"))
        started = time.monotonic()
        with pytest.raises(WorkerLostError):
            list(child.run(Limits(step_s=60, deadline=time.time() + 0.5), misbehave, "go on"))
        assert time.monotonic() - started < 20


def test_cells_race_in_a_child(subject: Subject) -> None:
    cells = list_cells([subject], [32], [1], engines=["ort-cpu", "ort-cuda"], precisions=["float32"])
    results: list[Result] = []
    with closing(Worker(hide_gpus=True)) as child:
        assert race_in_child(cells, OPTIONS, child, PATIENT, keep=results.extend)
    timed, failed = results
    assert timed.p50_ms is not None
    assert "pip install" in failed.problem


class ScriptedWorker(Worker):
    """Runs no cell: loses the process at some models, and returns made-up times for the others."""

    def __init__(self, lost_at: Mapping[str, str], *, fails: str = "") -> None:
        super().__init__()
        self.lost_at, self.fails = dict(lost_at), fails
        self.groups: list[list[str]] = []

    def run(self, limits: Limits, function: Any, *arguments: Any) -> Iterator[tuple[str, Any]]:
        cells: Sequence[Cell] = arguments[0]
        self.groups.append([f"{cell.subject.name} {cell.engine}" for cell in cells])
        results = []
        for index, cell in enumerate(cells):
            yield "step", index
            reason = self.lost_at.get(cell.subject.name)
            if reason is not None:
                yield "problem", (index, "an illegal access")
                raise WorkerLostError(reason)
            label = "" if cell.engine == self.fails else "an engine"
            problem = "not installed" if cell.engine == self.fails else ""
            p50_ms = None if problem else 1.0
            results.append(Result(**cell.describe(), label=label, problem=problem, p50_ms=p50_ms))
        yield "results", results


def test_only_the_cell_that_loses_its_process_fails(cells: list[Cell]) -> None:
    results: list[Result] = []
    child = ScriptedWorker({"b": "its process died (SIGSEGV)"})
    assert race_in_child(cells, OPTIONS, child, PATIENT, keep=results.extend)
    assert child.groups[:2] == [["a ort-cpu", "b ort-cpu", "c ort-cpu"], ["a ort-cpu", "c ort-cpu"]]
    assert len(results) == len(cells)
    assert {(r.model, r.problem) for r in results} == {
        ("a", ""), ("b", "an illegal access; its process died (SIGSEGV)"), ("c", ""),
    }  # fmt: skip


def test_an_engine_that_never_opened_is_not_tried_again(cells: list[Cell]) -> None:
    results: list[Result] = []
    child = ScriptedWorker({}, fails="openvino")
    assert race_in_child(cells, OPTIONS, child, PATIENT, keep=results.extend)
    assert child.groups == [[f"{name} {engine}" for name in "abc"] for engine in ("ort-cpu", "openvino", "ort-cpu")]
    last = [r for r in results if r.height == 64 and r.engine == "openvino"]
    # The reason is long for some engines, and the first cells have it.
    assert [r.problem for r in last] == [f"{NOT_RUN}openvino {last[0].precision} failed to open before"] * 3


def test_no_cell_starts_after_the_deadline(cells: list[Cell]) -> None:
    results: list[Result] = []
    child = ScriptedWorker({})
    assert not race_in_child(cells, OPTIONS, child, Limits(step_s=60, deadline=time.time() - 1), keep=results.extend)
    assert (results, child.groups) == ([], [])
