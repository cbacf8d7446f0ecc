"""The command group: version, help, and errors as one line."""

import errno
import subprocess
import sys
import tomllib
import warnings

import pytest
from packaging.requirements import Requirement

from tests.cli.conftest import Wp, assert_refused
from tests.conftest import REPOSITORY
from wavepaint import __version__, cli
from wavepaint.cli import info
from wavepaint.errors import ImageError, WavePaintWarning
from wavepaint.optional import make_install_command


def test_help_lists_every_command_and_each_has_help(wp_here: Wp) -> None:
    text = wp_here("--help").stdout.decode()
    for name, line in cli._COMMANDS.items():
        assert f"\n  {name} " in text
        assert line.split(",")[0] in " ".join(text.split())
        result = wp_here(name, "--help")
        assert (result.returncode, result.stderr) == (0, b"")
        assert result.stdout.startswith(f"Usage: wp {name} ".encode())


def test_an_unknown_command_is_a_usage_error(wp: Wp) -> None:
    assert_refused(wp("sculpt"), "No such command 'sculpt'", status=2)


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_version_and_help_import_nothing_heavy(argument: str) -> None:
    code = (
        "import sys; sys.argv = ['wp', sys.argv[1]]; from wavepaint.cli import main\n"
        "try: main()\n"
        "except SystemExit: print('loaded:', {'torch', 'numpy', 'PIL', 'onnxruntime'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, argument]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("loaded: set()")
    if argument == "--version":
        assert result.stdout.startswith(f"wp, version {__version__}\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ImageError("a.png is empty."), "a.png is empty."),
        (PermissionError(errno.EACCES, "Permission denied", "a.png"), "a.png: Permission denied."),
        (OSError(errno.EIO, "Input/output error", "a\nb"), r"'a\nb': Input/output error."),
        (ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard.x"), "tensorboard.x is not installed"),
        (MemoryError(), "out of memory"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_become_one_line_and_status_1(
    wp_here: Wp, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(info.command, "callback", fail)
    assert_refused(wp_here("info"), f"error: {line}")


def test_ctrl_c_is_one_line_and_status_130_in_every_command(wp_here: Wp, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(info.command, "callback", interrupt)
    result = wp_here("info")
    assert (result.returncode, result.stdout) == (130, b"")
    assert result.stderr == b"interrupted. Every file that was written is complete.\n"


def test_a_missing_module_of_the_base_installation_is_installed_with_it(
    wp_here: Wp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'msgspec'", name="msgspec")

    monkeypatch.setattr(info.command, "callback", fail)
    assert_refused(wp_here("info"), "msgspec is not installed", f"Install it with: {make_install_command()}\n")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    names = {Requirement(line).name for line in project["dependencies"]}
    assert names == {name.lower().replace("pil", "pillow") for name in cli._BASE}


def test_an_error_in_the_code_keeps_its_traceback(wp_here: Wp, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'wavepaint.none'", name="wavepaint.none")

    monkeypatch.setattr(info.command, "callback", fail)
    with pytest.raises(ModuleNotFoundError):
        wp_here("info")


def test_a_warning_of_this_package_is_one_line(wp_here: Wp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info.command, "callback", lambda **options: warnings.warn("odd", WavePaintWarning, 1))
    assert wp_here("info").stderr.decode() == "warning: odd\n"
