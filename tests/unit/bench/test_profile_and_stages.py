"""Where the time goes: by operator, by stage of a photo, and the memory of a GPU."""

from typing import Any

import pytest

from tests.fakes.nvml import FakeNvml
from wavepaint.bench import report
from wavepaint.bench.cells import EAGER, PYTORCH, list_cells
from wavepaint.bench.classical import Classical
from wavepaint.bench.entrants import Subject
from wavepaint.bench.photo_stages import find_fastest, make_stage_rows, measure_stages
from wavepaint.bench.profile import make_profile_rows, measure_profile
from wavepaint.bench.race import race
from wavepaint.runtime.engines import gpus
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.session import RunParts


@pytest.mark.parametrize("engine", ["ort-cpu", "openvino"])
def test_a_profile_has_the_share_of_each_operator(default: Subject, engine: str) -> None:
    (cell,) = list_cells([default], [64], [1], engines=[engine], precisions=["float32"])
    profile = measure_profile(cell, threads=1)
    assert profile is not None
    assert sum(operator.share for operator in profile.operators) == pytest.approx(1)
    assert sum(operator.ms for operator in profile.operators) == pytest.approx(profile.total_ms)
    assert [operator.ms for operator in profile.operators] == sorted((o.ms for o in profile.operators), reverse=True)
    assert any(operator.name.startswith("Conv") and operator.num_nodes > 1 for operator in profile.operators)
    header, *rows = make_profile_rows([profile])
    assert all(len(row) == len(header) for row in rows)
    assert rows[-1][2] == "all"
    assert int(rows[-1][4]) == sum(int(row[4]) for row in rows[:-1])


def test_eager_pytorch_and_opencv_have_no_profile(subject: Subject) -> None:
    cells = list_cells([subject, Classical("telea")], [64], [1], engines=[PYTORCH], torch_configs=[EAGER])
    assert [measure_profile(cell) for cell in cells] == [None, None]


class FillingNvml(FakeNvml):
    """A GPU whose memory grows by 100 MiB from call to call."""

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:  # noqa: N802
        self.used_mb += 100
        return super().nvmlDeviceGetMemoryInfo(handle, memory)


def test_the_memory_of_a_gpu_is_measured_if_there_is_one(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = list_cells([subject], [32], [1], engines=["ort-cpu"], precisions=["float32"])
    monkeypatch.setattr(gpus, "_load_nvml", lambda: None)
    assert gpus.count_used_memory_mb() is None
    (result,) = race(cells, threads=1, rounds=1, seconds=0)
    assert result.device_memory_mb is None
    assert "GPU MB" not in report.make_table([result], "lama")
    nvml = FillingNvml()
    monkeypatch.setattr(gpus, "_load_nvml", lambda: nvml)
    (result,) = race(cells, threads=1, rounds=1, seconds=0)
    assert result.device_memory_mb == 100
    assert nvml.open == 0
    header, row = report.make_table([result], "lama").splitlines()
    assert header.split()[-2:] == ["GPU", "MB"]
    assert row.split()[-1] == "100"


def test_the_stages_of_a_photo_include_the_copies_of_a_device(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = list_cells([subject], [32], [1], engines=["ort-cpu"], precisions=["float32"])
    (fastest,) = find_fastest(race(cells, threads=1, rounds=1, seconds=0))
    plain = measure_stages(subject, fastest, threads=1)
    assert plain.engine_ms > 0
    assert (plain.copy_in_ms, plain.compute_ms, plain.copy_out_ms) == (None, None, None)
    assert "compute" not in make_stage_rows([plain])[0]
    parts = [RunParts(1.0, 5.0, 2.0), RunParts(3.0, 4.0, 2.5), RunParts(2.0, 6.0, 2.2)]
    monkeypatch.setattr(OrtSession, "time_parts", lambda session, image, mask, num_runs: parts)
    stages = measure_stages(subject, fastest, threads=1)
    assert (stages.copy_in_ms, stages.compute_ms, stages.copy_out_ms) == (2.0, 5.0, 2.2)
    header, *rows = make_stage_rows([plain, stages])
    assert header[6:10] == ("of it copy in", "compute", "copy out", "encode ms")
    assert [row[6:9] for row in rows] == [("", "", ""), ("2.0", "5.0", "2.2")]
