"""The record of a benchmark: the content of its JSON file, to which several runs may add."""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from wavepaint.atomic import write_file
from wavepaint.bench.cells import Cell, Result
from wavepaint.bench.report import Key, make_key, read_results
from wavepaint.bench.worker import NOT_RUN
from wavepaint.errors import ConfigError

_FIELDS = frozenset(field.name for field in fields(Result))


class Record:
    """Results by cell, and descriptions of the runs that measured them.

    Args:
        path: The JSON file; None keeps the record in memory.
        run: The description of this run.
        resume: Whether to start from the file, if it exists.
        is_dry: Whether this is a dry run. Dry and real runs cannot share a record.

    Raises:
        ConfigError: The existing file is not a record, or mixes dry and real runs.
    """

    def __init__(self, path: Path | None, run: dict[str, Any], *, resume: bool = False, is_dry: bool = False) -> None:
        self.path = path
        self._results: dict[Key, Result] = {}
        self._runs: list[dict[str, Any]] = []
        self.content: dict[str, Any] = {**run, "dry": is_dry}
        if resume and path is not None and path.exists():
            former = read_results(path, "--resume")
            if former.get("dry", False) != is_dry:
                raise ConfigError(f"{path} mixes dry and real runs: choose another file (--json).")
            self.content = {**former, **self.content}
            self._runs = former.get("runs", [])
            for row in former["results"]:
                self._put(Result(**{name: value for name, value in row.items() if name in _FIELDS}))
        self._run = {**{name: run[name] for name in ("date", "command", "machine")}, "stopped": ""}
        self._runs.append(self._run)

    @property
    def results(self) -> list[Result]:
        """All results, in the order of their first measurement."""
        return list(self._results.values())

    def _put(self, result: Result) -> None:
        self._results[make_key(result.as_dict())] = result

    def list_pending(self, cells: Sequence[Cell], *, retry_failed: bool) -> list[Cell]:
        """Return the cells without a result; with ``retry_failed``, those that failed, too."""
        pending = []
        for cell in cells:
            result = self._results.get(make_key(cell.describe()))
            if result is None or result.problem.startswith(NOT_RUN) or (retry_failed and result.problem):
                pending.append(cell)
        return pending

    def add(self, results: Sequence[Result]) -> None:
        """Add results of this run; they replace earlier results of the same cells."""
        for result in results:
            self._put(Result(**{**result.as_dict(), "run": len(self._runs)}))

    def stop(self, reason: str) -> None:
        """Note why this run ended early."""
        self._run["stopped"] = reason

    def save(self, *, overwrite: bool = True) -> None:
        """Write the file, whole or not at all."""
        self.content["runs"] = self._runs
        self.content["results"] = [result.as_dict() for result in self._results.values()]
        if self.path is not None:
            with write_file(self.path, overwrite=overwrite) as temporary:
                temporary.write_text(json.dumps(self.content, indent=2) + "\n")
