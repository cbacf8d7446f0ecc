"""wp export and wp verify as commands: output, refusals and written files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.cli.conftest import Wp, assert_refused
from tests.conftest import FULL, randomise
from tests.fakes.bundle import write_bundle
from wavepaint.contract import Bundle, describe_files, read_bundle
from wavepaint.models.registry import build_model
from wavepaint.optional import make_install_command
from wavepaint.weights.checkpoint import save_checkpoint


@pytest.fixture
def copy(half_bundle: Bundle, tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    shutil.copytree(half_bundle.folder, folder)
    return folder


@pytest.fixture
def pair(copy: Path) -> Path:
    """The bundle with its float32 and its float16 model only, which are verified in a third of the time."""
    manifest = json.loads((copy / "manifest.json").read_text())
    kept = ("model.onnx", "model.fp16.onnx")
    manifest["artifacts"] = [artifact for artifact in manifest["artifacts"] if artifact["path"] in kept]
    manifest["verification"] = {path: manifest["verification"][path] for path in kept}
    for path in copy.glob("*.onnx"):
        if path.name not in kept:
            path.unlink()
    (copy / "manifest.json").write_text(json.dumps({**manifest, "files": describe_files(copy)}))
    return copy


def change_weights(folder: Path, name: str, layer: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the weights of one layer of a model, and the manifest with it, as a wrong conversion would."""
    model = onnx.load(folder / name)
    (weights,) = [
        tensor for tensor in model.graph.initializer if layer in tensor.name and tensor.name.endswith("weight")
    ]
    changed = change(numpy_helper.to_array(weights))
    weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    onnx.save(model, folder / name)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "files": describe_files(folder)}))


def test_verify_compares_with_the_bundles_own_float32_model(wp_here: Wp, copy: Path) -> None:
    before = read_bundle(copy).manifest
    result = wp_here("verify", copy, "--store")
    assert result.returncode == 0, result.stderr.decode()
    table = result.stdout.decode()
    for name in ("model.onnx", "model.fp16.onnx", "model.uint8.onnx", "model.bf16.onnx"):
        assert name in table
    assert "ONNX Runtime" in table
    assert "OpenVINO" in table
    assert "FAILED" not in table
    after = read_bundle(copy).manifest
    assert before.artifacts == after.artifacts
    for path, former in before.verification.items():  # what was compared with PyTorch stays, engines not here too
        kept = after.verification[path]
        assert [report for report in former if report["reference"].startswith("PyTorch")] == [
            report for report in kept if report["reference"].startswith("PyTorch")
        ]
    added = [report for report in after.verification["model.fp16.onnx"] if report["reference"].startswith("model.onnx")]
    assert {report["engine"].split()[0] for report in added} == {"ONNX", "OpenVINO"}
    own = [report for report in after.verification["model.onnx"] if report["reference"].startswith("model.onnx")]
    assert all(report["engine"].startswith("OpenVINO") for report in own)  # ONNX Runtime's would be of itself


def test_verify_changes_the_manifest_only_with_store(wp_here: Wp, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle").folder
    before = (folder / "manifest.json").read_bytes()
    assert wp_here("verify", folder).returncode == 0
    assert (folder / "manifest.json").read_bytes() == before
    assert_refused(wp_here("verify", "--store"), "--store needs BUNDLE", status=2)


def test_verify_refuses_a_report_that_exists_before_the_work(wp_here: Wp, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("mine")
    refused = wp_here("verify", copy, "--json", tmp_path / "report.json")
    assert_refused(refused, "report.json exists already")
    assert b"verifying" not in refused.stderr
    assert (tmp_path / "report.json").read_text() == "mine"


def test_verify_against_the_checkpoint_layer_by_layer(
    wp: Wp, pair: Path, full_checkpoint: Path, tmp_path: Path
) -> None:
    before = (pair / "manifest.json").read_bytes()
    report_path = tmp_path / "report.json"
    result = wp("verify", pair, "--against", full_checkpoint, "--layers", "--json", report_path)
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout.decode().count("first layer to exceed its budget: none") >= 2
    assert (pair / "manifest.json").read_bytes() == before
    report = json.loads(report_path.read_text())
    for found in report["verification"]["model.onnx"]:
        assert "PyTorch" in found["reference"]
        assert len(found["cases"]) == found["num_cases"] == 10
        assert all(case["ssim_hole"] is None or case["ssim_hole"] > 0.99 for case in found["cases"])
    layers = [layer["layer"] for layer in report["layers"]["model.onnx"]]
    assert "wavemodules.0.layers.0.bands.0" in layers
    assert layers[-1] == "image_out"


def test_a_model_that_differs_fails_and_the_first_wrong_layer_is_named(wp_here: Wp, pair: Path) -> None:
    layer = "wavemodules.0.upsample.conv.convs.0"
    change_weights(pair, "model.fp16.onnx", layer, lambda weights: weights * np.float16(3))
    result = wp_here("verify", pair, "--layers", "--store")
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
    assert f"first layer to exceed its budget: {layer}" in result.stdout.decode()
    (line,) = [
        row for row in result.stdout.decode().splitlines() if row.startswith("model.fp16.onnx  ") and "ONNX" in row
    ]
    assert line.endswith("FAILED")
    assert "error: model.fp16.onnx: ONNX Runtime" in result.stderr.decode()
    assert "PSNR inside the hole" in result.stderr.decode()
    reports = read_bundle(pair).manifest.verification
    assert not reports["model.fp16.onnx"][0]["passed"]
    assert reports["model.fp16.onnx"][0]["cases"]
    assert reports["model.onnx"][0]["passed"]


def test_values_that_are_not_finite_are_placed(wp_here: Wp, pair: Path) -> None:
    change_weights(pair, "model.fp16.onnx", "wavemodules.0.colour", lambda weights: weights * np.float16(np.nan))
    result = wp_here("verify", pair)
    assert result.returncode == 1
    assert "values are NaN or infinite, the first at [0, 0," in result.stderr.decode()


def test_a_model_no_engine_reads_is_reported_and_the_others_go_on(wp_here: Wp, copy: Path) -> None:
    (copy / "model.fp16.onnx").write_bytes(b"noise")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "files": describe_files(copy)}))
    result = wp_here("verify", copy)
    assert result.returncode == 1
    assert "error: model.fp16.onnx: cannot load" in result.stderr.decode()
    assert "FAILED to run" in result.stdout.decode()
    assert "model.bf16.onnx" in result.stdout.decode()  # it comes after the broken one


def test_another_checkpoint_is_refused_or_warned_about(wp_here: Wp, pair: Path, tmp_path: Path) -> None:
    other = {**FULL, "num_modules": 2}
    save_checkpoint(tmp_path / "other.pt", build_model("wavepaint", other), architecture="wavepaint", parameters=other)
    assert_refused(
        wp_here("verify", pair, "--against", tmp_path / "other.pt"),
        "differs in architecture or hyper-parameters",
        "full.pt",
    )
    twin = randomise(build_model("wavepaint", FULL), seed=7)
    save_checkpoint(tmp_path / "twin.pt", twin, architecture="wavepaint", parameters=FULL)
    assert_refused(wp_here("verify", pair, "--against", tmp_path / "twin.pt", "--store"), "cannot be stored", "full.pt")
    result = wp_here("verify", pair, "--against", tmp_path / "twin.pt")
    assert result.returncode == 1
    assert "warning: " in result.stderr.decode()
    assert "is not the source of" in result.stderr.decode()


def test_export_builds_possible_engines_and_names_the_others(
    wp_here: Wp, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx")
    result = wp_here(
        "export", tiny_checkpoint, "-o", tmp_path / "out", "--fp16", "--sm", "86,89", "--shapes", "64,256,512"
    )
    message = result.stderr.decode()
    assert result.returncode == 0, message
    assert "no tensorrt engine: " in message
    bundle = read_bundle(tmp_path / "out")
    assert [artifact.path for artifact in bundle.manifest.artifacts] == [
        "model.onnx",
        "model.fp16.onnx",
        "model.fp16.tensorrt-rtx.sm86-sm89.plan",
    ]
    profile = bundle.manifest.artifacts[-1].details["profiles"]
    assert profile == [{"min": [1, 64, 64], "opt": [1, 256, 256], "max": [4, 512, 512]}]
    shown = wp_here("info", tmp_path / "out").stdout.decode()
    assert "model.fp16.tensorrt-rtx.sm86-sm89.plan: tensorrt-rtx float16" in shown
    assert "not verified yet" in shown


def test_engines_are_added_to_a_bundle(wp: Wp, copy: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    arguments = ["--engine", "tensorrt-rtx", "--bf16", "--shapes", "64x64,640x480,960x512", "--batches", "1,2,2"]
    result = wp("export", copy, "-o", tmp_path / "out", *arguments)
    assert result.returncode == 0, result.stderr.decode()
    added = read_bundle(tmp_path / "out").manifest.artifacts[-1]
    assert (added.precision, added.io_dtype) == ("bfloat16", "uint8")
    assert added.details["profiles"][0] == {"min": [1, 64, 64], "opt": [2, 480, 640], "max": [2, 512, 960]}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--engine", "tensorrt"], ["tensorrt is not installed", make_install_command("tensorrt")]),
        (["--engine", "tensorrt-rtx", "--sm", "61"], ["unknown target 'sm61'", "75, 80, 86"]),
        (["--engine", "tensorrt-rtx", "--shapes", "64,32,128"], ["expected min <= opt <= max"]),
        (["--engine", "tensorrt-rtx", "--shapes", "64,100,128"], ["multiples of 8", "96 or 104"]),
        (["--engine", "tensorrt-rtx", "--batches", "1,2,4", "--batches", "1,2,4"], ["1 --shapes and 2 --batches"]),
        (["--engine", "auto", "--engine", "tensorrt"], ["cannot be combined"]),
        (["--fp16", "--optimization-level", "7"], ["expected 0 to 5"]),
        (["--fp16", "--workspace", "0"], ["workspace is 0 MiB"]),
        (["--sm", "86"], ["need an --engine"]),
        (["--opset", "11"], ["opset is 11", "18 to 23"]),
    ],
)
def test_export_refuses_invalid_options(
    wp_here: Wp, tiny_checkpoint: Path, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    if "tensorrt-rtx" in options:
        pytest.importorskip("tensorrt_rtx")
    assert_refused(wp_here("export", tiny_checkpoint, "-o", tmp_path / "out", *options), *words)
    assert not list(tmp_path.iterdir())


def test_shapes_that_are_no_numbers_are_a_usage_error(wp_here: Wp, tiny_checkpoint: Path, tmp_path: Path) -> None:
    result = wp_here("export", tiny_checkpoint, "-o", tmp_path / "out", "--fp16", "--shapes", "64,big")
    assert_refused(result, "'64,big' is not min,opt,max, such as 64,512,1024", status=2)


def test_only_engines_can_be_added_to_a_bundle(wp_here: Wp, copy: Path, tmp_path: Path) -> None:
    assert_refused(
        wp_here("export", copy, "-o", tmp_path / "out", "--io", "uint8"), "is a bundle", "Export its checkpoint"
    )
    assert_refused(wp_here("export", copy, "-o", tmp_path / "out", "--engine", "none"), "is a bundle", "--engine")
