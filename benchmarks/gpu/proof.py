"""The proof itself: heats in order, a record that is whole after every cell, a report at the end, whatever happens."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.gpu.cells import NEEDS_GPU, Cell, Effort, Heat, Place, Task
from benchmarks.gpu.record import Record
from benchmarks.gpu.worker import Worker, WorkerLostError

Tell = Callable[[str], None]

PATIENCE_S = 240.0
"""Seconds without a message after which a worker is ended: an export takes a minute or two; builds send a word."""

COMPILING_FACTOR = 3
"""How many times as long a worker may be silent that compiles with PyTorch, of which nobody hears until it is done."""

GRACE_S = 20.0
"""Seconds past the time limit after which a worker is ended in whatever it does."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long the proof may take.

    Attributes:
        effort: Of each cell; its deadline is the proof's.
        patience_s: Seconds without a word after which a worker is given up.
    """

    effort: Effort
    patience_s: float = PATIENCE_S


def run_proof(
    heats: Sequence[Heat], record: Record, worker: Worker, limits: Limits, *, retry: Sequence[str] = (), tell: Tell
) -> str:
    """Run what the record does not hold yet.

    Args:
        heats: In order; see :func:`benchmarks.gpu.cells.list_heats`.
        record: Where results go, one by one.
        worker: Runs the heats.
        limits: See :class:`Limits`.
        retry: States of results that are measured again, besides "not run".
        tell: Told what goes on.

    Returns:
        Why it stopped before the end; empty if it did not.
    """
    again = {"not run", *retry}
    fresh: set[str] = set()
    for number, heat in enumerate(heats, 1):
        tasks = [task for task in heat.tasks if _is_probe_of_engine(task) or not record.is_settled(task, retry=again)]
        tasks = [task for task in tasks if not _skip(task, record)]
        if not tasks:
            continue
        tell(f"{number} of {len(heats)}: {heat.title}, {len(tasks)} to measure")
        wanted = {task.id for task in tasks}
        while tasks:
            if time.time() >= limits.effort.deadline:
                return f"stopped by the time limit before: {heat.title}"
            tasks = _run_heat(Heat(heat.title, tuple(tasks)), record, worker, limits, fresh, tell)
        if time.time() >= limits.effort.deadline and not wanted <= fresh:
            return f"stopped by the time limit in: {heat.title}"
    return ""


def _is_probe_of_engine(task: Task) -> bool:
    """Engines are looked for in every run: packages may have come meanwhile."""
    return task.id.startswith("engine/")


def _skip(task: Task, record: Record) -> bool:
    """Leave out, and say why, what an engine that was found not to work would fail in one by one."""
    if not isinstance(task, Cell) or task.engine not in (*NEEDS_GPU, "torch-compile"):
        return False
    found = record.results.get(f"engine/{task.engine}")
    if found is None or found["status"] == "done" or (found["status"] == "not run" and task.engine == "tensorrt-rtx"):
        return False  # without a GPU the latter still builds plans
    if found["status"] == "failed":
        record.put(task.id, {"status": "not run", "problem": f"not run: {task.engine} does not work here (engines)"})
        return True
    record.put(task.id, {"status": "not run", "problem": str(found.get("problem", "not run"))})
    return True


def _run_heat(heat: Heat, record: Record, worker: Worker, limits: Limits, fresh: set[str], tell: Tell) -> list[Task]:
    """Run a heat until it ends or its worker is lost; return what is still to be run in another worker."""
    effort = replace(limits.effort, known_work=frozenset(record.content["work"]))
    is_compiling = any("torch-compile" in task.id for task in heat.tasks)
    patience_s = limits.patience_s * (COMPILING_FACTOR if is_compiling else 1)
    at_work: str | None = heat.tasks[0].id
    try:
        for message in worker.run(heat, effort, patience_s, effort.deadline + GRACE_S):
            if "begins" in message:
                at_work = message["id"]
            elif "closes" in message:
                at_work = None
            elif "work" in message:
                record.put_work(**message["work"])
            elif "note" in message:
                record.add_note(message["id"], message["note"])
            else:
                record.put(message["id"], message["result"])
                fresh.add(message["id"])
                at_work = None
                if message["result"]["status"] == "failed":
                    tell(f"  failed: {message['id']}: {message['result']['problem'][:200]}")
        return []
    except WorkerLostError as error:
        measured = [task.id for task in heat.tasks if task.id in fresh]
        if time.time() >= effort.deadline:  # no fault of the cell: what it has come to stays, or it is run again
            if at_work is not None and at_work not in fresh:
                record.put(
                    at_work, {"status": "not run", "problem": "not run: the time limit came while it was measured"}
                )
            return list(heat.tasks)
        if at_work is None and measured:  # between cells or while they were closed: what was measured stays
            for task_id in measured:
                record.add_note(task_id, f"after this was measured, {error}")
            tell(f"  after {measured[-1]}: {error}; what was measured stays")
        else:
            at_work = at_work or heat.tasks[0].id
            if at_work not in fresh or record.results[at_work]["status"] != "failed":
                record.put(at_work, {"status": "failed", "problem": f"while it was measured, {error}"})
                fresh.add(at_work)
            tell(f"  failed: {at_work}: {error}; the others go on in a new process")
        # Those with a round or more keep it. The one at fault is not tried again, so that this comes to an end.
        return [task for task in heat.tasks if task.id not in fresh]


def describe_stop(reason: str, seconds: float) -> str:
    """Return a sentence for the report on why a run ended early; empty if it did not."""
    return f"after {seconds:.0f} s {reason}; the same command goes on from there" if reason else ""


def make_place(work: Path, prepared: Path | None, *, is_dry: bool) -> Place:
    """Return where cells run; a dry run stays on the CPU, also where there is a GPU."""
    return Place(work=work, prepared=prepared, device="cpu" if is_dry else "cuda")
