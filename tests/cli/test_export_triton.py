"""``wp export --triton``: from a checkpoint, from a bundle, and with plans."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Wp, assert_refused
from tests.fakes.bundle import write_full_bundle
from tests.fakes.machine import Machine
from tests.triton_config import read_config
from wavepaint.contract import Bundle, read_bundle
from wavepaint.export import bundle as bundle_module
from wavepaint.export import plans
from wavepaint.runtime.engines import gpus


def read_backend(folder: Path) -> str:
    backend: str = read_config(folder / "config.pbtxt").backend
    return backend


def test_a_bundle_becomes_a_model_without_a_copy_of_the_bundle(
    wp_here: Wp, full_bundle: Bundle, tmp_path: Path
) -> None:
    result = wp_here("export", full_bundle.folder, "--triton", tmp_path / "models")
    assert result.returncode == 0, result.stderr.decode()
    folder = tmp_path / "models" / "convolution"
    assert read_backend(folder) == "onnxruntime"
    assert (folder / "1" / "model.onnx").read_bytes() == (full_bundle.folder / "model.uint8.onnx").read_bytes()
    message = result.stderr.decode()
    assert f"{folder}: Triton model for ONNX Runtime, batches up to 8, from model.uint8.onnx\n" in message
    assert f"tritonserver --model-repository={tmp_path / 'models'}\n" in message
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, dict[str, Any]]]:
    """Replace the export of a checkpoint by a ready bundle, and return folder and arguments of each call."""
    calls = []

    def write_bundle(checkpoint: Any, out: Path, **how: Any) -> Bundle:
        calls.append((out, how))
        return write_full_bundle(out)

    monkeypatch.setattr(bundle_module, "write_bundle", write_bundle)
    return calls


def test_a_checkpoint_becomes_a_model_and_no_bundle_stays(
    wp_here: Wp, tiny_checkpoint: Path, tmp_path: Path, written: list[Any]
) -> None:
    result = wp_here("export", tiny_checkpoint, "--triton", tmp_path / "models", "--fp16")
    assert result.returncode == 0, result.stderr.decode()
    ((folder, how),) = written
    assert not folder.exists()
    assert how["name"] == "tiny"
    assert how["options"].io_dtypes == ("uint8",)
    assert how["options"].engines is None
    model = tmp_path / "models" / "tiny" / "1" / "model.onnx"
    assert b"float16" in result.stderr or b"fp16" in result.stderr
    assert model.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_a_checkpoint_becomes_a_bundle_and_a_model_of_its_name(
    wp_here: Wp, tiny_checkpoint: Path, tmp_path: Path, written: list[Any]
) -> None:
    result = wp_here("export", tiny_checkpoint, "-o", tmp_path / "mine", "--triton", tmp_path / "models")
    assert result.returncode == 0, result.stderr.decode()
    assert read_bundle(tmp_path / "mine")
    assert read_backend(tmp_path / "models" / "mine") == "onnxruntime"


def test_plans_that_this_command_builds_are_served(
    wp_here: Wp, full_bundle: Bundle, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "build_plan", machine.build_plan)
    monkeypatch.setattr(plans, "find_gpus", gpus.find_gpus)
    monkeypatch.setattr(plans, "find_runnable", lambda plan: [])  # saves the verification
    arguments = ["-o", tmp_path / "new", "--engine", "tensorrt", "--fp16", "--triton", tmp_path / "models"]
    result = wp_here("export", full_bundle.folder, *arguments, "--shapes", "8,64,256", "--name", "served")
    assert result.returncode == 0, result.stderr.decode()
    config = read_config(tmp_path / "models" / "served" / "config.pbtxt")
    assert (config.backend, config.max_batch_size) == ("tensorrt", 4)
    plan = next(
        a for a in read_bundle(tmp_path / "new").manifest.artifacts if (a.kind, a.io_dtype) == ("tensorrt", "uint8")
    )
    (name,) = config.cc_model_filenames.values()
    assert (tmp_path / "models" / "served" / "1" / name).read_bytes() == (tmp_path / "new" / plan.path).read_bytes()
    again = wp_here("export", tmp_path / "new", "--engine", "tensorrt", "--triton", tmp_path / "models")
    assert again.returncode == 0, again.stderr.decode()
    assert len(machine.builds) == 2  # one for each I/O dtype: without -o nothing is built


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--engine", "auto"], ["--engine auto builds engines that Triton does not run", "-o"]),
        (["--engine", "tensorrt-rtx"], ["--engine tensorrt-rtx builds engines", "--engine tensorrt"]),
        (["--engine", "tensorrt"], ["no TensorRT plan"]),
        (["--engine", "tensorrt", "--shapes", "64,128,256"], ["is a bundle", "need a folder (-o)"]),
        (["--bf16"], ["computes no bfloat16"]),
        (["--name", "a/b"], ["'a/b' cannot name", "--name"]),
    ],
)  # fmt: skip
def test_what_triton_cannot_serve_is_refused(
    wp_here: Wp, full_bundle: Bundle, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    result = wp_here("export", full_bundle.folder, "--triton", tmp_path / "models", *options)
    assert_refused(result, *words)
    assert not list(tmp_path.iterdir())


def test_a_model_that_exists_is_refused_before_the_export(
    wp_here: Wp, tiny_checkpoint: Path, tmp_path: Path, written: list[Any]
) -> None:
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    assert_refused(wp_here("export", tiny_checkpoint, "--triton", tmp_path / "models"), "exists already", "--overwrite")
    assert not written


def test_a_repository_never_replaces_the_source_or_the_bundle(wp_here: Wp, full_bundle: Bundle, tmp_path: Path) -> None:
    source = write_full_bundle(tmp_path / "convolution").folder
    assert_refused(wp_here("export", source, "--triton", tmp_path, "--overwrite"), "is one of the inputs")
    assert read_bundle(source)
    both = wp_here(
        "export", full_bundle.folder, "--engine", "tensorrt", "-o", tmp_path / "a" / "b", "--triton", tmp_path / "a",
        "--name", "b",
    )  # fmt: skip
    assert_refused(both, "Give each output its own name")


def test_an_export_needs_an_output(wp_here: Wp, full_bundle: Bundle) -> None:
    assert_refused(wp_here("export", full_bundle.folder), "Missing option '-o'", "--triton", status=2)
