"""The GPU proof: a child process that may be lost, a record that goes on, the roofs of a card, and the verdicts."""

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bench.results import make_report, make_result
from wavepaint.bench import report, worker
from wavepaint.bench.card import Card, Layer, add_card_shares, count_layers, find_layer_seconds, measure_card
from wavepaint.bench.cells import PYTORCH, Cell, Result, TorchConfig, list_cells
from wavepaint.bench.entrants import Subject
from wavepaint.bench.race import CHANGES_KNOWN_PIXELS, NOT_FINITE
from wavepaint.bench.record import Record
from wavepaint.bench.runners import fuse_in_half
from wavepaint.bench.verdicts import BATCHES, ENGINES, MODELS, SIZES, judge, list_proof_cells
from wavepaint.bench.worker import NOT_RUN, Limits, Send, Worker, WorkerLostError, race_in_child
from wavepaint.errors import ConfigError

OPTIONS = {"threads": 1, "rounds": 1, "seconds": 0.0, "photos": None, "plans": None, "in_pytorch": False}
PATIENT = Limits(step_s=60)

# The child process


def misbehave(how: str, send: Send) -> None:
    """Run in a child: answer, die, hang, or go on for ever."""
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
    kept: list[Result] = []
    with closing(Worker(hide_gpus=True)) as child:
        assert race_in_child(cells, OPTIONS, child, PATIENT, keep=kept.extend)
    timed, failed = kept
    assert timed.p50_ms is not None
    assert "pip install" in failed.problem


class ScriptedWorker(Worker):
    """Races nothing: loses the child at some models, and times the others."""

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


@pytest.fixture
def cells(subject: Subject) -> list[Cell]:
    """Three models in two engines at two sizes."""
    models = [Subject(name, subject.bundle, True) for name in "abc"]
    return list_cells(models, [32, 64], [1], engines=["ort-cpu", "openvino"], precisions=["float32"])


def test_only_the_cell_that_loses_its_process_fails(cells: list[Cell]) -> None:
    kept: list[Result] = []
    child = ScriptedWorker({"b": "its process died (SIGSEGV)"})
    assert race_in_child(cells, OPTIONS, child, PATIENT, keep=kept.extend)
    assert child.groups[:2] == [["a ort-cpu", "b ort-cpu", "c ort-cpu"], ["a ort-cpu", "c ort-cpu"]]
    assert len(kept) == len(cells)
    assert {(r.model, r.problem) for r in kept} == {
        ("a", ""), ("b", "an illegal access; its process died (SIGSEGV)"), ("c", ""),
    }  # fmt: skip


def test_an_engine_that_never_opened_is_not_tried_again(cells: list[Cell]) -> None:
    kept: list[Result] = []
    child = ScriptedWorker({}, fails="openvino")
    assert race_in_child(cells, OPTIONS, child, PATIENT, keep=kept.extend)
    assert child.groups == [[f"{name} {engine}" for name in "abc"] for engine in ("ort-cpu", "openvino", "ort-cpu")]
    last = [r for r in kept if r.height == 64 and r.engine == "openvino"]
    assert [r.problem for r in last] == [f"{NOT_RUN}not installed"] * 3


def test_nothing_begins_after_the_deadline(cells: list[Cell]) -> None:
    kept: list[Result] = []
    child = ScriptedWorker({})
    assert not race_in_child(cells, OPTIONS, child, Limits(step_s=60, deadline=time.time() - 1), keep=kept.extend)
    assert (kept, child.groups) == ([], [])


# The record


def test_a_record_goes_on_from_its_file(cells: list[Cell], tmp_path: Path) -> None:
    run = report.describe_run()
    path = tmp_path / "record.json"
    first = Record(path, run, resume=True)
    good, bad, left_out = (Result(**cell.describe(), label="") for cell in cells[:3])
    problems = ("", "it crashed", f"{NOT_RUN}not installed")
    first.add([Result(**{**r.as_dict(), "problem": p}) for r, p in zip((good, bad, left_out), problems, strict=True)])
    first.stop("stopped after 1 s")
    first.save()
    again = Record(path, run, resume=True)
    assert again.list_pending(cells, retry_failed=False) == cells[2:]
    assert again.list_pending(cells, retry_failed=True) == cells[1:]
    again.add([Result(**cells[3].describe(), label="")])
    again.save()
    content = json.loads(path.read_text())
    assert [row["run"] for row in content["results"]] == [1, 1, 1, 2]
    assert [one["stopped"] for one in content["runs"]] == ["stopped after 1 s", ""]
    with pytest.raises(ConfigError, match="mixes dry and real runs"):
        Record(path, run, resume=True, is_dry=True)
    path.write_text("[]")
    with pytest.raises(ConfigError, match="is not the --json file of a race.*--resume"):
        Record(path, run, resume=True)


# The card


def test_a_card_is_measured() -> None:
    card = measure_card(seconds=0.01)
    assert card.gmac_per_s > 1
    assert card.copy_gb_per_s > 0.1


def test_each_layer_is_bound_by_arithmetic_or_by_memory() -> None:
    card = Card(name="", gmac_per_s=100.0, copy_gb_per_s=10.0)
    arithmetic, memory = Layer(10e9, 1e6, 0), Layer(1e9, 1e9, 8e9)
    assert find_layer_seconds([arithmetic, memory], card, 8) == pytest.approx(0.1 + 0.2)
    assert find_layer_seconds([memory], card, 1) == pytest.approx(0.9)  # one image has the weights to itself


def test_layers_are_counted_as_the_export_counts_them(default: Subject) -> None:
    layers = count_layers("default", 256, lambda: fuse_in_half(default))
    macs = default.bundle.manifest.macs_per_pixel * 256**2
    assert sum(layer.macs for layer in layers) == pytest.approx(macs, rel=0.02)
    num_weights = sum(parameter.numel() for parameter in fuse_in_half(default).parameters())
    assert sum(layer.weight_bytes for layer in layers) == pytest.approx(2 * num_weights, rel=0.05)
    card = Card(name="", gmac_per_s=1e5, copy_gb_per_s=1e6)  # so much memory that arithmetic binds every layer
    cell = Cell(default, TorchConfig(PYTORCH, "float16"), 256, 256, 4)
    result = Result(**cell.describe(), label="", compute_ms=4.0)
    shared = add_card_shares(cell, result, card)
    assert shared.roofline == pytest.approx(1000 * macs / 1e9 / 1e5)
    assert shared.layer_roofline == pytest.approx(shared.roofline, rel=0.03)
    exact = Cell(default, TorchConfig(PYTORCH, "float32"), 256, 256, 4)
    assert add_card_shares(exact, result, card) == result


# The verdicts


def test_the_proof_measures_what_its_criteria_need_first(default: Subject) -> None:
    subjects = [Subject(name, default.bundle, False) for name in MODELS]
    cells = list_proof_cells(subjects, is_dry=False)
    assert {cell.height for cell in cells} == set(SIZES)
    assert {cell.batch for cell in cells} == set(BATCHES)
    assert {cell.engine for cell in cells} == set(ENGINES)
    assert {cell.precision for cell in cells if cell.engine != PYTORCH} == {"float16"}
    assert {cell.precision for cell in cells if cell.engine == PYTORCH} == {"float32", "tf32", "float16"}
    assert all(cell.height == 256 for cell in cells[: len(cells) // 3])
    assert len(cells) == 3 * 3 * 3 * 8
    dry = list_proof_cells(subjects, is_dry=True)
    assert "ort-cpu" in {cell.engine for cell in dry}
    assert len(dry) == 3 * 9


def measure(model: str, rate: float, engine: str = "tensorrt-rtx", **changes: Any) -> Result:
    """Return a result at 256x256 and batch 8 by its images/s without copies; with copies it is a fifth slower."""
    values = {"engine": engine, "precision": "float16", "batch": 8, "compute_ms": 8e3 / rate, "psnr_db": 60.0}
    return make_result(model, 10e3 / rate, **{**values, "images_per_s": rate * 0.8, **changes})


OURS = measure("wavepaint", 5000, layer_roofline=0.6, roofline=0.5)
THEIRS = measure("lama", 4000)
EAGER = measure("lama", 400, PYTORCH, precision="float32")
GOOD = [OURS, THEIRS, EAGER]


def verdicts(*results: Result) -> list[str]:
    return [criterion.verdict for criterion in judge(results, is_dry=False)]


def test_each_criterion_is_judged_by_itself() -> None:
    assert verdicts(*GOOD) == ["met"] * 5
    assert verdicts(OURS, THEIRS, measure("lama", 600, PYTORCH, precision="float32"))[:2] == ["not met", "met"]
    assert verdicts(OURS, measure("lama", 4500), EAGER)[:3] == ["met", "not met", "met"]
    assert verdicts(measure("wavepaint", 5000, layer_roofline=0.4), THEIRS, EAGER)[2] == "not met"
    assert verdicts(*GOOD, measure("wavepaint", 10, psnr_db=49.0))[3] == "not met"
    assert verdicts(*GOOD, measure("wavepaint", 10, psnr_db=None, problem=NOT_FINITE))[3] == "not met"
    assert verdicts(*GOOD, measure("default", 10, "tensorrt", problem=CHANGES_KNOWN_PIXELS))[4] == "not met"


def test_throughput_counts_without_copies_and_the_ratio_with_copies_is_shown() -> None:
    slow = measure("wavepaint", 3000, images_per_s=9000.0)
    first = judge([slow, THEIRS, EAGER], is_dry=False)[0]
    assert first.verdict == "not met"
    assert "compute only: 7.50 times, 3000 images/s (tensorrt-rtx, batch 8) to 400 (pytorch, batch 8)" in first.found
    assert "with copies: 28.12 times" in first.found
    without = measure("wavepaint", 5000, "ort-cuda", compute_ms=None)
    first = judge([without, EAGER], is_dry=False)[0]
    assert first.verdict == "not measured"
    assert "compute only: not timed; with copies: 12.50 times" in first.found


def test_the_ratio_to_pytorchs_defaults_is_shown() -> None:
    first = judge([*GOOD, measure("lama", 1000, PYTORCH, precision="tf32")], is_dry=False)[0]
    assert first.verdict == "met"
    assert "To PyTorch's defaults (TF32): compute only: 5.00 times" in first.found


def test_the_best_batch_of_each_model_counts() -> None:
    assert verdicts(*GOOD, measure("lama", 700, PYTORCH, precision="float32", batch=4, compute_ms=4e3 / 700))[0] == (
        "not met"
    )
    assert verdicts(*GOOD, measure("lama", 4900, batch=16, compute_ms=16e3 / 4900))[1] == "not met"


def test_results_of_different_runs_are_marked() -> None:
    second = judge([OURS, measure("lama", 4000, run=2), EAGER], is_dry=False)[1]
    assert "from different runs" in second.found


def test_a_missing_measurement_is_not_judged() -> None:
    assert verdicts() == ["not measured"] * 5
    assert verdicts(OURS, THEIRS)[0] == "not measured"
    assert verdicts(measure("wavepaint", 5000), THEIRS, EAGER)[2] == "not measured"
    failed = measure("lama", 400, PYTORCH, precision="float32", compute_ms=None, images_per_s=None, problem="x")
    assert verdicts(OURS, THEIRS, failed)[0] == "not measured"
    assert [criterion.verdict for criterion in judge(GOOD, is_dry=True)] == ["not measured"] * 5


def test_the_page_shows_criteria_card_and_runs() -> None:
    runs = [{"date": "today", "command": "wp bench", "machine": {}, "stopped": "stopped after 9 s"}]
    content = {**make_report(), "runs": runs, "card": {"name": "A GPU", "gmac_per_s": 1e5, "copy_gb_per_s": 2e3}}
    page = report.make_markdown(content, GOOD, "lama", criteria=judge(GOOD, is_dry=False))
    assert page.count("| **met** |") == 5
    assert "Roofs of A GPU: 100000 GMAC/s, 2000 GB/s copied." in page
    assert "- Run 1: today, `wp bench` stopped after 9 s" in page
