"""A record of a benchmark continues in its file."""

import json
from pathlib import Path

import pytest

from wavepaint.bench import report
from wavepaint.bench.cells import Cell, Result
from wavepaint.bench.record import Record
from wavepaint.bench.worker import NOT_RUN
from wavepaint.errors import ConfigError


def test_a_resumed_record_continues_its_file(cells: list[Cell], tmp_path: Path) -> None:
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
