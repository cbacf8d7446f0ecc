"""``wp doctor`` describes a machine as text and as JSON."""

import json
import sys

import pytest
from click.testing import CliRunner

from tests.cli.conftest import Wp
from tests.fakes.machine import Machine
from wavepaint.cli.doctor import command
from wavepaint.contract import Bundle
from wavepaint.errors import WavePaintWarning
from wavepaint.optional import make_install_command
from wavepaint.runtime import doctor
from wavepaint.runtime.engines.registry import ENGINES, open_session


def test_the_report_shows_what_works_and_what_is_missing(wp: Wp, full_bundle: Bundle) -> None:
    result = wp("doctor", full_bundle.folder)
    assert result.returncode == 0, result.stderr.decode()
    text = result.stdout.decode()
    assert "ort-cpu      float32   works: 256x256 in" in text
    assert "openvino     float32   works" in text
    assert "usable cores" in text
    assert sys.executable in text
    if "no NVIDIA driver" in text:
        assert "ort-cuda     does not work" in text
        for engine in ("tensorrt", "tensorrt-rtx"):
            (line,) = [line for line in text.splitlines() if line.split()[:1] == [engine]]
            assert "no driver or GPU was found" in line
            assert make_install_command(engine) in line


def test_the_report_can_be_json(full_bundle: Bundle) -> None:
    found = json.loads(CliRunner().invoke(command, [str(full_bundle.folder), "--json"]).stdout)
    assert found["system"]["packages"]["onnxruntime"]
    assert found["conflicts"] == []
    for engine in found["engines"]:
        assert (engine["latency_ms"] is None) == bool(engine["problem"])


def test_two_packages_of_onnx_runtime_are_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_packages", lambda: ["onnxruntime", "onnxruntime-gpu"])
    (conflict,) = doctor.find_conflicts()
    assert "overwrite each other's files" in conflict
    assert make_install_command("gpu") in conflict


def test_doctor_fails_without_any_engine(full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "openvino", None)
    result = CliRunner().invoke(command, [str(full_bundle.folder)])
    assert result.exit_code == 1
    assert "error: no engine works" in result.stderr
    lines = [line.split() for line in result.stdout.splitlines() if "does not work" in line]
    assert [line[0] for line in lines] == [*ENGINES]


def test_cached_plans_run(full_bundle: Bundle, machine: Machine) -> None:
    built = [("tensorrt", "float32"), ("tensorrt", "float16"), ("tensorrt-rtx", "float32")]
    for engine, precision in built:
        with pytest.warns(WavePaintWarning, match="can take minutes"):
            open_session(full_bundle, engine=engine, precision=precision).close()  # type: ignore[arg-type]
    checks = [check for check in doctor.check_engines(full_bundle) if check.engine.startswith("tensorrt")]
    assert sorted((check.engine, check.precision) for check in checks if check.latency_ms) == sorted(built)
    machine.require_all_freed()


def test_doctor_builds_no_plan(full_bundle: Bundle, machine: Machine) -> None:
    checks = [check for check in doctor.check_engines(full_bundle) if check.engine.startswith("tensorrt")]
    assert machine.builds == []
    assert [check.engine for check in checks] == ["tensorrt", "tensorrt-rtx"]  # one line for all precisions
    for check in checks:
        assert check.latency_ms is None
        assert "no plan for this Simulated GPU is cached" in check.problem
        assert f"wp export {full_bundle.folder} -o NEW --engine {check.engine};" in check.problem
