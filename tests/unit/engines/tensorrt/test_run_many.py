"""Many batches and many threads in one session: the order of results, overlap, and failures."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from tests.fakes.machine import Machine
from tests.unit.engines.tensorrt.batches import Batch, make_batch
from tests.unit.engines.tensorrt.conftest import Open
from wavepaint.errors import EngineError
from wavepaint.runtime.engines.ort import OrtSession


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_each_of_eight_threads_gets_its_own_results(
    open_plan: Open, machine: Machine, expected: OrtSession, streams: int
) -> None:
    session = open_plan(streams=streams)
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(6):
            batch = make_batch(1, 8 * (1 + (number + turn) % 3), 16, seed=100 * number + turn)
            if not np.array_equal(session.run(*batch), expected.run(*batch)):
                wrong.append(f"{number}, {turn}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert machine.gpu.count("copy_to_host") == 8 * 6


def test_run_many_keeps_the_order_and_overlaps_batches(open_plan: Open, machine: Machine, expected: OrtSession) -> None:
    session = open_plan()
    batches = [make_batch(1, 16, 16 + 8 * (k % 2), seed=k) for k in range(6)]
    results = list(session.run_many(iter(batches)))
    for batch, result in zip(batches, results, strict=True):
        np.testing.assert_array_equal(result, expected.run(*batch))
    # The last call of each batch is its copy to the host. The next batch is submitted before the result is awaited.
    steps = [entry for entry in machine.gpu.log if entry[0] in ("copy_to_host", "synchronize")]
    assert [name for name, _ in steps][: 2 * 6] == ["copy_to_host", *["copy_to_host", "synchronize"] * 5, "synchronize"]
    assert len({stream for name, stream in steps if name == "copy_to_host"}) == 2


def test_run_many_reads_batches_only_as_needed(open_plan: Open) -> None:
    session = open_plan()
    read = []

    def batches() -> Iterator[Batch]:
        for k in range(10):
            read.append(k)
            yield make_batch(1, 16, 16)

    results = session.run_many(batches())
    next(results)
    assert read == [0, 1]
    session.run(*make_batch(1, 16, 16))  # a stream context is free between two results
    other = session.run_many(batches())
    next(other)
    next(results)
    results.close()
    other.close()
    assert len(list(session.run_many([make_batch(1, 16, 16)] * 3))) == 3


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_run_many_raises_after_the_results_before_the_failure(open_plan: Open, streams: int) -> None:
    session = open_plan(streams=streams)
    good = make_batch(1, 16, 16)
    results = session.run_many([good, good, make_batch(1, 16, 200), good])
    assert [next(results).shape, next(results).shape] == [good[0].shape] * 2
    with pytest.raises(EngineError, match="outside every profile"):
        next(results)

    def broken() -> Iterator[Batch]:
        yield good
        raise ValueError("the source broke")

    results = session.run_many(broken())
    next(results)
    with pytest.raises(ValueError, match="the source broke"):
        next(results)
    assert len(list(session.run_many([good] * 4))) == 4


def test_threads_in_run_many_never_deadlock(open_plan: Open) -> None:
    session = open_plan()
    counts: list[int] = []

    def work() -> None:
        counts.append(len(list(session.run_many([make_batch(1, 16, 16)] * 20))))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counts == [20] * 4


def test_other_sessions_run_many_batches_one_by_one(expected: OrtSession) -> None:
    batches = [make_batch(1, 16, 16, seed=k) for k in range(3)]
    for batch, result in zip(batches, expected.run_many(batches), strict=True):
        np.testing.assert_array_equal(result, expected.run(*batch))
