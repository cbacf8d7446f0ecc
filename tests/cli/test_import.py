"""wp import as a command: a bundle that every other command runs, and refusals in one line."""

import json
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from tests.fakes import foreign as networks
from wavepaint.cli import bench_runs
from wavepaint.contract import read_bundle
from wavepaint.export import verify
from wavepaint.runtime.engines.registry import find_runnable


@pytest.fixture(autouse=True)
def only_ort(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify in ONNX Runtime alone, which takes a third of the time."""
    monkeypatch.setattr(verify, "find_runnable", lambda model: find_runnable(model)[:1])


def test_an_imported_network_fills_a_photo_larger_than_its_fixed_size(
    wp_here: Wp,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    photo: np.ndarray,
    photo_files: tuple[Path, Path],
    hole: np.ndarray,
) -> None:
    path, out = networks.write_lama(tmp_path / "lama.onnx"), tmp_path / "bundle"
    imported = wp_here("import", path, "-o", out, "--preset", "lama", "--name", "carve")
    assert imported.returncode == 0, imported.stderr.decode()
    assert "verified in ONNX Runtime" in imported.stderr.decode()
    manifest = read_bundle(out).manifest
    assert (manifest.name, manifest.architecture, manifest.sizes) == (
        "carve",
        "imported",
        ((1, 64, 64), (1024, 64, 64)),
    )
    filled = wp_here("infer", *photo_files, "-o", tmp_path / "filled.png", "--bundle", out, "--engine", "ort-cpu")
    assert filled.returncode == 0, filled.stderr.decode()
    pixels = np.asarray(Image.open(tmp_path / "filled.png"))
    assert np.array_equal(pixels[~hole], photo[~hole])
    assert not np.array_equal(pixels[hole], photo[hole])
    shown = wp_here("info", out)
    assert "batches of 1 to 1024; 64x64 pixels (wp infer cuts and pads for you)" in shown.stdout.decode()
    assert "training   unknown: the network was imported" in shown.stdout.decode()
    monkeypatch.setattr(bench_runs, "measure_copy_rate", lambda threads, seconds: None)
    monkeypatch.setattr(bench_runs, "measure_matrix_rate", lambda execution, threads, seconds: None)
    raced = wp_here("bench", "--models", out, "--sizes", "32,64,128", "--rounds", 1, "--seconds", 0, "--json",
                    tmp_path / "bench.json", "--engines", "ort-cpu,pytorch")  # fmt: skip
    assert raced.returncode == 0, raced.stderr.decode()
    assert "carve: it takes no 128x128 pixels in a batch of 1" in raced.stdout.decode()
    (result,) = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert (result["model"], result["height"], result["weights"], result["problem"]) == ("carve", 64, "trained", "")
    again = wp_here("verify", out, "--against", path, "--store")
    assert again.returncode == 0, again.stderr.decode()


def test_without_a_description_the_file_is_named_and_options_that_work(wp_here: Wp, tmp_path: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.CopyFrom(onnx.compose.add_prefix(model, "my ", rename_nodes=False).graph)

    path = networks.change_model(networks.write_comodgan(tmp_path / "net.onnx"), rename)
    result = wp_here("import", path, "-o", tmp_path / "bundle")
    assert_refused(result, "takes my image float32 (n, 3, 64, 64), my mask float32 (n, 1, 64, 64), my z float32 (n, 8)")
    assert not (tmp_path / "bundle").exists()
    suggested = result.stderr.decode().rpartition("What would fit: ")[2].strip().removesuffix(".")
    assert suggested.startswith("--preset comodgan --image 'my image'")
    imported = wp_here("import", path, "-o", tmp_path / "bundle", *shlex.split(suggested))
    assert imported.returncode == 0, imported.stderr.decode()


def test_options_replace_a_file_which_replaces_a_preset(wp_here: Wp, tmp_path: Path) -> None:
    path, file = networks.write_lama(tmp_path / "net.onnx", peak=1), tmp_path / "net.toml"
    file.write_text("result_range = [0, 2]\nmultiple = 4\n")
    result = wp_here("import", path, "-o", tmp_path / "bundle", "--preset", "lama", "--description", file,
                     "--result-range", "0,1", "--size", "64x64", "--crop-size", 128)  # fmt: skip
    assert result.returncode == 0, result.stderr.decode()
    manifest = read_bundle(tmp_path / "bundle").manifest
    assert manifest.hyper_parameters["result_range"] == [0.0, 1.0]
    assert (manifest.size_multiple, manifest.crop_size) == (1, 128)  # its size is fixed


@pytest.mark.parametrize(
    ("options", "words", "status"),
    [
        (["--preset", "lama"], ["--result-range 0,1"], 1),
        (["--preset", "migan"], ["What would fit: --preset lama."], 1),
        (["--preset", "lama", "--image", "picture"], ["it has no input 'picture' (--image)"], 1),
        (["--preset", "nothing"], ["Invalid value for '--preset'"], 2),
        (["--preset", "lama", "--result-range", "255"], ["'255' is not two numbers"], 2),
        (["--preset", "lama", "--input", "z"], ["'z' is not NAME=VALUE"], 2),
        (["--preset", "lama", "--hole", "black"], ["'black' is neither a number nor keep"], 2),
        (["--preset", "lama", "--size", "big"], ["'big' is not a size"], 2),
        (["--description", "absent.toml"], ["absent.toml cannot be read as TOML"], 1),
    ],
)
def test_a_wrong_description_is_refused_in_one_line(
    wp_here: Wp, tmp_path: Path, options: list[str], words: list[str], status: int
) -> None:
    path = networks.write_lama(tmp_path / "net.onnx", peak=1)
    assert_refused(wp_here("import", path, "-o", tmp_path / "bundle", *options), *words, status=status)
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.onnx"]


def test_an_existing_folder_or_the_file_itself_is_never_replaced(wp_here: Wp, tmp_path: Path) -> None:
    path = networks.write_lama(tmp_path / "net.onnx")
    (tmp_path / "bundle").mkdir()
    assert_refused(wp_here("import", path, "-o", tmp_path / "bundle", "--preset", "lama"), "exists already")
    assert_refused(wp_here("import", path, "-o", tmp_path, "--preset", "lama", "--overwrite"), "net.onnx")
    assert_refused(
        wp_here("import", tmp_path / "absent.onnx", "-o", tmp_path / "new", "--preset", "lama"), "does not exist"
    )
