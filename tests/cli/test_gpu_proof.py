"""``benchmarks/gpu_proof.py`` as people run it: everything but the card, twice."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks" / "gpu_proof.py"


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_a_dry_run_exercises_everything_but_the_card(tmp_path: Path) -> None:
    first = run("--dry-run", "-o", tmp_path, "--only", "engine/pytorch", "--only", "failure/*", "--only", "ceiling/*")
    assert first.returncode == 0, first.stderr
    states = {
        key: result["status"]
        for key, result in json.loads((tmp_path / "gpu-proof.json").read_text())["results"].items()
    }
    assert states["engine/pytorch"] == states["ceiling/copy"] == "done"
    assert states["failure/float16/an-error/32/b1/plain/float32"] == "failed"
    assert states["failure/float16/a-death/32/b1/plain/float32"] == "failed"

    whole = run("--dry-run", "-o", tmp_path)
    assert whole.returncode == 0, whole.stderr
    content = json.loads((tmp_path / "gpu-proof.json").read_text())
    results = content["results"]
    runs = {key: result["run"] for key, result in results.items()}
    assert {runs[key] for key in states if key.startswith(("failure/", "ceiling/"))} == {1}  # not measured again
    timed = {key: result for key, result in results.items() if key.count("/") == 6 and result["status"] == "done"}
    assert len(timed) > 15
    for key, result in timed.items():
        assert result["accuracy"]["passed"], (key, result["accuracy"])
        assert result["with_copies"]["num_rounds"] == 2
        assert bool(result["compute"]) == (not key.startswith("ort-")), key
    assert {key.split("/")[0] for key in timed} == {"pytorch", "torch-compile", "ort-cpu"}
    assert {key.split("/")[6] for key in timed} == {"float32", "uint8"}
    others = {key: result for key, result in results.items() if result["status"] != "done"}
    assert all("no GPU" in result["problem"] for result in others.values() if result["status"] == "not run")
    assert [key for key, result in others.items() if result["status"] == "failed"] == [
        "failure/float16/an-error/32/b1/plain/float32",
        "failure/float16/a-death/32/b1/plain/float32",
    ]
    plan = results["tensorrt-rtx/float16/tiny-wavepaint/32/b2/graph/uint8"]
    if sys.platform == "linux":
        assert "a plan for sm86 was built ahead of time" in plan["problem"] or "not installed" in plan["problem"]
    page = (tmp_path / "gpu-proof.md").read_text()
    assert "The card has not been seen" in page
    assert page.count("**not measured**") == 4
    for name in ("rates.png", "roof.png"):
        assert f"({name})" in page
        assert (tmp_path / name).stat().st_size > 5000
    assert whole.stdout.count("not measured: ") == 4


def test_what_makes_no_sense_is_one_line(tmp_path: Path) -> None:
    nothing = run("--dry-run", "-o", tmp_path, "--only", "nothing/*")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr.startswith("error: no cell matches nothing/*")
    named = run("--list", "--only", "tensorrt-rtx/float16/wavepaint/256/*/uint8")
    assert "tensorrt-rtx/float16/wavepaint/256/b8/graph/uint8" in named.stdout.splitlines()
