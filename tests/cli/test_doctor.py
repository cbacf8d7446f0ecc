"""``wp doctor`` describes a machine as text and as JSON."""

import json
import sys

import pytest
from click.testing import CliRunner

from tests.cli.conftest import Wp
from tests.fakes.machine import Machine, set_gpus
from wavepaint.cli.doctor import command
from wavepaint.contract import Bundle
from wavepaint.errors import WavePaintWarning
from wavepaint.optional import make_install_command
from wavepaint.runtime import doctor
from wavepaint.runtime.engines import openvino
from wavepaint.runtime.engines.gpus import Gpu
from wavepaint.runtime.engines.registry import open_session


def test_the_report_shows_what_works_and_what_is_missing(wp: Wp, full_bundle: Bundle) -> None:
    result = wp("doctor", full_bundle.folder)
    assert result.returncode == 0, result.stderr.decode()
    text = result.stdout.decode()
    assert "ort-cpu      float32   works: 256x256 in" in text
    assert "openvino     float32   works" in text
    assert "usable cores" in text
    assert sys.executable in text
    assert text.startswith(f"wp infer --bundle {full_bundle.folder} works here. It runs OpenVINO ")


def test_gpu_engines_are_one_line_without_a_gpu(full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    set_gpus(monkeypatch)
    shown = CliRunner().invoke(command, [str(full_bundle.folder)]).stdout
    engines = "ort-cuda, tensorrt, tensorrt-rtx"
    assert f"\n{engines} do not work: no NVIDIA GPU with a driver was found\n" in shown
    assert "pip" not in shown
    verdict, blank, *lines = shown.splitlines()
    assert " works here. It runs OpenVINO " in verdict
    assert blank == ""
    assert {line.split()[0] for line in lines[: lines.index("")]} == {"ort-cpu", "openvino", "ort-cuda,"}


def test_gpu_engines_are_advised_with_a_gpu(full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    set_gpus(monkeypatch, Gpu("Simulated GPU", "sm90", 80_000))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    problems = {check.engine: check.problem for check in doctor.check_engines(full_bundle) if check.problem}
    assert make_install_command("tensorrt") in problems["tensorrt"]
    assert "has no CUDA" in problems["ort-cuda"]


def test_a_precision_that_the_processor_lacks_is_told_apart_from_its_engine(
    full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "cpu_precisions", lambda: ["float32"])
    shown = CliRunner().invoke(command, [str(full_bundle.folder)]).stdout
    assert "openvino     float32   works: " in shown
    assert "openvino     bfloat16  does not work: this processor does not compute bfloat16\n" in shown


def test_the_report_can_be_json(full_bundle: Bundle) -> None:
    found = json.loads(CliRunner().invoke(command, [str(full_bundle.folder), "--json"]).stdout)
    assert found["system"]["packages"]["onnxruntime"]
    assert found["conflicts"] == []
    assert found["auto"]["latency_ms"] > 0
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
    verdict, _, *lines = result.stdout.splitlines()
    assert " does not work here: " in verdict
    missing = {line.split()[0]: line for line in lines if "does not work: " in line}
    for engine, package, extra in (("ort-cpu", "onnxruntime", "cpu"), ("openvino", "openvino", "openvino")):
        assert f"{package} is not installed" in missing[engine]
        assert make_install_command(extra) in missing[engine]


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
