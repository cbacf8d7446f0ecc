"""Help and completion: what they show, and that they need only the base install."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from tests.cli.conftest import Wp
from tests.conftest import REPOSITORY
from wavepaint.cli import wp as group
from wavepaint.cli.grouped_help import GroupedCommand

CONTEXT = click.Context(group, info_name="wp", **group.context_settings)
NAMES = group.list_commands(CONTEXT)
MANY = 10

RUN_WITHOUT_PACKAGES = """
import contextlib, io, json, os, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {
            "torch", "onnx", "onnxruntime", "onnxscript", "openvino", "tensorrt", "tensorrt_rtx", "cuda",
            "pywt", "pytorch_wavelets", "safetensors", "scipy", "skimage", "cv2", "matplotlib",
            "starlette", "uvicorn", "python_multipart", "prometheus_client",
        }:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from wavepaint.cli import main

for line, variables in json.load(sys.stdin):
    sys.argv, status = ["wp", *line.split()], 0
    os.environ.update(variables)
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), write_through=True)) as out:
        try:
            main()
        except SystemExit as stop:
            status = stop.code
    for name in variables:
        del os.environ[name]
    print(json.dumps([status, out.buffer.getvalue().decode()]))
"""


def run_in_base_install(runs: list[tuple[str, dict[str, str]]]) -> list[tuple[int, str]]:
    """Run ``wp`` with each line and environment, all in one process without any optional package."""
    command = [sys.executable, "-c", RUN_WITHOUT_PACKAGES]
    result = subprocess.run(command, input=json.dumps(runs), cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [tuple(json.loads(line)) for line in result.stdout.splitlines()]


def get_command(name: str) -> GroupedCommand:
    command = group.get_command(CONTEXT, name)
    assert isinstance(command, GroupedCommand)
    return command


def group_options(name: str) -> dict[str, list[tuple[str, str]]]:
    command = get_command(name)
    return command.group_options(click.Context(command, parent=CONTEXT))


COMPLETIONS = {
    "wp ba": [],
    "wp ma": ["plain,mask", "plain,masks"],
    "wp train --help-": ["plain,--help-all"],
    "wp train --init": ["plain,--init-from"],
    "wp train pho": ["file,pho"],
    "wp train --init-from def": ["plain,default"],
    "wp train --init-from runs": ["file,runs"],
    "wp train --recipe lama-p": ["plain,lama-places"],
    "wp train --architecture ": [
        "plain,wavepaint",
        "plain,unet",
        "plain,lama",
        "plain,wavemix-classifier",
        "plain,wavemix-segmenter",
    ],
    "wp train --task c": ["plain,classify"],
    "wp train --masks thin,me": ["plain,thin,medium"],
    "wp infer pho": ["file,pho"],
    "wp infer photo.jpg ma": ["file,ma"],
    "wp infer --bun": ["plain,--bundle"],
    "wp infer --bundle bun": ["dir,bun"],
    "wp infer --strategy t": ["plain,tile"],
    "wp infer --engine open": ["plain,openvino"],
    "wp bench --engines ort-cpu,open": ["plain,ort-cpu,openvino"],
    "wp bench --models te": ["plain,telea"],
    "wp export --engine tensorrt-": ["plain,tensorrt-rtx"],
}


def test_help_and_completion_need_only_the_base_install() -> None:
    helps = [*(f"{name} --help" for name in NAMES), "train --help-all", "train --show-config"]
    runs = [(line, {}) for line in helps]
    for line in COMPLETIONS:
        words = line.split(" ")
        runs.append(("", {"_WP_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}))
    results = run_in_base_install(runs)
    assert [status for status, _ in results] == [0] * len(runs)
    for line, (_, text) in zip(helps, results, strict=False):
        start = 'recipe = "default"' if line == "train --show-config" else f"Usage: wp {line.split()[0]} [OPTIONS]"
        assert text.startswith(start), line
    for line, (_, text) in zip(COMPLETIONS, results[len(helps) :], strict=True):
        assert text.split() == COMPLETIONS[line], line


@pytest.mark.parametrize("name", NAMES)
def test_help_ends_with_examples_that_parse(name: str, wp_here: Wp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    command = get_command(name)
    text = wp_here(name, "--help").stdout.decode()
    assert len(command.examples) >= 3
    end = "".join(f"  {purpose}\n    {line}\n" for line, purpose in command.examples)
    assert text.endswith(f"\nExamples:\n{end}")
    for line, purpose in command.examples:
        assert re.fullmatch(r"[A-Z].*:", purpose)
        program, chosen, *arguments = shlex.split(line.split(" > ")[0])
        assert program == "wp"
        get_command(chosen).make_context(chosen, arguments, parent=CONTEXT)
    assert any(line.startswith(f"wp {name}") for line, _ in command.examples)


def test_the_help_of_all_commands_shows_where_to_start(wp_here: Wp) -> None:
    text = wp_here("--help").stdout.decode()
    assert "\n    wp infer photo.jpg mask.png\n" in text.split("Examples:\n")[1]


@pytest.mark.parametrize("name", NAMES)
def test_many_options_stand_in_groups(name: str) -> None:
    groups = group_options(name)
    num_options = sum(map(len, groups.values()))
    if num_options <= MANY:
        assert list(groups) == ["Options"]
    else:
        assert groups.pop("Help")[-1][0] == "-h, --help"
        assert len(groups) >= 2
        assert max(map(len, groups.values())) <= 15


def find_texts() -> Iterator[tuple[str, str]]:
    for name in NAMES:
        for options in group_options(name).values():
            for flags, text in options:
                yield f"wp {name} {flags}", text


@pytest.mark.parametrize(("flags", "text"), [pytest.param(*found, id=found[0]) for found in find_texts()])
def test_texts_of_options_are_whole_sentences_with_defaults_in_words(flags: str, text: str) -> None:
    sentences, _, extra = text.partition("  [")
    assert re.match(r"[A-Z]|[a-z0-9-]+: ", sentences), flags
    assert sentences.endswith("."), flags
    assert sentences.split()[0].lower() != "of"
    assert len(sentences.split()) >= 3
    assert "<=" not in extra
    assert ">=" not in extra
    assert not re.search(r" (TEXT|INTEGER|FLOAT|INTEGER RANGE|FLOAT RANGE)\b", flags)


def test_the_short_help_of_train_shows_six_options_and_names_the_whole_help(wp_here: Wp) -> None:
    text = wp_here("train", "--help").stdout.decode()
    shown = re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, flags=re.M)
    assert shown == [
        "--out", "--init-from", "--steps", "--resume", "--val-data", "--download-weights", "--help-all", "--help",
    ]  # fmt: skip
    assert f"Show all {sum(map(len, group_options('train').values()))} options" in text
    assert wp_here("train", "-h").stdout.decode() == text


def test_the_whole_help_of_train_names_the_tables_of_a_configuration(wp_here: Wp) -> None:
    text = wp_here("train", "--help-all").stdout.decode()
    for heading, flag in (("Crops [data]", "--crop-size"), ("Adversarial losses [loss]", "--r1-weight")):
        section = text.split(f"\n{heading}:\n")[1].split("\n\n")[0]
        assert f"  {flag} " in section


def test_the_whole_help_of_train_shows_the_defaults_of_the_usual_recipes(wp_here: Wp) -> None:
    text = " ".join(wp_here("train", "--help-all").stdout.decode().split())
    shown = dict(re.findall(r" --([a-z0-9-]+) [A-Z]+ [^[]*\[default: ([^\]]*)\]", text))
    assert shown["learning-rate"] == "0.0015; fine-tune: 0.0001"
    assert shown["masks"] == "thin,medium; fine-tune: thin,medium,thick"
    assert shown["weight-decay"] == "0.01"


@pytest.mark.parametrize("name", NAMES)
def test_no_flag_and_no_default_is_broken_in_two(name: str, wp_here: Wp, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in ("60", "80"):
        monkeypatch.setenv("COLUMNS", columns)
        for flag in ("--help", "--help-all") if name == "train" else ("--help",):
            options = wp_here(name, flag).stdout.decode().split("ptions:\n", 1)[-1]
            assert not re.search(r"(\w-|\[default:|fine-tune:)$", options, flags=re.M)
