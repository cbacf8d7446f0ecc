"""``wp page``: the page to paint on as static files."""

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Wp, assert_refused
from wavepaint.contract import Bundle, default_bundle_folder, hash_file


def test_a_folder_has_all_that_the_page_needs(
    wp_here: Wp, tmp_path: Path, full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)  # no extra is needed
    site = tmp_path / "site"
    result = wp_here("page", "-o", site, "--bundle", full_bundle.folder)
    assert result.returncode == 0, result.stderr
    assert f"next: python -m http.server -d {site}\n" in result.stderr.decode()
    assert {path.name for path in site.iterdir()} == {"index.html", "model.onnx", "models.json", "page"}
    assert 'name="wavepaint" content="static"' in (site / "index.html").read_text()
    assert hash_file(site / "model.onnx") == hash_file(full_bundle.folder / "model.fp16.uint8.onnx")
    assert json.loads((site / "models.json").read_text())["data"] == [
        {"id": full_bundle.manifest.name, "size_multiple": full_bundle.manifest.size_multiple, "crop_size": 256}
    ]
    for name in ("app.mjs", "worker.mjs", "vendor/ort-wasm-simd-threaded.wasm", "vendor/LICENSE.txt"):
        assert (site / "page" / name).is_file(), name


def test_default_model_runs_in_browsers() -> None:
    assert (default_bundle_folder() / "model.fp16.uint8.onnx").is_file()


def test_only_an_earlier_page_is_replaced(wp_here: Wp, tmp_path: Path, full_bundle: Bundle) -> None:
    site = tmp_path / "site"
    arguments = ("page", "-o", site, "--bundle", full_bundle.folder)
    assert wp_here(*arguments).returncode == 0
    (site / "page" / "app.mjs").write_text("old")
    assert_refused(wp_here(*arguments), "exists already", "--overwrite")
    assert wp_here(*arguments, "--overwrite").returncode == 0
    assert (site / "page" / "app.mjs").read_text() != "old"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "kept.txt").write_text("kept")
    result = wp_here("page", "-o", tmp_path / "photos", "--bundle", full_bundle.folder, "--overwrite")
    assert_refused(result, "is not a page of wp page")
    assert (tmp_path / "photos" / "kept.txt").read_text() == "kept"


def test_a_bundle_without_a_model_for_browsers_is_refused(wp_here: Wp, tmp_path: Path, tiny_bundle: Bundle) -> None:
    result = wp_here("page", "-o", tmp_path / "site", "--bundle", tiny_bundle.folder)
    assert_refused(result, "model.fp16.uint8.onnx", "--fp16 --io uint8")
    assert not (tmp_path / "site").exists()


def test_a_bundle_is_never_replaced_by_its_page(wp_here: Wp, full_bundle: Bundle) -> None:
    result = wp_here("page", "-o", full_bundle.folder, "--bundle", full_bundle.folder, "--overwrite")
    assert_refused(result)
    assert (full_bundle.folder / "manifest.json").is_file()
