"""The record of a proof: one JSON file, whole after every cell, from which a stopped proof goes on."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from benchmarks.gpu.cells import Task
from wavepaint.atomic import write_file
from wavepaint.errors import ConfigError

FORMAT = "wavepaint-gpu-proof/2"
NAME = "gpu-proof.json"

Result = dict[str, Any]


class Record:
    """Results by the id of what was measured.

    Args:
        folder: Where the file is, or is to be.
        is_dry: Whether this is a dry run; figures of one never mix with those of a GPU.

    Attributes:
        content: The file's content as plain values.

    Raises:
        ConfigError: The file is of something else, or of the other kind of run.
    """

    def __init__(self, folder: Path, *, is_dry: bool) -> None:
        self.path = folder / NAME
        self.content: dict[str, Any] = {"format": FORMAT, "dry": is_dry, "runs": [], "work": {}, "results": {}}
        if not self.path.exists():
            return
        try:
            content = json.loads(self.path.read_text("utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']!r}, expected {FORMAT!r}")
            kind = content["dry"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.path} is no record of a proof ({error}). Choose another folder (-o).") from error
        if kind != is_dry:
            raise ConfigError(f"{self.path} is of a {'dry' if kind else 'real'} run. Choose another folder (-o).")
        self.content = content

    @property
    def results(self) -> dict[str, Result]:
        """Results by id; each has a ``status``: done, failed or not run."""
        results: dict[str, Result] = self.content["results"]
        return results

    def begin_run(self, description: dict[str, Any]) -> None:
        """Note that a run begins: date, command, machine."""
        self.content["runs"].append(description)
        self.save()

    def put(self, task_id: str, result: Result) -> None:
        """Keep a result, with the number of the run it is of, and write the file."""
        self.results[task_id] = {**result, "run": len(self.content["runs"])}
        self.save()

    def add_note(self, task_id: str, note: str) -> None:
        """Add to what is to be known of a result that stays as it is; nothing where there is none."""
        result = self.results.get(task_id, {})
        result["note"] = "; ".join(filter(None, (result.get("note"), note)))
        self.save()

    def put_work(self, key: str, gmac: float, layers: list[list[float]]) -> None:
        """Keep what the arithmetic of a model and a side costs; see :class:`benchmarks.gpu.networks.Work`."""
        self.content["work"][key] = {"gmac": gmac, "layers": layers}
        self.save()

    def is_settled(self, task: Task, *, retry: Collection[str] = ("not run",)) -> bool:
        """Return whether a task need not run again; those whose status is in ``retry`` must."""
        result = self.results.get(task.id)
        return result is not None and result["status"] not in retry

    def save(self) -> None:
        """Write the file, whole or not at all."""
        with write_file(self.path, overwrite=True) as temporary:
            temporary.write_text(json.dumps(self.content, indent=1) + "\n", "utf-8")
