"""What the race should show, and whether it did."""

from collections.abc import Sequence
from dataclasses import dataclass

from wavepaint.bench.peer_race import COLD, FOLDER, TASKS, WHOLE, Cell
from wavepaint.bench.peer_report import find_ratio
from wavepaint.bench.peers import REFERENCE

_LAMA, _DEFAULT, _IOPAINT = "WavePaint, the same LaMa", "WavePaint, its default model", "IOPaint"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A ratio to reach in every one of some tasks.

    Attributes:
        ours: Our contender.
        rival: The other program.
        times: The least ratio of the rival's figure to ours.
        tasks: The tasks.
        is_memory: Whether the figure is peak memory instead of seconds.
    """

    ours: str
    rival: str
    times: float
    tasks: tuple[str, ...]
    is_memory: bool = False


_PHOTOS = tuple(task for task in TASKS if task not in (WHOLE, FOLDER, COLD))

TARGETS = (
    Target(ours=f"{_LAMA}, openvino bfloat16", rival=REFERENCE, times=3, tasks=(WHOLE,)),
    Target(ours=f"{_LAMA}, openvino float32", rival=REFERENCE, times=1.6, tasks=(WHOLE,)),
    Target(ours=_LAMA, rival=REFERENCE, times=10, tasks=("12mp-small",)),
    Target(ours=_LAMA, rival=REFERENCE, times=4, tasks=("12mp-small",), is_memory=True),
    Target(ours=_LAMA, rival=_IOPAINT, times=2, tasks=(WHOLE, *_PHOTOS)),
    Target(ours=_LAMA, rival=_IOPAINT, times=5, tasks=(COLD,)),
    Target(ours=_DEFAULT, rival=REFERENCE, times=20, tasks=(WHOLE,)),
    Target(ours=_DEFAULT, rival=_IOPAINT, times=20, tasks=(WHOLE,)),
)


def judge_targets(cells: Sequence[Cell]) -> list[list[str]]:
    """Return a table: each target, the ratio in every task that has one, and whether the smallest reaches it.

    Ratios of processor time stand beside, because they suffer less from other work on the machine.
    """
    rows = [["target", "against", "wanted", "measured", "in CPU seconds", "verdict"]]
    for target in TARGETS:
        found = {task: ratios for task in target.tasks if (ratios := _find(target, task, cells)) is not None}
        name = f"{target.ours}: {'memory' if target.is_memory else 'time'}, {_name_tasks(target.tasks)}"
        verdict = "not measured"
        if found:
            least = min(ratio for ratio, _ in found.values())
            verdict = "met" if least >= target.times else f"missed by {1 - least / target.times:.0%}"
        measured, in_cpu = (
            ", ".join(
                f"{ratios[index]:.2f}" + (f" ({task})" if len(target.tasks) > 1 else "")
                for task, ratios in found.items()
                if ratios[index]
            )
            for index in (0, 1)
        )
        rows.append([name, target.rival, f"{target.times:g} times", measured, in_cpu, verdict])
    return rows


def _find(target: Target, task: str, cells: Sequence[Cell]) -> tuple[float, float] | None:
    """Return the ratio, and that of processor time (0 for memory); None if either program has no figure."""
    own = [cell for cell in cells if cell.task == task]
    ours = next((cell for cell in own if cell.contender == target.ours and cell.seconds), None)
    rival = next((cell for cell in own if cell.contender == target.rival and cell.peak_mb), None)
    if ours is None or rival is None:
        return None
    if target.is_memory:
        return rival.peak_mb / ours.peak_mb, 0.0
    ratio = find_ratio(ours, own, target.rival)
    return None if ratio is None else (ratio, (rival.median_cpu_s or 0.0) / (ours.median_cpu_s or 1.0))


def _name_tasks(tasks: Sequence[str]) -> str:
    return tasks[0] if len(tasks) == 1 else "every photo"
