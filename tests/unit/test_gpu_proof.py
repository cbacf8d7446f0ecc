"""The proof on a GPU: its order, its record, its verdicts, and that it survives what fails.

What runs in its worker is in test_gpu_lanes.py; the command itself is run in tests/cli/test_gpu_proof.py.
"""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import lanes
from benchmarks.gpu.accuracy import compare, make_inputs, run_reference
from benchmarks.gpu.cells import CRITERION_BATCHES, Cell, Effort, Heat, Place, Probe, choose, list_heats
from benchmarks.gpu.criteria import judge, roof_shares
from benchmarks.gpu.networks import ByteIo, build, make_plain_half, measure_work
from benchmarks.gpu.proof import GRACE_S, PATIENCE_S, Limits, run_proof
from benchmarks.gpu.record import NAME, Record
from benchmarks.gpu.report import make_markdown
from benchmarks.gpu.worker import Worker, WorkerLostError
from wavepaint.errors import ConfigError
from wavepaint.export.to_onnx import InpaintingGraph

A, B, C = (Cell("pytorch", "float32", model, 32, 1, "plain") for model in ("a", "b", "c"))
EFFORT = Effort(rounds=1, seconds=0.0, min_calls=1, deadline=float("inf"))


def done(rate: float, *, psnr: float | None = 60.0, alone: float | None = None) -> dict[str, Any]:
    """Return a result of so many images a second, with copies and (by default as many) without."""
    accuracy = {"psnr_hole_db": psnr, "snr_hole_db": psnr, "max_error": 0.01, "num_not_finite": 0}
    accuracy |= {"known_identical": True, "passed": psnr is not None and psnr >= 50}
    times = {"p50_ms": 1.0, "p90_ms": 1.0, "p99_ms": 1.0, "num_calls": 1, "num_rounds": 1, "variation": 0.0}
    computing = {**times, "images_per_s": alone or rate}
    base = {"status": "done", "label": "x", "device_mb": 1.0, "accuracy": accuracy}
    return {**base, "with_copies": {**times, "images_per_s": rate}, "compute": computing}


# Order


def test_what_is_worth_most_comes_first() -> None:
    heats = list_heats(dry=False)
    ids = [task.id for heat in heats for task in heat.tasks]
    assert len(ids) == len({*ids})
    order = ["engine/pytorch", "numerics/big-lama", "engine/tensorrt-rtx", "ceiling/matrix"]
    order += [f"tensorrt-rtx/float16/wavepaint/256/b{CRITERION_BATCHES[0]}/graph/float32"]
    order += [
        "torch-compile/float16/wavepaint/256/b8/graph/float32",
        "tensorrt-rtx/float16/wavepaint/256/b8/graph/uint8",
        "tensorrt-rtx/float16/default/256/b64/plain/uint8",
        "torch-compile/float16/wavepaint/256/b64/graph/float32",
        "pytorch/float16/wavepaint-large/512/b1/graph/float32",
    ]
    places = [ids.index(one) for one in order]
    assert places == sorted(places)


def test_rivals_of_a_criterion_race_in_one_heat() -> None:
    heats = [heat for heat in list_heats(dry=False) if any(isinstance(task, Cell) for task in heat.tasks)]
    first = {task.id for task in heats[0].tasks}
    for engine in ("tensorrt-rtx", "tensorrt", "pytorch"):
        for model in ("wavepaint", "lama"):
            assert f"{engine}/float16/{model}/256/b8/graph/float32" in first
    assert "pytorch/float32/lama/256/b8/plain/float32" in first
    for batch in CRITERION_BATCHES:  # the rival in exact float32 and with PyTorch's defaults, wherever it races
        eager = {f"pytorch/{kind}/lama/256/b{batch}/plain/float32" for kind in ("float32", "defaults")}
        assert any(eager <= {task.id for task in heat.tasks} for heat in heats)


def test_the_whole_grid_is_there() -> None:
    cells = [task for heat in list_heats(dry=False) for task in heat.tasks if isinstance(task, Cell)]
    assert {cell.side for cell in cells} == {96, 256, 512, 1024}
    assert {cell.batch for cell in cells} == {1, 2, 4, 8, 16, 32, 64}
    assert {cell.launch for cell in cells if cell.engine == "tensorrt-rtx"} == {"graph", "plain"}
    assert {cell.io_dtype for cell in cells if cell.engine == "tensorrt"} == {"float32", "uint8"}
    assert {cell.model for cell in cells} == {"wavepaint", "wavepaint-large", "default", "lama", "big-lama"}


def test_patterns_choose_cells() -> None:
    chosen = choose(list_heats(dry=False), ["engine/*", "tensorrt-rtx/*/256/b8/graph/uint8"])
    ids = {task.id for heat in chosen for task in heat.tasks}
    assert "engine/tensorrt" in ids
    assert "tensorrt-rtx/float16/lama/256/b8/graph/uint8" in ids
    assert all(one.startswith("engine/") or one.endswith("/256/b8/graph/uint8") for one in ids)
    assert choose(list_heats(dry=False), ["nothing/*"]) == []


# Record


def test_a_record_is_whole_after_every_result_and_goes_on(tmp_path: Path) -> None:
    record = Record(tmp_path, is_dry=False)
    record.begin_run({"date": "today"})
    record.put(A.id, done(1.0))
    assert json.loads((tmp_path / NAME).read_text())["results"][A.id]["run"] == 1
    again = Record(tmp_path, is_dry=False)
    again.put(B.id, {"status": "failed", "problem": "x"})
    again.put(C.id, {"status": "not run", "problem": "x"})
    assert [again.is_settled(task) for task in (A, B, C)] == [True, True, False]
    assert not again.is_settled(B, retry=("failed",))


def test_figures_of_a_dry_run_never_mix_with_others(tmp_path: Path) -> None:
    Record(tmp_path, is_dry=True).save()
    with pytest.raises(ConfigError, match="is of a dry run. Choose another folder"):
        Record(tmp_path, is_dry=False)
    (tmp_path / NAME).write_text("{}")
    with pytest.raises(ConfigError, match="is no record of a proof"):
        Record(tmp_path, is_dry=True)


# What fails


class ScriptedWorker:
    """Plays messages for each task; "dies" is a death, "hangs" of it is the same to the proof."""

    def __init__(self, script: dict[str, list[Any]]) -> None:
        self.script, self.delay = script, 0.0
        self.heats: list[list[str]] = []

    def run(self, heat: Heat, effort: Effort, *limits: float) -> Iterator[dict[str, Any]]:
        self.heats.append([task.id for task in heat.tasks])
        for task in heat.tasks:
            yield {"id": task.id, "begins": True}
            for message in self.script.get(task.id, [done(1.0)]):
                if message == "dies":
                    time.sleep(self.delay)
                    raise WorkerLostError("its process died (SIGSEGV)")
                yield message if "id" in message or "closes" in message else {"id": task.id, "result": message}


def prove(tmp_path: Path, worker: Any, heats: list[Heat], **how: Any) -> tuple[Record, str]:
    record = Record(tmp_path, is_dry=False)
    record.begin_run({"date": "today"})
    limits = Limits(effort=how.pop("effort", EFFORT))
    return record, run_proof(heats, record, worker, limits, tell=lambda text: None, **how)


def test_a_cell_that_takes_its_process_along_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    worker = ScriptedWorker({B.id: ["dies"]})
    record, reason = prove(tmp_path, worker, [Heat("one", (A, B, C)), Heat("two", (Probe("ceiling", "copy"),))])
    assert reason == ""
    assert [record.results[task.id]["status"] for task in (A, B, C)] == ["done", "failed", "done"]
    assert "its process died (SIGSEGV)" in record.results[B.id]["problem"]
    assert worker.heats == [[A.id, B.id, C.id], [C.id], ["ceiling/copy"]]


def test_a_death_in_a_later_round_is_laid_to_the_cell_at_work(tmp_path: Path) -> None:
    script = {A.id: [done(1.0), {"id": A.id, "begins": True}, "dies"]}
    record, _ = prove(tmp_path, ScriptedWorker(script), [Heat("one", (A, B))])
    assert [record.results[task.id]["status"] for task in (A, B)] == ["failed", "done"]


@pytest.mark.parametrize("last_words", [[], [{"closes": True}]])
def test_a_death_while_cells_are_closed_takes_no_result_along(tmp_path: Path, last_words: list[Any]) -> None:
    worker = ScriptedWorker({A.id: [done(1.0)], B.id: [done(1.0), *last_words, "dies"]})
    record, reason = prove(tmp_path, worker, [Heat("one", (A, B)), Heat("two", (C,))])
    assert reason == ""
    assert [record.results[task.id]["status"] for task in (A, B, C)] == ["done"] * 3
    for task in (A, B):
        assert record.results[task.id]["note"] == "after this was measured, its process died (SIGSEGV)"
    assert "note" not in record.results[C.id]
    assert worker.heats == [[A.id, B.id], [C.id]]
    assert "- after this was measured, its process died (SIGSEGV)" in make_markdown(make_content(record.results))


def test_what_fails_in_closing_is_noted_beside_the_result(tmp_path: Path) -> None:
    notes = [{"id": A.id, "note": "closing it failed: x"}, {"id": A.id, "note": "y"}]
    record, _ = prove(tmp_path, ScriptedWorker({A.id: [done(1.0), {"closes": True}, *notes]}), [Heat("one", (A,))])
    assert (record.results[A.id]["status"], record.results[A.id]["note"]) == ("done", "closing it failed: x; y")


def test_a_worker_that_never_says_a_word_ends_all_the_same(tmp_path: Path) -> None:
    class DeadWorker(ScriptedWorker):
        def run(self, heat: Heat, effort: Effort, *limits: float) -> Iterator[dict[str, Any]]:
            raise WorkerLostError("its process died (exit status 1)")
            yield {}

    record, _ = prove(tmp_path, DeadWorker({}), [Heat("one", (A, B))])
    assert [record.results[task.id]["status"] for task in (A, B)] == ["failed"] * 2


def test_resuming_measures_what_is_missing_and_looks_for_engines_again(tmp_path: Path) -> None:
    heats = [Heat("engine", (Probe("engine", "tensorrt"),)), Heat("one", (A, B))]
    prove(tmp_path, ScriptedWorker({B.id: [{"status": "failed", "problem": "x"}]}), heats)
    again = ScriptedWorker({})
    prove(tmp_path, again, [*heats, Heat("two", (C,))])
    assert again.heats == [["engine/tensorrt"], [C.id]]
    retried = ScriptedWorker({})
    record, _ = prove(tmp_path, retried, heats, retry=("failed",))
    assert retried.heats == [["engine/tensorrt"], [B.id]]
    assert [record.results[task.id]["run"] for task in (A, B)] == [1, 3]


def test_cells_of_an_engine_that_does_not_work_cost_nothing(tmp_path: Path) -> None:
    cell = Cell("tensorrt", "float16", "wavepaint", 256, 8)
    worker = ScriptedWorker({"engine/tensorrt": [{"status": "failed", "problem": "not installed"}]})
    heats = [Heat("engine", (Probe("engine", "tensorrt"),)), Heat("one", (cell, A))]
    record, _ = prove(tmp_path, worker, heats)
    assert worker.heats == [["engine/tensorrt"], [A.id]]
    assert record.results[cell.id]["status"] == "not run"
    assert "tensorrt does not work here" in record.results[cell.id]["problem"]


def test_the_time_limit_ends_between_heats(tmp_path: Path) -> None:
    worker = ScriptedWorker({})
    effort = Effort(rounds=1, seconds=0.0, min_calls=1, deadline=time.time() - 1)
    record, reason = prove(tmp_path, worker, [Heat("one", (A,))], effort=effort)
    assert reason == "stopped by the time limit before: one"
    assert (worker.heats, record.results) == ([], {})


@pytest.mark.parametrize(("num_done", "expected"), [(1, "stopped by the time limit in: one"), (2, "")])
def test_the_time_limit_within_the_last_heat_is_told_if_a_cell_has_no_result(
    num_done: int, expected: str, tmp_path: Path
) -> None:
    class LateWorker(ScriptedWorker):
        """Leaves out, as workers do, what would begin after the time limit."""

        def run(self, heat: Heat, effort: Effort, *limits: float) -> Iterator[dict[str, Any]]:
            yield from super().run(Heat(heat.title, heat.tasks[:num_done]), effort)
            time.sleep(max(effort.deadline - time.time(), 0.0))

    effort = Effort(rounds=1, seconds=0.0, min_calls=1, deadline=time.time() + 0.3)
    record, reason = prove(tmp_path, LateWorker({}), [Heat("one", (A, B))], effort=effort)
    assert (reason, len(record.results)) == (expected, num_done)


def test_a_cell_that_the_time_limit_ends_is_measured_next_time(tmp_path: Path) -> None:
    effort = Effort(rounds=1, seconds=0.0, min_calls=1, deadline=time.time() + 0.3)
    worker = ScriptedWorker({A.id: [done(1.0)], B.id: ["dies"]})
    worker.delay = 0.4
    record, reason = prove(tmp_path, worker, [Heat("one", (A, B, C))], effort=effort)
    assert reason == "stopped by the time limit before: one"
    assert [record.results[task.id]["status"] for task in (A, B)] == ["done", "not run"]
    assert [record.is_settled(task) for task in (A, B, C)] == [True, False, False]


def test_who_compiles_may_be_silent_for_longer_and_nobody_past_the_time_limit(tmp_path: Path) -> None:
    class StrictWorker(ScriptedWorker):
        def run(self, heat: Heat, effort: Effort, *limits: float) -> Iterator[dict[str, Any]]:
            assert limits == (PATIENCE_S * (3 if heat.title == "slow" else 1), effort.deadline + GRACE_S)
            yield from super().run(heat, effort)

    effort = Effort(rounds=1, seconds=0.0, min_calls=1, deadline=time.time() + 60)
    compiled = Cell("torch-compile", "float16", "a", 32, 1)
    heats = [Heat("one", (A,)), Heat("slow", (compiled,)), Heat("slow", (Probe("engine", "torch-compile"),))]
    record, _ = prove(tmp_path, StrictWorker({}), heats, effort=effort)
    assert len(record.results) == 3


def serve_badly(connection: Connection, place: Place) -> None:
    """Stand in for a worker's process: die, hang or answer, as the heat's title says."""
    import os
    import signal

    while True:
        heat, _ = connection.recv()
        if heat.title == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if heat.title == "hang":
            signal.pause()
        while heat.title == "chatter":
            connection.send({"alive": True})
            time.sleep(0.05)
        connection.send({"id": "x", "begins": True})
        connection.send({"ends": True})
        if heat.title == "die afterwards":
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_or_hangs_is_followed_by_another(tmp_path: Path) -> None:
    with closing(Worker(Place(work=tmp_path, prepared=None, device="cpu"), serve_badly)) as worker:
        run = partial(worker.run, effort=EFFORT, patience_s=60, last_moment=float("inf"))
        assert list(run(Heat("answer", ()))) == [{"id": "x", "begins": True}]
        with pytest.raises(WorkerLostError, match="its process died .SIGKILL."):
            list(run(Heat("die", ())))
        with pytest.raises(WorkerLostError, match="it said nothing for 0 s"):
            list(run(Heat("hang", ()), patience_s=0.2))
        assert len(list(run(Heat("answer", ())))) == 1


def test_a_death_between_heats_harms_none(tmp_path: Path) -> None:
    with closing(Worker(Place(work=tmp_path, prepared=None, device="cpu"), serve_badly)) as worker:
        run = partial(worker.run, effort=EFFORT, patience_s=60, last_moment=float("inf"))
        assert len(list(run(Heat("die afterwards", ())))) == 1
        worker._process.join()
        assert len(list(run(Heat("answer", ())))) == 1
        worker._connection.close()  # as broken as that of a process that dies while it is written to
        with pytest.raises(WorkerLostError):
            list(run(Heat("answer", ())))
        assert len(list(run(Heat("answer", ())))) == 1


@pytest.mark.parametrize("title", ["hang", "chatter"])
def test_nothing_lasts_past_the_last_moment(tmp_path: Path, title: str) -> None:
    with closing(Worker(Place(work=tmp_path, prepared=None, device="cpu"), serve_badly)) as worker:
        list(worker.run(Heat("answer", ()), EFFORT, 60, float("inf")))
        started = time.monotonic()
        with pytest.raises(WorkerLostError):
            list(worker.run(Heat(title, ()), EFFORT, 60, time.time() + 0.5))
        assert time.monotonic() - started < 10


# Verdicts


def make_content(results: dict[str, dict[str, Any]], *, is_dry: bool = False) -> dict[str, Any]:
    results = {key: {"run": 1, **value} for key, value in results.items()}
    work = {"wavepaint/256": {"gmac": 20.0, "layers": [[10e9, 1e6, 0.0], [10e9, 60e6, 320e6]]}}
    machine = {"processor": "p", "cores": 1, "python": "3"}
    run = {"date": "today", "command": "c", "wavepaint": "0", "machine": machine}
    return {"dry": is_dry, "runs": [run], "work": work, "results": results}


OURS, THEIRS = "tensorrt-rtx/float16/wavepaint/256/b8/graph/float32", "tensorrt-rtx/float16/lama/256/b8/graph/float32"
EAGER = "pytorch/float32/lama/256/b8/plain/float32"
GOOD = {
    OURS: done(5000.0),
    THEIRS: done(4000.0),
    EAGER: done(400.0),
    "ceiling/matrix": {"status": "done", "gmac_per_s": 150_000.0},
    "ceiling/convolution": {"status": "done", "gmac_per_s": 120_000.0},
    "ceiling/copy": {"status": "done", "gb_per_s": 4000.0},
}


def verdicts(results: dict[str, dict[str, Any]], **how: Any) -> list[str]:
    return [criterion.verdict for criterion in judge(make_content(results, **how))]


def test_each_criterion_is_judged_by_itself() -> None:
    assert verdicts(GOOD) == ["met"] * 4
    assert verdicts(GOOD | {EAGER: done(600.0)}) == ["not met", "met", "met", "met"]
    assert verdicts(GOOD | {THEIRS: done(4500.0)}) == ["met", "not met", "met", "met"]
    assert verdicts(GOOD | {"ceiling/matrix": {"status": "done", "gmac_per_s": 300_000.0}})[2] == "not met"
    worse = OURS.replace("b8", "b1")
    assert verdicts(GOOD | {worse: done(10.0, psnr=49.0)}) == ["met", "met", "met", "not met"]
    assert verdicts(GOOD | {worse: done(10.0, psnr=None)})[3] == "not met"


def test_throughput_is_judged_computing_alone_and_told_with_copies() -> None:
    assert verdicts(GOOD | {OURS: done(5000.0, alone=3000.0)})[0] == "not met"
    assert verdicts(GOOD | {OURS: done(3000.0, alone=5000.0)})[0] == "met"
    assert verdicts(GOOD | {THEIRS: done(4000.0, alone=4900.0)})[1] == "not met"
    found = judge(make_content(GOOD | {OURS: done(3000.0, alone=5000.0)}))[0].found
    assert found.startswith("12.50 times computing alone: 5000 images/s")
    assert "; 7.50 times with copies: 3000 images/s" in found
    copies_alone = {OURS: {**done(5000.0), "compute": None}}
    untimed = judge(make_content(GOOD | copies_alone))[0]
    assert (untimed.verdict, "computing alone was not timed" in untimed.found) == ("not measured", True)
    assert "12.50 times with copies" in untimed.found


def test_the_ratio_to_pytorch_as_it_is_set_by_default_stands_beside() -> None:
    found = judge(make_content(GOOD | {EAGER.replace("float32", "defaults", 1): done(1000.0)}))[0]
    assert found.verdict == "met"
    assert "To PyTorch's defaults, TF32 in convolutions: 5.00 times computing alone" in found.found


def test_a_rival_that_rounds_more_than_float32_counts_and_is_told() -> None:
    doubtful = done(400.0, psnr=84.0)
    doubtful["accuracy"]["passed"] = False
    found = judge(make_content(GOOD | {EAGER: doubtful}))[0]
    assert (found.verdict, "whose output had only 84.0 dB" in found.found) == ("met", True)
    assert verdicts(GOOD | {EAGER: done(400.0, psnr=None)})[0] == "not measured"


def test_what_is_no_tensorrt_is_not_taken_for_it() -> None:
    swap = {task_id.replace("tensorrt-rtx", "torch-compile"): result for task_id, result in GOOD.items()}
    found = judge(make_content(swap))
    assert [one.verdict for one in found] == ["met"] * 4
    assert all(one.found.startswith("not TensorRT: the fastest that ran is torch-compile; ") for one in found)
    assert not any("not TensorRT" in one.found for one in judge(make_content(GOOD)))


def test_the_best_batch_of_each_counts() -> None:
    assert verdicts(GOOD | {EAGER.replace("b8", "b64"): done(700.0)})[0] == "not met"
    assert verdicts(GOOD | {THEIRS.replace("b8", "b64"): done(4900.0)})[1] == "not met"


def test_what_is_missing_failed_or_wrong_is_not_measured() -> None:
    assert verdicts({}) == ["not measured"] * 4
    assert verdicts({key: value for key, value in GOOD.items() if key != EAGER})[0] == "not measured"
    assert verdicts(GOOD | {THEIRS: done(4000.0, psnr=20.0)})[1] == "not measured"
    assert verdicts(GOOD | {EAGER: {"status": "failed", "problem": "x"}})[0] == "not measured"
    assert verdicts({key: value for key, value in GOOD.items() if "ceiling" not in key})[2] == "not measured"


def test_a_dry_run_proves_nothing() -> None:
    assert verdicts(GOOD, is_dry=True) == ["not measured"] * 4


def test_roofs_of_the_whole_and_of_its_layers() -> None:
    plain, layered = roof_shares(make_content(GOOD), "wavepaint", 256, 8, 1000.0)
    assert plain == pytest.approx(1000 * 20 / 150_000)
    assert layered == pytest.approx(1000 * (10 / 150_000 + 10 / 150_000))  # arithmetic binds both
    _, alone = roof_shares(make_content(GOOD), "wavepaint", 256, 1, 1000.0)
    assert alone == pytest.approx(1000 * (10 / 150_000 + 0.38 / 4000))  # weights that serve one image alone bind one
    found = judge(make_content(GOOD))[2]
    assert found.found.startswith("67% of the roof of its layers")
    assert "which is judged; 67% of the plain roof" in found.found


def test_the_report_states_every_criterion_and_what_failed() -> None:
    page = make_markdown(make_content(GOOD | {EAGER: {"status": "failed", "problem": "out of memory"}}))
    assert page.count("| **met** |") == 3
    assert page.count("| **not measured** |") == 1
    assert f"failed: out of memory (`{EAGER}`)" in page
    assert "The card has not been seen" not in page
    dry = make_markdown(make_content({}, is_dry=True))
    assert "The card has not been seen" in dry
    assert "models wavepaint, lama, default, wavepaint-large, big-lama; sides 256, 512, 1024, 96;" in dry


# Checks


@pytest.mark.parametrize("io_dtype", ["float32", "uint8"])
def test_an_output_is_judged_inside_and_outside_the_hole(io_dtype: Any) -> None:
    image, mask = make_inputs(4, 32, io_dtype)
    expected = run_reference(build("tiny-lama"), "cpu", image, mask)
    floats = image if io_dtype == "float32" else None
    lane = lanes.TorchLane((ByteIo if io_dtype == "uint8" else InpaintingGraph)(build("tiny-lama")).eval(), "cpu", "x")
    output = lane.run(image, mask)
    assert compare(output, expected, image, mask).passed
    inside = np.broadcast_to(mask > 0, image.shape)
    wrong = output.copy()
    wrong[~inside] = 0
    assert not compare(wrong, expected, image, mask).known_identical
    off = output.copy()
    off[inside] = 0
    found = compare(off, expected, image, mask)
    assert (found.known_identical, found.passed) == (True, False)
    assert (found.psnr_hole_db or 0) < 30
    if floats is not None:
        broken = output.copy()
        broken[2, 0, 15, 15] = np.nan  # of an image that is not compared in numbers
        assert compare(broken, expected, image, mask).num_not_finite == 1
        assert not compare(broken, expected, image, mask).passed


def test_work_is_counted_as_the_export_counts_it() -> None:
    work = measure_work("default", 256)
    from wavepaint.contract import default_bundle_folder, read_bundle

    manifest = read_bundle(default_bundle_folder(), check_hashes=False).manifest
    assert work.gmac == pytest.approx(manifest.macs_per_pixel * 256**2 / 1e9, rel=0.02)
    assert sum(macs for macs, *_ in work.layers) / 1e9 == pytest.approx(work.gmac)
    assert all(num_bytes > 0 and weight_bytes > 0 for _, num_bytes, weight_bytes in work.layers)
    assert sum(weight_bytes for *_, weight_bytes in work.layers) == pytest.approx(
        sum(one.numel() * 2 for one in make_plain_half("default").parameters()), rel=0.05
    )
    assert work.largest == 128 * 128**2
