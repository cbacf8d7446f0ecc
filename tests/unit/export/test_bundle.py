"""Bundles are complete, verified and unaltered, or refused."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch

from tests.conftest import TINY
from tests.fakes.bundle import make_model
from wavepaint.contract import Artifact, Bundle, IoDtype, read_bundle
from wavepaint.errors import (
    ConfigError,
    EngineError,
    OutputError,
    VerificationError,
    WavePaintError,
)
from wavepaint.export import bundle as bundle_module
from wavepaint.export.bundle import ExportOptions, write_bundle
from wavepaint.export.cases import verification_cases
from wavepaint.export.to_onnx import export_onnx
from wavepaint.export.verify import Suite, describe_report, make_suite, require_passed
from wavepaint.runtime.engines.comparison import (
    BYTE_BUDGET,
    FLOAT32_BUDGET,
    HALF_BUDGET,
    Budget,
    choose_budget,
    compare,
    make_report,
)
from wavepaint.runtime.engines.registry import open_session
from wavepaint.runtime.engines.session import Session
from wavepaint.weights.checkpoint import read_checkpoint


def test_manifest_is_complete(tiny_bundle: Bundle, tiny_checkpoint: Path) -> None:
    manifest = read_bundle(tiny_bundle.folder).manifest
    assert manifest == tiny_bundle.manifest
    assert manifest.architecture == "wavepaint"
    assert manifest.hyper_parameters == TINY
    assert (manifest.size_multiple, manifest.padding) == (8, "symmetric")
    assert manifest.source["sha256"] == read_checkpoint(tiny_checkpoint).sha256
    assert {"torch", "onnx", "onnxruntime", "wavepaint"} <= set(manifest.versions)
    for report in manifest.verification["model.onnx"]:
        assert report["passed"]
        assert report["max_error"] <= 1e-5 or report["precision"] == "bfloat16"
        assert report["num_cases"] == len(CASES)
        assert report["cases"] == []  # only what failed is kept
    engines = [report["engine"].split()[0] for report in manifest.verification["model.onnx"]]
    assert engines[:2] == ["ONNX", "OpenVINO"]
    assert sorted(p.name for p in tiny_bundle.folder.iterdir()) == ["manifest.json", "model.onnx"]


def test_an_export_without_fusion_in_the_oldest_opset_computes_the_same(
    tiny_bundle: Bundle, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    options = ExportOptions(fusion=False, opset=18)
    plain = write_bundle(read_checkpoint(tiny_checkpoint), tmp_path / "plain", options=options)
    assert read_bundle(plain.folder).manifest == plain.manifest
    image = np.random.default_rng(3).random((2, 3, 40, 24), dtype=np.float32)
    mask = (image[:, :1] > 0.6).astype(np.float32)
    with open_session(plain, engine="ort-cpu") as unfused, open_session(tiny_bundle, engine="ort-cpu") as fused:
        np.testing.assert_allclose(fused.run(image, mask), unfused.run(image, mask), atol=1e-5, rtol=0)
    assert tiny_bundle.manifest.artifacts[0].details["fused"]
    assert not plain.manifest.artifacts[0].details["fused"]
    types = [
        [node.op_type for node in onnx.load(bundle.folder / "model.onnx").graph.node] for bundle in (plain, tiny_bundle)
    ]
    (opset,) = onnx.load(plain.folder / "model.onnx").opset_import
    assert (opset.domain, opset.version) == ("", 18)
    assert "Gelu" not in types[0]  # new in opset 20
    assert "Gelu" in types[1]
    assert "ConvTranspose" in types[0]
    assert "ConvTranspose" not in types[1]
    assert "DepthToSpace" in types[1]


def test_graph_has_variable_sizes_and_only_plain_operators(tiny_bundle: Bundle) -> None:
    model = onnx.load(tiny_bundle.folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    for name, channels in (("image", 3), ("mask", 1), ("image_out", 3)):
        batch, found, height, width = shapes[name]
        assert found == channels
        assert all(isinstance(axis, str) for axis in (batch, height, width))
    assert not {node.op_type for node in model.graph.node} & {"If", "Loop", "Scan", "DFT", "ScatterND", "Dropout"}


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (np.zeros((1, 3, 8, 8)), np.zeros((1, 1, 8, 8), np.float32), "image has dtype float64"),
        (np.zeros((1, 4, 8, 8), np.float32), np.zeros((1, 1, 8, 8), np.float32), r"image has shape \(1, 4, 8, 8\)"),
        (np.zeros((3, 8, 8), np.float32), np.zeros((1, 1, 8, 8), np.float32), "image has shape"),
        (np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 3, 8, 8), np.float32), "mask has shape"),
        (np.zeros((1, 3, 8, 8), np.float32), np.zeros((2, 1, 8, 8), np.float32), "differ in batch"),
        (np.zeros((1, 3, 8, 12), np.float32), np.zeros((1, 1, 8, 12), np.float32), "multiples of 8"),
        (np.zeros((0, 3, 8, 8), np.float32), np.zeros((0, 1, 8, 8), np.float32), "none of them 0"),
    ],
)
def test_tensors_that_break_the_contract_are_named(tiny_bundle: Bundle, image: Any, mask: Any, message: str) -> None:
    with open_session(tiny_bundle, engine="ort-cpu") as session, pytest.raises(EngineError, match=message):
        session.run(image, mask)


def test_a_model_of_another_contract_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    from wavepaint.runtime.engines.ort import OrtSession

    model = onnx.load(tiny_bundle.folder / "model.onnx")
    for node in model.graph.node:
        node.input[:] = ["picture" if name == "image" else name for name in node.input]
    model.graph.input[0].name = "picture"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(EngineError, match="'picture'.*expected"):
        OrtSession(make_model(tmp_path / "other.onnx"))
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    with pytest.raises(EngineError, match="cannot load"):
        OrtSession(make_model(tmp_path / "noise.onnx"))


@pytest.fixture
def instant_export(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the export by a copy of a ready model."""

    def copy_model(network: torch.nn.Module, size_multiple: int, path: Path, **options: Any) -> None:
        shutil.copyfile(tiny_bundle.folder / "model.onnx", path)

    monkeypatch.setattr(bundle_module, "export_onnx", copy_model)


@pytest.mark.usefixtures("instant_export")
def test_a_failed_verification_writes_nothing(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong_suite(network: torch.nn.Module, size_multiple: int, *options: Any) -> Suite:
        return make_suite(size_multiple, lambda image, mask: image + 0.01 * mask, "a wrong reference")

    monkeypatch.setattr(bundle_module, "torch_suite", wrong_suite)
    with pytest.raises(VerificationError, match="largest error.*It was not written"):
        write_bundle(read_checkpoint(tiny_checkpoint), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("instant_export")
def test_an_interrupted_export_leaves_the_former_bundle(
    tiny_bundle: Bundle, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_bundle.folder, tmp_path / "bundle")

    def interrupt(stage: str) -> None:
        if stage.startswith("verifying"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bundle(read_checkpoint(tiny_checkpoint), tmp_path / "bundle", overwrite=True, on_stage=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert read_bundle(tmp_path / "bundle").manifest == tiny_bundle.manifest


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_leaves_the_former_bundle(tiny_bundle: Bundle, tiny_checkpoint: Path, tmp_path: Path) -> None:
    # A limit on the size of files fails a write in the middle, as a full disk does.
    model = tiny_bundle.folder / "model.onnx"
    shutil.copytree(tiny_bundle.folder, tmp_path / "bundle")
    script = (
        "import resource, shutil, signal, sys; from wavepaint.cli import main; from wavepaint.export import bundle; "
        f"copy = lambda network, multiple, path, **options: shutil.copyfile({str(model)!r}, path); "
        "bundle.export_onnx = copy; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); "
        "sys.argv = ['wp', *sys.argv[1:]]; main()"
    )
    arguments = ["export", tiny_checkpoint, "-o", tmp_path / "bundle", "--overwrite"]
    command = [sys.executable, "-c", script, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert f"error: cannot write {tmp_path / 'bundle'}: File too large" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert read_bundle(tmp_path / "bundle").manifest == tiny_bundle.manifest


def test_a_disk_without_room_for_the_models_is_refused_before_the_work(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    monkeypatch.setattr(bundle_module, "torch_suite", lambda *arguments: pytest.fail("work was done"))
    with pytest.raises(OutputError, match=r"has 0\.0 MB free, and the bundle's ONNX files need about .* MB.*\(-o\)"):
        write_bundle(read_checkpoint(tiny_checkpoint), tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [17, 99])
def test_opset_that_cannot_be_written_is_refused(opset: int) -> None:
    with pytest.raises(ConfigError, match=f"opset is {opset}: expected 18 to 23"):
        ExportOptions(opset=opset)


def test_bfloat16_needs_a_newer_opset() -> None:
    with pytest.raises(ConfigError, match="opset is 20: bfloat16 needs 22 or newer"):
        ExportOptions(precisions=("bfloat16",), opset=20)


def test_an_operator_onnx_lacks_is_named(tmp_path: Path) -> None:
    class Odd(torch.nn.Module):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return image * torch.special.bessel_j0(mask)

    with pytest.raises(WavePaintError, match="cannot be exported to ONNX: .*bessel_j0"):
        export_onnx(Odd(), 8, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_export_contains_no_paths_of_the_machine(tiny_bundle: Bundle) -> None:
    content = (tiny_bundle.folder / "model.onnx").read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert b".py" not in content


@pytest.mark.parametrize(
    ("precision", "io_dtype", "arithmetic", "expected"),
    [
        ("float32", "float32", "float32", FLOAT32_BUDGET),
        ("float32", "float32", "bfloat16", HALF_BUDGET),
        ("float16", "float32", "float16", HALF_BUDGET),
        ("float16", "float32", "float32", HALF_BUDGET),
        ("float32", "uint8", "float32", BYTE_BUDGET),
        ("float16", "uint8", "float16", BYTE_BUDGET),
        ("float32", "uint8", "bfloat16", HALF_BUDGET),
    ],
)
def test_budget_of_each_form(precision: str, io_dtype: IoDtype, arithmetic: str, expected: Budget) -> None:
    artifact = Artifact(path="model.onnx", kind="onnx", precision=precision, io_dtype=io_dtype)
    assert choose_budget(artifact, arithmetic) is expected


def test_precision_lowered_by_the_engine_is_reported_without_failing() -> None:
    name, image, mask = CASES[1]
    expected = (image * (1 - mask)).astype(np.float32)
    bad = compare(name, image, mask, expected + 0.02 * mask, expected, HALF_BUDGET)
    session = cast(Session, SimpleNamespace(engine="OpenVINO", device="CPU", precision="bfloat16", weights="bfloat16"))
    report = make_report([bad], HALF_BUDGET, "reference", session, required=False)
    require_passed(report)
    assert "not precise enough in OpenVINO (bfloat16)" in describe_report(report)
    with pytest.raises(VerificationError):
        require_passed({**report, "required": True})


def test_a_former_bundle_is_not_touched_without_permission(tiny_bundle: Bundle, tiny_checkpoint: Path) -> None:
    before = (tiny_bundle.folder / "manifest.json").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write_bundle(read_checkpoint(tiny_checkpoint), tiny_bundle.folder)
    assert (tiny_bundle.folder / "manifest.json").read_bytes() == before


CASES = verification_cases(8)


def test_cases_cover_batches_shapes_and_empty_masks() -> None:
    shapes = {image.shape for _, image, _ in CASES}
    assert {shape[0] for shape in shapes} >= {1, 2, 3}
    assert any(shape[2] != shape[3] for shape in shapes)
    assert any(shape[2:] == (8, 8) for shape in shapes)
    assert any(not mask.any() for _, _, mask in CASES)
    assert all(np.isin(mask, (0, 1)).all() for _, _, mask in CASES)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out, mask: out + 2e-5 * mask, "largest error 2.0"),
        (lambda out, mask: np.where(mask > 0, np.nan, out).astype(np.float32), "NaN or infinite"),
        (lambda out, mask: out + 1e-6 * (1 - mask), "outside the hole were changed"),
    ],
)
def test_every_kind_of_difference_fails(spoil: Callable[..., Any], message: str) -> None:
    name, image, mask = CASES[1]
    expected = (image * (1 - mask)).astype(np.float32)
    session = SimpleNamespace(engine="engine", device="CPU", precision="float32", weights="float32")
    assert compare(name, image, mask, expected, expected, FLOAT32_BUDGET).passed
    bad = compare(name, image, mask, spoil(expected, mask).astype(np.float32), expected, FLOAT32_BUDGET)
    assert not bad.passed
    with pytest.raises(VerificationError, match=message):
        require_passed(make_report([bad], FLOAT32_BUDGET, "reference", cast(Session, session)))
