"""``wp bench``: the race on the command line."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Wp, assert_refused
from wavepaint.contract import Bundle


def test_a_quick_race_writes_what_is_asked_for(wp: Wp, half_bundle: Bundle, tmp_path: Path) -> None:
    arguments = ["bench", "--models", f"default,{half_bundle.folder}", "--quick", "--threads", 1]
    files = ["--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md", "--plot", tmp_path / "b.png"]
    result = wp(*arguments, *files)
    assert result.returncode == 0, result.stderr.decode()
    races, _, where = result.stdout.decode().partition("\n\n")
    assert [line.split()[0] for line in where.splitlines()[1:]] == ["model", "default", "half"]
    table = races.splitlines()
    assert table[0].split()[:5] == ["model", "engine", "precision", "size", "batch"]
    assert {line.split()[0] for line in table[1:]} == {"default", "half"}
    assert {line.split()[1] for line in table[1:]} == {"ort-cpu", "openvino", "pytorch"}
    content = json.loads((tmp_path / "b.json").read_text())
    assert len(content["results"]) == len(table) - 1
    assert content["machine"]["cores"] >= 1
    assert content["copy_gb_per_s"] > 0
    for split in content["splits"]:
        assert all(split[f"{part}_ms"] > 0 for part in ("decode", "prepare", "compute", "encode"))
    assert all(row["roofline"] for row in content["results"] if row["engine"] != "pytorch")
    assert "| default | ort-cpu | float32 | 256x256 |" in (tmp_path / "b.md").read_text()
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
    assert slower.stderr.decode().count("slower: ") == len(content["results"])


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("--sizes", "big"), ("not a list of numbers",), 2),
        (("--batch", "0"), ("not a list of numbers",), 2),
        (("--engines", "abacus"), ("unknown 'abacus'", "--engines", "openvino"), 1),
        (("--precisions", "int4"), ("unknown 'int4'", "--precisions"), 1),
        (("--models", "stable-confusion"), ("unknown model 'stable-confusion'", "wavepaint"), 1),
        (("--compare", "nothing.json"), ("nothing.json is not the --json file",), 1),
        (("--models", "default", "--engines", "ort-cpu", "--precisions", "bfloat16"), ("nothing is left to time",), 1),
    ],
)
def test_what_makes_no_sense_is_refused(
    wp: Wp, arguments: tuple[str, ...], words: tuple[str, ...], status: int
) -> None:
    assert_refused(wp("bench", *arguments), *words, status=status)


def test_a_folder_that_is_no_bundle(wp: Wp, tmp_path: Path) -> None:
    assert_refused(wp("bench", tmp_path), "holds no manifest.json")
