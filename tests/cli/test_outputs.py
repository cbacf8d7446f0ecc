"""No output of a command may be one of its inputs, and outputs that cannot be written are refused before the work."""

import os
import shutil
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from wavepaint.cli import wp
from wavepaint.contract import default_bundle_folder
from wavepaint.errors import ConfigError, OutputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos, masks, a bundle and checkpoints, which must not change."""
    for name in ("photos/p.png", "photos/q.png", "masks/p.png", "masks/q.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / name)
    (tmp_path / "link.png").symlink_to("photos/p.png")
    os.link(tmp_path / "masks" / "p.png", tmp_path / "hard.png")
    (tmp_path / "photos.csv").write_text("image,mask,out\nphotos/p.png,masks/p.png,photos/p.png\n")
    (tmp_path / "bundles").mkdir()
    shutil.copytree(default_bundle_folder(), tmp_path / "bundles" / "b")
    (tmp_path / "run").mkdir()
    for name in ("run/best.pt", "run/other.pt", "race.json"):
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


ONE = "infer photos/p.png masks/p.png --bundle bundles/b --overwrite -o"
MANY = "infer photos masks --bundle bundles/b --overwrite -o out"


@pytest.mark.parametrize(
    "command",
    [
        f"{ONE} f.png --save-overlay masks/p.png --compare photos/p.png",
        f"{ONE} photos/p.png",
        f"{ONE} link.png",
        f"{ONE} f.png --compare hard.png",
        f"{ONE} f.png --save-overlay bundles/b/model.onnx",
        f"{ONE} f.png --save-overlay f.png",
        "infer photos masks --overwrite -o photos",
        "infer photos masks/p.png --overwrite -o masks",
        "infer photos.csv --overwrite -o .",
        f"{MANY} --report photos/q.png",
        f"{MANY} --report bundles/b/manifest.json",
        f"{MANY} --report out/p.png",
        "infer photos.csv --overwrite -o out --report photos.csv",
        "verify bundles/b --overwrite --json bundles/b/model.onnx",
        "verify bundles/b --overwrite --against run/best.pt --json run/best.pt",
        "bench bundles/b --overwrite --json bundles/b/manifest.json",
        "bench --overwrite --photos photos --plot photos/p.png",
        "bench --overwrite --compare race.json --json race.json",
        "bench --overwrite --json new.json --markdown new.json",
        "export run/best.pt --overwrite -o run",
        "export run/best.pt --overwrite -o .",
        "export bundles/b --engine tensorrt --overwrite -o bundles",
        "export run/best.pt --overwrite -o new --fp16 --timing-cache run/best.pt",
        "export run/best.pt --overwrite -o new --fp16 --timing-cache new/cache",
        "blend run/best.pt run/other.pt --overwrite -o run/other.pt",
        "train photos --init-from run/best.pt -o run",
        "masks photos --overwrite -o photos",
        "masks photos --kinds silhouettes --silhouettes masks --overwrite -o masks",
    ],
)
def test_no_output_may_be_an_input(folder: Path, command: str) -> None:
    before = contents(folder)
    with pytest.raises(OutputError, match="is one of the inputs|both would be written"):
        wp.main(command.split(), standalone_mode=False)
    assert contents(folder) == before


@pytest.mark.parametrize(
    "command",
    [
        "upscale photos/p.png -o - --bundle bundles/b",
        "upscale - -o new.png --bundle bundles/b",
        "infer photos/p.png masks/p.png -o new.png --compare -",
        "infer photos/p.png masks/p.png -o new.png --save-overlay -",
        "infer photos/p.png masks/p.png -o new.png --report -",
        "infer photos - -o new",
        "mask - --border 5",
        "mask photos/p.png --border 5 -o -",
        "segment photos/p.png --bundle bundles/b -o new.png --overlay -",
        "compare photos masks --images - -o new.html",
        "eval - --data photos",
        "export run/best.pt -o new --timing-cache -",
        "train photos --init-from - -o new",
    ],
)
def test_a_dash_is_refused_where_it_is_no_standard_stream(folder: Path, command: str) -> None:
    (folder / "-").write_bytes((folder / "photos" / "p.png").read_bytes())
    before = contents(folder)
    with pytest.raises(click.UsageError, match="^- is not supported .*: name a file or folder") as caught:
        wp.main(command.split(), standalone_mode=False)
    assert caught.value.exit_code == 2
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("verify bundles/b --json /proc/report.json", "cannot write /proc/report.json"),
        ("bench --markdown /proc/page.md", "cannot write /proc/page.md"),
        ("bench --plot plot.xyz", "a plot can be .*png"),
        ("infer photos/p.png masks/p.png -o f.png --compare /proc/side.png", "cannot write /proc/side.png"),
        ("infer photos masks -o /proc/out", "cannot write /proc/out"),
        ("infer photos masks -o out --save-overlay /proc/overlays", "cannot write /proc/overlays"),
        ("infer photos masks -o out --report race.json", "race.json exists already"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_before_the_work(folder: Path, command: str, message: str) -> None:
    before = contents(folder)
    with pytest.raises(OutputError, match=message):
        wp.main(command.split(), standalone_mode=False)
    assert contents(folder) == before


@pytest.mark.parametrize("place", ["new/", "new.png/", "run", "run/"])
@pytest.mark.parametrize(
    "command",
    [
        "infer photos/p.png masks/p.png --overwrite -o",
        "infer photos/p.png masks/p.png --overwrite -o f.png --compare",
        "infer photos/p.png masks/p.png --overwrite -o f.png --save-overlay",
        "infer photos masks --overwrite -o out --report",
        "mask photos/p.png --border 2 --overwrite -o",
        "mask photos/p.png --border 2 --overwrite --overlay",
        "upscale photos/p.png --bundle bundles/b --overwrite -o",
        "segment photos/p.png --bundle bundles/b --overwrite -o",
        "segment photos/p.png --bundle bundles/b --overwrite -o f.png --overlay",
        "verify bundles/b --overwrite --json",
        "bench bundles/b --overwrite --markdown",
        "blend run/best.pt run/other.pt --overwrite -o",
    ],
)
def test_a_folder_is_refused_where_a_file_is_written(folder: Path, command: str, place: str) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(ConfigError, match=f"{place} is a folder. Give a file name."):
        wp.main([*command.split(), place], standalone_mode=False)
    assert sorted(folder.rglob("*")) == before


def test_a_slash_may_end_the_folders_of_a_batch(folder: Path) -> None:
    command = "mask photos --border 2 -o new/masks/ --overlay new/overlays/"
    with pytest.raises(SystemExit, match="0"):
        wp.main(command.split(), standalone_mode=False)
    assert sorted(path.name for path in (folder / "new").iterdir()) == ["masks", "overlays"]
