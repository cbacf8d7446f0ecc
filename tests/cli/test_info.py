"""``wp info`` describes a bundle, or refuses a damaged one with one line."""

import json
from pathlib import Path

from tests.cli.conftest import Wp, assert_refused
from tests.fakes.bundle import REPORT, write_bundle
from wavepaint.contract import MANIFEST_NAME


def test_the_default_bundle_is_described(wp: Wp) -> None:
    result = wp("info")
    assert result.returncode == 0, result.stderr.decode()
    text = result.stdout.decode()
    for words in (
        "name       default",
        "multiples of 64",
        "crops of 256 px",
        "recipe default",
        "10 cases against PyTorch",
    ):
        assert words in text


def test_a_bundle_without_a_training_record_is_described(wp_here: Wp, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", verification={"model.onnx": [REPORT]})
    text = wp_here("info", bundle.folder).stdout.decode()
    for words in (
        "wavepaint",
        "multiples of 8",
        "10 cases against PyTorch",
        "no record in the checkpoint",
        "not verified",
    ):
        assert words in text


def test_the_first_training_records_had_no_sections(wp_here: Wp, tmp_path: Path) -> None:
    config = {"recipe": "default", "batch_size": 4, "crop_size": 80, "val_masks": "thin"}
    data = {"train": {"num_photos": 2}, "val": {"num_photos": 1}}
    scores = {"psnr_hole_db": 20.0, "ssim_hole": 0.5}
    record = {"config": config, "data": data, "step": 3, "seconds": 60.0, "device": "cpu", "validation": scores}
    bundle = write_bundle(tmp_path / "bundle", training=record)
    manifest = json.loads((bundle.folder / MANIFEST_NAME).read_text())
    del manifest["crop_size"]
    (bundle.folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    text = wp_here("info", bundle.folder).stdout.decode()
    assert "recipe default, 3 steps of 4 crops of 80 px" in text
    assert "20.00 dB, SSIM 0.5000 inside thin holes" in text


def test_names_that_cannot_be_printed_are_escaped(wp_here: Wp, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    manifest = json.loads((bundle.folder / MANIFEST_NAME).read_text())
    manifest["name"] = "tiny\nerror: \x1b[31mred"
    manifest["source"]["file"] = "\x1b[2J.pt"
    (bundle.folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    text = wp_here("info", bundle.folder).stdout.decode()
    assert "\x1b" not in text
    assert r"name       'tiny\nerror: \x1b[31mred'" in text.splitlines()


def test_json_is_the_manifest(wp_here: Wp, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    shown = json.loads(wp_here("info", bundle.folder, "--json").stdout)
    assert shown == json.loads((bundle.folder / MANIFEST_NAME).read_text())


def test_a_damaged_bundle_is_refused(wp_here: Wp, tmp_path: Path) -> None:
    assert_refused(wp_here("info", tmp_path), "has no manifest.json")
    bundle = write_bundle(tmp_path / "bundle")
    manifest = json.loads((bundle.folder / MANIFEST_NAME).read_text())
    for fields, words in (
        ({"verification": {"model.onnx": [{}]}}, "is damaged: Object missing required field `passed`"),
        ({"training": {"config": {}}}, "damaged or written by hand"),
    ):
        (bundle.folder / MANIFEST_NAME).write_text(json.dumps({**manifest, **fields}))
        assert_refused(wp_here("info", bundle.folder), words)
