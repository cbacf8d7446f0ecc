"""Run programs in child processes with limits, and measure their time, processor time and memory.

Memory is the resident memory of a process and its children. The kernel's own peak of the process counts as well, so a
short peak between two samples is not missed.
"""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SAMPLE_S = 0.05
_EXIT_S = 10.0
_MAX_WORDS = 300
"""Longest problem in characters."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a program is ended: seconds for one job, and MB of memory."""

    seconds: float
    memory_mb: float


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one job took; ``problem`` says why there are no times, and ``label`` what runs the model."""

    seconds: float | None = None
    cpu_seconds: float | None = None
    problem: str = ""
    label: str = ""


class _Watch:
    """A thread that measures a process and its children, and ends them at a limit."""

    def __init__(self, process: "subprocess.Popen[Any]", limits: Limits) -> None:
        self.peak_mb = 0.0
        self.problem = ""
        self.deadline: float | None = None
        self._process, self._limits = process, limits
        with contextlib.suppress(OSError):  # where memory runs out, this process ends and no other
            (Path("/proc") / str(process.pid) / "oom_score_adj").write_text("1000")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def allow(self, seconds: float | None = None) -> None:
        """Start the time of a job; it may take this many seconds, by default those of the limits."""
        self.deadline = time.monotonic() + (seconds or self._limits.seconds)

    def _run(self) -> None:
        while not self._is_over.wait(_SAMPLE_S):
            now_mb = self.measure()
            if now_mb > self._limits.memory_mb:
                self._end(f"more than {self._limits.memory_mb / 1e3:g} GB of memory")
            elif self.deadline is not None and time.monotonic() > self.deadline:
                self._end(f"more than {self._limits.seconds:g} s")

    def measure(self) -> float:
        """Return the memory now in MB, and keep the peak."""
        now_mb, peak_mb = _measure_tree(self._process.pid)
        self.peak_mb = max(self.peak_mb, now_mb, peak_mb)
        return now_mb

    def _end(self, problem: str) -> None:
        self.problem = self.problem or problem
        kill_group(self._process)

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()


def _measure_tree(pid: int) -> tuple[float, float]:
    """Return the memory of a process and its children now, and the peak of the process alone, in MB."""
    now_mb, peak_mb, pending = 0.0, 0.0, [pid]
    while pending:
        folder = Path("/proc") / str(pending.pop())
        try:
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            now_mb += _read_mb(status, "VmRSS")
            peak_mb = peak_mb or _read_mb(status, "VmHWM")
            for task in (folder / "task").iterdir():
                pending += [int(child) for child in (task / "children").read_text().split()]
        except OSError:  # it has ended
            continue
    return now_mb, peak_mb


def _read_mb(status: Mapping[str, str], key: str) -> float:
    return int(status[key].split()[0]) * 1024 / 1e6 if key in status else 0.0  # a zombie has no memory


def kill_group(process: "subprocess.Popen[Any]") -> None:
    """Kill a process that leads a group, and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def run_command(
    command: Sequence[str], environment: Mapping[str, str], limits: Limits, log: Path
) -> tuple[Measurement, float]:
    """Run a command to its end; return what it took, and its peak memory in MB. Its output goes to ``log``."""
    with log.open("w") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        watch = _Watch(process, limits)
        watch.allow()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            kill_group(process)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        watch.close()
    # The kernel's ru_maxrss would be too high: it counts the memory of the parent before the program was started.
    peak_mb = watch.peak_mb
    if watch.problem or process.returncode:
        return Measurement(problem=watch.problem or _describe_end(process.returncode, log)), peak_mb
    return Measurement(seconds=seconds, cpu_seconds=usage.ru_utime + usage.ru_stime), peak_mb


def _describe_end(code: int, log: Path) -> str:
    """Return how a program ended, with the last line that it wrote."""
    names = {-one.value: one.name for one in signal.Signals}
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"{names.get(code, f'exit status {code}')}: {lines[-1] if lines else 'no message'}"[:_MAX_WORDS]


class Program:
    """A program that stays open and does one job after another; see ``benchmarks/peer_program.py``.

    Between jobs the process is stopped, so that its threads take no time from the other programs.

    Args:
        command: Starts the program.
        environment: Its environment variables.
        limits: For each job, and for loading.
        log: Receives what the program writes to standard error.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], limits: Limits, log: Path) -> None:
        self._log = log
        self._output = log.open("w")
        self._process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._output,
            text=True, start_new_session=True,
        )  # fmt: skip
        self._watch = _Watch(self._process, limits)
        self._watch.allow()
        self.loading = self._read()

    @property
    def peak_mb(self) -> float:
        """Peak memory since the start, in MB."""
        self._watch.measure()  # a quick program may have ended its work before the first sample
        return self._watch.peak_mb

    def fill(self, image: Path, mask: Path, out: Path) -> Measurement:
        """Fill one photo, from file to file."""
        if self._process.poll() is not None:
            return Measurement(problem=self._watch.problem or "its process has ended")
        job = {"image": str(image), "mask": str(mask), "out": str(out)}
        os.killpg(self._process.pid, signal.SIGCONT)
        self._watch.allow()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        except OSError:  # it has just ended; _read says why
            pass
        return self._read()

    def _read(self) -> Measurement:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._watch.deadline = None
        if line:
            os.killpg(self._process.pid, signal.SIGSTOP)
            return Measurement(**json.loads(line))
        code = self._process.wait(_EXIT_S)
        return Measurement(problem=self._watch.problem or _describe_end(code, self._log))

    def close(self) -> None:
        """End the program."""
        if self._process.poll() is None:
            kill_group(self._process)
            self._process.wait(_EXIT_S)
        self._watch.close()
        for stream in (self._process.stdin, self._process.stdout, self._output):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
