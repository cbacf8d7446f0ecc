"""The page's files: what is vendored is unchanged, nothing is asked of other hosts, and no name leads nowhere."""

import re

from tests.conftest import REPOSITORY
from wavepaint.contract import hash_file

PAGE = REPOSITORY / "runtime" / "service" / "page"
VENDOR = PAGE / "vendor"
MODULES = sorted(PAGE.glob("*.mjs"))
INDEX = (PAGE / "index.html").read_text()


def test_vendored_files_are_those_that_were_released() -> None:
    listed = re.findall(r"^([0-9a-f]{64})  (\S+)$", (VENDOR / "README.md").read_text(), flags=re.M)
    assert {name: hash_file(VENDOR / name) for _, name in listed} == {name: digest for digest, name in listed}
    assert {path.name for path in VENDOR.iterdir()} == {name for _, name in listed} | {
        "LICENSE.txt",
        "README.md",
        "ThirdPartyNotices.txt",
    }
    version = re.search(r"onnxruntime-web (\S+)$", (VENDOR / "README.md").read_text(), flags=re.M)
    assert version is not None
    assert f"ONNX Runtime Web v{version[1]}" in (VENDOR / "ort.wasm.min.mjs").read_text()


def test_page_names_no_other_host() -> None:
    for path in [*MODULES, PAGE / "style.css", PAGE / "index.html"]:
        addresses = re.findall(r"https?://[^\s\"'`)]+", path.read_text())
        assert [each for each in addresses if not each.startswith("http://ns.adobe.com/")] == [], path.name


def test_page_has_no_inline_script_or_style() -> None:
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", INDEX)


def test_modules_and_files_that_the_page_names_exist() -> None:
    for path in MODULES:
        named = re.findall(r"(?:from|import|URL\() ?\"\./([^\"]+)\"", path.read_text())
        for name in named:
            assert (PAGE / name).exists(), f"{path.name}: {name}"
    for name in re.findall(r"(?:href|src)=\"page/([^\"]+)\"", INDEX):
        assert (PAGE / name).exists(), name


def test_elements_and_icons_that_are_named_exist() -> None:
    ids = set(re.findall(r"\sid=\"([\w-]+)\"", INDEX))
    assert set(re.findall(r"<use href=\"#([\w-]+)\"", INDEX)) <= ids
    assert set(re.findall(r"\sfor=\"([\w-]+)\"", INDEX)) <= ids
    for path in MODULES:
        named = set(re.findall(r"(?:byId|getElementById)\(\"([\w-]+)\"\)", path.read_text()))
        assert named <= ids, path.name


def test_every_button_has_a_name_for_screen_readers() -> None:
    for attributes, content in re.findall(r"<button([^>]*)>(.*?)</button>", INDEX, flags=re.S):
        assert "aria-label=" in attributes or re.sub(r"<[^>]*>", "", content).strip(), attributes
