"""``wp bench``: the race, the GPU proof's dry run, and refused options."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from tests.fakes.bundle import write_bundle
from tests.networks import BARE
from wavepaint.bench.gpu_proof import DRY_ENGINES
from wavepaint.cli import wp as group
from wavepaint.optional import describe_missing
from wavepaint.runtime.engines.openvino import cpu_precisions


def run_here(*arguments: object) -> Result:
    """Run ``wp bench`` in this process."""
    return CliRunner().invoke(group, ["bench", *map(str, arguments)])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One convolution, which counts as trained; its PyTorch network is a small WavePaint."""
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    return write_bundle(folder, hyper_parameters=BARE, training={"recipe": "none"}).folder


def test_a_race_writes_every_report(wp: Wp, bundle: Path, tmp_path: Path, photo: np.ndarray) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo).save(tmp_path / "photos" / "cat.png")
    arguments = ["bench", "--models", f"telea,{bundle}", "--quick", "--threads", 1, "--rounds", 1]
    arguments += ["--photos", tmp_path / "photos", "--profile", "--sizes", "128", "--seconds", 0.01]
    files = ["--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md", "--plot", tmp_path / "b.png"]
    result = wp(*arguments, *files)
    assert result.returncode == 0, result.stderr.decode()
    races, stages, profiles, fastest = result.stdout.decode().split("\n\n")
    assert fastest.startswith("fastest at 128x128: convolution in ")
    assert [line.split()[0] for line in stages.splitlines()[1:]] == ["model", "convolution"]
    table = races.splitlines()
    assert table[0].split()[:5] == ["model", "engine", "precision", "size", "batch"]
    assert table[0].endswith("SSIM")
    assert {line.split()[0] for line in table[1:]} == {"convolution", "telea"}
    assert {line.split()[1] for line in table[1:]} == {"ort-cpu", "openvino", "pytorch", "opencv"}
    assert {line.split()[1] for line in profiles.splitlines()[2:]} == {"ort-cpu", "openvino"}
    content = json.loads((tmp_path / "b.json").read_text())
    assert len(content["results"]) == len(table) - 1
    assert content["machine"]["cores"] >= 1
    assert {row["height"] for row in content["results"]} == {128}  # --sizes goes before --quick
    assert content["copy_gb_per_s"] > 0
    for split in content["splits"]:
        assert all(split[f"{part}_ms"] > 0 for part in ("decode", "prepare", "engine", "encode"))
    timed = [row for row in content["results"] if row["p50_ms"] is not None]
    # A processor without bfloat16 leaves those cells untimed, and each says why.
    assert {(row["engine"], row["precision"]) for row in content["results"] if row not in timed} == {
        ("openvino", precision) for precision in ("float32", "bfloat16") if precision not in cpu_precisions()
    }
    in_engines = [row for row in timed if row["engine"] in ("ort-cpu", "openvino")]
    assert all(row["roofline"] > 0 and row["copy_share"] > 0 for row in in_engines)
    scored = [row for row in content["results"] if row["hole_psnr_db"] is not None]
    assert {(row["model"], row["engine"]) for row in scored} == {
        ("convolution", "ort-cpu"), ("convolution", "openvino"), ("telea", "opencv"),
    }  # fmt: skip
    assert len(content["profiles"]) == len(in_engines)
    assert "| convolution | ort-cpu | float32 | 128x128 |" in (tmp_path / "b.md").read_text()
    assert (tmp_path / "b.png").stat().st_size > 5000


def test_a_race_compares_with_an_earlier_one(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavepaint.cli.bench_runs.measure_copy_rate", lambda threads, seconds: 10.0)
    monkeypatch.setattr("wavepaint.cli.bench_runs.measure_matrix_rate", lambda execution, threads, seconds: 10.0)
    path = tmp_path / "b.json"
    arguments = ("--models", bundle, "--engines", "ort-cpu", "--precisions", "float32", "--sizes", 32, "--seconds", 0)
    assert run_here(*arguments, "--json", path).exit_code == 0
    assert "exists already" in str(run_here(*arguments, "--json", path).exception)
    same = run_here(*arguments, "--compare", path, "--margin", 1000)
    assert same.exit_code == 0
    assert "nothing is slower" in same.stderr
    content = json.loads(path.read_text())
    for row in content["results"]:
        row["p50_ms"] = 1e-6
    path.write_text(json.dumps(content))
    slower = run_here(*arguments, "--compare", path)
    assert slower.exit_code == 1
    assert slower.stderr.count("slower: ") == 1


def test_a_dry_run_of_the_proof_tries_everything_but_the_gpu_and_is_resumed(wp: Wp, tmp_path: Path) -> None:
    arguments = ["bench", "--preset", "gpu-proof", "--dry-run", "--resume", "--threads", 1]
    files = ["--json", tmp_path / "p.json", "--markdown", tmp_path / "p.md", "--plot", tmp_path / "p.png"]
    first = run_here(*arguments[1:], *files[:2], "--engines", "ort-cpu")
    assert first.exit_code == 0, first.stderr
    assert first.stdout.count("not measured: ") == 5
    whole = wp(*arguments, *files)
    assert whole.returncode == 0, whole.stderr.decode()
    content = json.loads((tmp_path / "p.json").read_text())
    assert [run["stopped"] for run in content["runs"]] == ["", ""]
    results = {(row["engine"], row["precision"]): row for row in content["results"]}
    assert {engine for engine, _ in results} == set(DRY_ENGINES)
    assert results["ort-cpu", "float16"]["run"] == 1  # it was not measured again
    timed = {engine for (engine, _), row in results.items() if row["p50_ms"] is not None}
    assert timed == {"ort-cpu", "pytorch", "torch-compile"}
    assert all(row["psnr_db"] > 45 for row in content["results"] if row["engine"] in timed)
    assert all(row["problem"] for row in content["results"] if row["engine"] not in timed)
    assert content["card"]["gmac_per_s"] > 0
    assert [criterion["verdict"] for criterion in content["criteria"]] == ["not measured"] * 5
    assert (tmp_path / "p.md").read_text().count("| **not measured** |") == 5
    assert (tmp_path / "p.png").stat().st_size > 5000


def test_a_time_limit_keeps_what_was_measured(bundle: Path, tmp_path: Path) -> None:
    arguments = ("--models", bundle, "--engines", "ort-cpu", "--sizes", 32, "--json", tmp_path / "b.json")
    result = run_here(*arguments, "--time-limit", 0)
    assert "nothing could be timed" in str(result.exception)
    (run,) = json.loads((tmp_path / "b.json").read_text())["runs"]
    assert "repeat the command with --resume to continue" in run["stopped"]


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("--sizes", "big"), ("not a list of numbers",), 2),
        (("--batch", "0"), ("not a list of numbers",), 2),
        (("--dry-run",), ("--dry-run needs --preset",), 2),
        (("--resume",), ("--resume needs the --json file",), 2),
        (("--retry-failed",), ("--retry-failed needs --resume",), 2),
        (("--engines", "abacus"), ("unknown 'abacus'", "--engines", "openvino"), 1),
        (("--precisions", "int4"), ("unknown 'int4'", "--precisions"), 1),
        (("--models", "stable-confusion"), ("unknown model 'stable-confusion'", "wavepaint"), 1),
        (("--photos", "nowhere"), ("nowhere does not exist",), 1),
        (("--compare", "nothing.json"), ("nothing.json does not exist",), 1),
        (("--preset", "gpu-proof"), ("no NVIDIA driver or GPU was found", "--dry-run"), 1),
        (("--models", "default", "--engines", "ort-cpu", "--precisions", "bfloat16"), ("nothing is left to time",), 1),
    ],
)
def test_invalid_options_are_refused(
    arguments: tuple[str, ...], words: tuple[str, ...], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavepaint.cli.bench_cells.find_gpus", lambda: [])
    result = run_here(*arguments)
    assert result.exit_code == status
    message = str(result.exception) if status == 1 else result.stderr
    assert all(word in message for word in words), message
    assert result.stdout == ""


def test_a_precision_that_a_model_lacks_is_answered_with_the_export_that_adds_it(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "tiny", precisions=("float32",)).folder
    result = run_here("--models", bundle, "--engines", "ort-cpu", "--precisions", "float16")
    message = str(result.exception)
    assert message.startswith("nothing is left to time")
    assert f"not timed: convolution: {bundle} has no model for ort-cpu in float16; it has float32" in message
    assert message.endswith("wp export convolution.pt -o tiny-float16 --fp16")


def test_without_pytorch_a_race_says_at_once_and_in_its_reports_what_is_missing(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavepaint.cli.bench_runs.measure_copy_rate", lambda threads, seconds: 10.0)
    monkeypatch.setattr("wavepaint.cli.bench_runs.measure_matrix_rate", lambda execution, threads, seconds: 10.0)
    monkeypatch.setattr("wavepaint.bench.entrants.cache_folder", lambda: tmp_path)  # no baseline was exported before
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "torch", None)
    files = ("--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md")
    result = run_here(
        bundle, "--engines", "ort-cpu,pytorch", "--precisions", "float32", "--sizes", 32, "--seconds", 0, "--rounds", 1,
        *files,
    )  # fmt: skip
    line = f"not timed: pytorch, wavepaint, lama: {describe_missing('torch', extra='train')}"
    assert result.exit_code == 0, result.exception
    assert result.stderr.splitlines()[0] == line
    assert line in result.stdout.splitlines()
    assert json.loads((tmp_path / "b.json").read_text())["missing"] == [line]
    assert line in (tmp_path / "b.md").read_text().splitlines()


def test_what_a_race_needs_at_its_end_is_checked_before_it(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavepaint.cli.bench.choose_field", lambda options, show: pytest.fail("the race began"))
    (tmp_path / "other.json").write_text("{}")
    for option, path, words in (
        ("--plot", "plot.xyz", "a plot can be"),
        ("--plot", "other.json/plot.png", "is a file, not a folder"),
        ("--compare", "other.json", "is not the --json file of a race"),
        ("--json", "other.json", "exists already"),
    ):
        assert words in str(run_here(bundle, option, tmp_path / path).exception)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    missing = run_here(bundle, "--plot", tmp_path / "plot.png").exception
    assert str(missing) == describe_missing("matplotlib", extra="plot")


def test_a_folder_without_a_bundle_is_refused(wp: Wp, tmp_path: Path) -> None:
    assert_refused(wp("bench", tmp_path), "has no manifest.json")
