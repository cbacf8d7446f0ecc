"""Facts about the machine and the process: processor, usable cores, system, peak memory."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux shows the limit of the container's memory in bytes, in both versions of control groups."""


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_memory_bytes() -> int | None:
    """Return the memory of the machine, or of its container if that is limited; None where it is not known."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    for path in _CONTAINER_LIMITS:
        try:
            found = min(found, int(path.read_text()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return found


def reset_peak_memory() -> float:
    """Reset the peak memory of the process. Return its current memory in MB on Linux, and 0 on other systems."""
    try:
        _CLEAR_REFS.write_text("5")
        return _read_status("VmRSS:")
    except OSError:
        return 0.0


def peak_memory_mb() -> float:
    """Return the peak resident memory in MB: since :func:`reset_peak_memory` on Linux, since the start elsewhere."""
    try:
        return _read_status("VmHWM:")
    except OSError:
        pass
    if sys.platform == "win32":
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def _read_status(key: str) -> float:
    return next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(key)) / 1024


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe_machine() -> dict[str, Any]:
    """Return processor, usable cores, system and Python version."""
    return {
        "processor": _processor_name(),
        "cores": count_cores(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
