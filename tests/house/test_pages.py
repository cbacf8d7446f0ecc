"""README, contributor's guide, site and reports: links, names, commands and Python examples work."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.conftest import REPOSITORY
from tests.fakes.class_bundle import write_class_bundle
from tests.fakes.upscaling_bundle import write_upscaling_bundle
from tests.house.tools import ROOMS, find_files, run_module
from wavepaint import __version__
from wavepaint.cli import wp
from wavepaint.contract import CLASSIFICATION, SEGMENTATION

PAGES = find_files(".md")
SITE = [page for page in PAGES if page.parent == REPOSITORY or page.is_relative_to(REPOSITORY / "docs")]
README = REPOSITORY / "README.md"


def name_page(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def find_blocks(page: Path, *languages: str) -> list[str]:
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", page.read_text(), flags=re.S | re.M)


def test_site_builds_without_warnings(tmp_path: Path) -> None:
    run_module("sphinx", "-W", "--keep-going", "-q", "-d", str(tmp_path / "doctrees"), "docs", str(tmp_path / "site"))
    options = (tmp_path / "site" / "commands" / "infer.html").read_text()
    assert "--mask-threshold" in options
    assert "Large photos" in options  # a heading of its groups
    assert "Inpainter.fill" in (tmp_path / "site" / "api.html").read_text()
    card = (tmp_path / "site" / "model-card.html").read_text()
    assert "Uses and limits" in card
    assert "pipeline_tag" not in card  # its front matter is for the Hugging Face Hub


def test_model_card_begins_with_what_the_hub_reads() -> None:
    """The Hugging Face Hub filters models by these fields."""
    empty, front, text = (REPOSITORY / "wavepaint" / "assets" / "MODEL_CARD.md").read_text().split("---\n", 2)
    assert empty == ""
    assert text.lstrip().startswith("# ")
    fields = yaml.safe_load(front)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert fields["license"] == project["license"].lower()
    assert fields["library_name"] == project["name"]
    assert fields["pipeline_tag"] == "image-to-image"
    assert set(fields["tags"]) >= {"inpainting", "onnx"}


def test_every_command_has_a_page() -> None:
    pages = {path.stem for path in (REPOSITORY / "docs" / "commands").glob("*.md")}
    assert pages == set(wp.list_commands(click.Context(wp)))


def test_readme_has_at_most_150_lines() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_ci_runs_the_test_command_of_the_readme() -> None:
    (command,) = [block.strip() for block in find_blocks(README, "sh") if "pytest" in block]
    assert command in (REPOSITORY / ".ci" / "run").read_text()


def test_tests_that_ci_names_exist() -> None:
    words = [word for word in (REPOSITORY / ".ci" / "run").read_text().split() if word.startswith("tests/")]
    expanded = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {' '.join(words)}"], capture_output=True, text=True, check=True
    )
    for name in expanded.stdout.split():
        path, _, test = name.partition("::")
        assert (REPOSITORY / path).exists(), name
        assert not test or f"def {test}(" in (REPOSITORY / path).read_text(), name


def find_commands() -> list[tuple[str, str]]:
    """Return the page and the arguments of every ``wp`` command in a shell block."""
    found = []
    for page in SITE:
        for block in find_blocks(page, "sh", "bash"):
            block = block.replace("\\\n", " ")
            for line in re.findall(r"(?:\bwp|-m wavepaint) (.*)$", block, flags=re.M):
                found.append((name_page(page), re.split(r"\s(?:>|\||&&|#)(?:\s|$)", line)[0]))
    return found


def test_wp_commands_of_all_pages_parse() -> None:
    commands = find_commands()
    assert len(commands) >= 40
    for page, line in commands:
        arguments = shlex.split(line)
        context = wp.make_context("wp", list(arguments))
        command = wp.get_command(context, arguments[0])
        assert command is not None, f"{page}: wp {line}"
        command.make_context(arguments[0], arguments[1:], parent=context)


FOREIGN = {"--python-version", "--user"}
"""Options of other programs that pages name."""


def test_options_that_pages_name_exist() -> None:
    context = click.Context(wp)
    commands = [wp.get_command(context, name) for name in wp.list_commands(context)]
    known = {flag for command in commands if command for p in command.params for flag in (*p.opts, *p.secondary_opts)}
    for page in SITE:
        if page.name != "CHANGELOG.md":  # it names options that were renamed since
            named = re.findall(r"`(--[a-z][\w-]*)", page.read_text())
            assert set(named) <= known | FOREIGN | {"--help"}, name_page(page)


def make_anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_files_and_headings_that_a_page_links_to_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in make_anchors(file), target


NAMING_SOURCES = [*SITE, REPOSITORY / "benchmarks" / "README.md", REPOSITORY / "wavepaint" / "assets" / "MODEL_CARD.md"]


@pytest.mark.parametrize("page", NAMING_SOURCES, ids=name_page)
def test_source_files_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"`((?:\w+/)+[\w./-]*)`", page.read_text())
    for path in [path for path in named if path.split("/")[0] in ROOMS]:
        assert (REPOSITORY / path).exists(), path


def test_map_of_the_house_names_every_folder() -> None:
    """A folder with Python files has a row of its own, or a parent that has one."""
    rows = set(re.findall(r"^\| `([\w/]+)/`", (REPOSITORY / "CONTRIBUTING.md").read_text(), flags=re.M))
    rooms = {"wavepaint", "export", "runtime", "benchmarks", "docs", "tests"}
    assert rooms <= rows
    for top in ("wavepaint", "runtime"):
        for folder in (REPOSITORY / top).iterdir():
            if (folder / "__init__.py").exists() and not folder.is_symlink():
                assert f"{top}/{folder.name}" in rows


def test_python_of_all_pages_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: np.ndarray, hole: np.ndarray
) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    for name in ("mask.png", "mask0.png", "mask1.png", "mask2.png"):
        Image.fromarray(hole).save(tmp_path / name)
    for name, task in (("pets", CLASSIFICATION), ("streets", SEGMENTATION)):
        write_class_bundle(tmp_path / "bundles" / name, task)
    write_upscaling_bundle(tmp_path / "bundles" / "sharp")
    monkeypatch.chdir(tmp_path)
    blocks = [block for page in SITE for block in find_blocks(page, "python")]
    assert len(blocks) >= 4
    for block in blocks:
        exec(compile(block, "page", "exec"), {})
    assert {path.name for path in tmp_path.glob("filled*")} >= {
        "filled.png",
        "filled0.png",
        "filled2.png",
        "filled.jpg",
    }


def test_citation_names_this_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert {"cff-version", "title", "message", "authors"} <= citation.keys()


def test_commands_of_reports_run_on_other_machines() -> None:
    """Reports write PHOTOS or DIR for folders of the machine that made them."""
    reports = sorted((REPOSITORY / "benchmarks" / "results").rglob("*.json"))
    assert len(reports) >= 10
    for path in reports:
        content = json.loads(path.read_text())
        for command in [run["command"] for run in content.get("runs", [content])]:
            assert not re.search(r"(^|[\s=])[/~]", command), path.name
