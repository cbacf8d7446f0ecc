"""``wp bench``: the race on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from wavepaint.contract import Bundle
from wavepaint.runtime.engines.openvino import cpu_precisions


def test_a_quick_race_writes_what_is_asked_for(wp: Wp, half_bundle: Bundle, tmp_path: Path, photo: np.ndarray) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo).save(tmp_path / "photos" / "cat.png")
    arguments = ["bench", "--models", f"default,telea,{half_bundle.folder}", "--quick", "--threads", 1]
    arguments += ["--photos", tmp_path / "photos", "--profile", "--sizes", "128"]
    files = ["--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md", "--plot", tmp_path / "b.png"]
    result = wp(*arguments, *files)
    assert result.returncode == 0, result.stderr.decode()
    races, where, profiles = result.stdout.decode().split("\n\n")
    assert [line.split()[0] for line in where.splitlines()[1:]] == ["model", "default", "half"]
    table = races.splitlines()
    assert table[0].split()[:5] == ["model", "engine", "precision", "size", "batch"]
    assert table[0].endswith("SSIM")
    assert {line.split()[0] for line in table[1:]} == {"default", "half", "telea"}
    assert {line.split()[1] for line in table[1:]} == {"ort-cpu", "openvino", "pytorch", "opencv"}
    assert {line.split()[1] for line in profiles.splitlines()[2:]} == {"ort-cpu", "openvino"}
    content = json.loads((tmp_path / "b.json").read_text())
    assert len(content["results"]) == len(table) - 1
    assert content["machine"]["cores"] >= 1
    assert {row["height"] for row in content["results"]} == {128}  # what is asked for goes before --quick
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
        ("default", "ort-cpu"), ("default", "openvino"), ("telea", "opencv"),
    }  # fmt: skip
    assert len(content["profiles"]) == len(in_engines)
    assert "| default | ort-cpu | float32 | 128x128 |" in (tmp_path / "b.md").read_text()
    assert (tmp_path / "b.png").stat().st_size > 5000
    assert_refused(wp(*arguments, "--json", tmp_path / "b.json"), "exists already")
    slower = wp(*arguments, "--compare", tmp_path / "b.json", "--margin", 1000)
    assert slower.returncode == 0, slower.stderr.decode()
    assert "nothing is slower" in slower.stderr.decode()
    for row in content["results"]:
        row["p50_ms"] = 1e-6
    (tmp_path / "b.json").write_text(json.dumps(content))
    slower = wp(*arguments, "--compare", tmp_path / "b.json")
    assert slower.returncode == 1
    assert slower.stderr.decode().count("slower: ") == len(timed)


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("--sizes", "big"), ("not a list of numbers",), 2),
        (("--batch", "0"), ("not a list of numbers",), 2),
        (("--engines", "abacus"), ("unknown 'abacus'", "--engines", "openvino"), 1),
        (("--precisions", "int4"), ("unknown 'int4'", "--precisions"), 1),
        (("--models", "stable-confusion"), ("unknown model 'stable-confusion'", "wavepaint"), 1),
        (("--photos", "nowhere"), ("nowhere does not exist",), 1),
        (("--compare", "nothing.json"), ("nothing.json does not exist",), 1),
        (("--models", "default", "--engines", "ort-cpu", "--precisions", "bfloat16"), ("nothing is left to time",), 1),
    ],
)
def test_what_makes_no_sense_is_refused(
    wp: Wp, arguments: tuple[str, ...], words: tuple[str, ...], status: int
) -> None:
    assert_refused(wp("bench", *arguments), *words, status=status)


def test_a_folder_that_is_no_bundle(wp: Wp, tmp_path: Path) -> None:
    assert_refused(wp("bench", tmp_path), "holds no manifest.json")
