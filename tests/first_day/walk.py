"""Follow the pages in a fresh checkout as on a first day: run each command and judge what it answers.

A command must succeed, or end with one line that begins with "error: " and contains a command that installs what is
missing. Nothing may change a file of the checkout. Run it in a clone of its own, because it writes there and removes
what it wrote, with a Python that has the base installation and an engine:

    python tests/first_day/walk.py                            # all pages
    python tests/first_day/walk.py README.md docs/masks.md    # these

It prints what went wrong; the exit status is 1 if anything did.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parent))  # no test package: nothing from the checkout is to be imported

from hints import find_hints, judge_hint
from pages import is_run, list_commands, list_pages
from PIL import Image

from wavepaint import cli

CHECKOUT = Path(__file__).absolute().parents[2]

QUICK = {"bench": {"sizes": "32", "rounds": 1, "seconds": 0.0, "margin": 1e9}}
"""Defaults of options, so that ``wp bench`` takes a second instead of minutes and no time counts."""

ASSUMPTIONS = {
    r"--preset gpu-proof --resume": "no NVIDIA driver or GPU was found",
    r"wp masks .*--count": "the photos in photos",
    r"wp eval runs/mine .*--held-out": "it has no split.json",
    r"wp eval .*--data pets/": "pets does not exist",
    r"wp eval filled/ --data photos/": "filled does not exist",
    r"hf download": "is not a bundle",
    r"wp verify bundles/lama": "bundles/lama does not exist",
    r"wp classify ": "bundles/pets does not exist",
    r"wp segment ": "bundles/streets does not exist",
    r"wp upscale ": "bundles/sharp does not exist",
    r"wp compare mine/": "no image is left in which the two methods differ",
    r"wp compare --score": "anna.csv cannot be read",
    r"wp serve --host 0\.0\.0\.0": "set WAVEPAINT_TOKEN",
}
"""What the pages assume of the reader that is not so here: commands, and the error that they then end with."""

SUFFICIENT = ("infer", "info", "doctor", "mask", "page")
"""Commands for which the base installation and an engine are enough."""

SLOW = ("bench", "doctor", "verify")
"""Commands that change nothing and are run once, even if several pages have them."""

DRAWN = {"docs/masks.md": ["photo_mask.png"]}
"""Masks that a page tells the reader to draw."""


@dataclass
class Outcome:
    """What one command did."""

    page: str
    command: str
    status: int
    text: str


def find_files(folder: str) -> "Iterator[os.DirEntry[str]]":
    """Find every file and link; not in folders of the environment, of git or of Python's caches."""
    for entry in os.scandir(folder):
        if not entry.is_dir(follow_symlinks=False):
            yield entry
        elif not entry.name.startswith(".") and entry.name != "__pycache__":
            yield from find_files(entry.path)


def read_state(checkout: Path) -> dict[str, tuple[int, int]]:
    """Return the size of every file and link, and the time of its last change."""
    found = ((entry.path, entry.stat(follow_symlinks=False)) for entry in find_files(str(checkout)))
    return {path: (about.st_size, about.st_mtime_ns) for path, about in found}


def remove_files(checkout: Path, keep: dict[str, tuple[int, int]]) -> None:
    """Remove every other file, and the folders that this leaves empty."""
    for name in read_state(checkout).keys() - keep.keys():
        Path(name).unlink()
        for folder in Path(name).parents:
            if any(folder.iterdir()):
                break
            folder.rmdir()


def put_own_files(checkout: Path) -> None:
    """Put what the pages assume to exist: the reader's photos, masks, runs and bundles."""
    assets = checkout / "wavepaint" / "assets"
    photo = Image.merge("RGB", [Image.radial_gradient("L").resize((160, 120))] * 3)
    photo.paste((255, 255, 255), (100, 10, 101, 110))  # a scratch
    mask = Image.new("L", photo.size)
    mask.paste(255, (60, 40, 80, 60))
    marked = photo.copy()
    marked.paste((255, 0, 255), (60, 40, 80, 60))
    marked.save(checkout / "marked.jpg")
    for folder, names in {"photos": "ab", "places": "ab", "holiday": "ab", "scans": "cd"}.items():
        (checkout / folder).mkdir()
        for name in names:
            photo.save(checkout / folder / f"{name}.jpg")
    (checkout / "masks").mkdir()
    for name in ("a.png", "b.png"):
        mask.save(checkout / "masks" / name)
    for name in ("photo.jpg", "panorama.jpg"):
        photo.save(checkout / name)
    mask.save(checkout / "mask.png")
    cutout = photo.copy()
    cutout.putalpha(mask.point(lambda value: 255 - value))
    cutout.save(checkout / "cutout.png")
    for run in ("mine", "fine", "first", "second"):
        (checkout / "runs" / run).mkdir(parents=True)
        shutil.copy2(assets / "default.pt", checkout / "runs" / run / "best.pt")
    for name in ("big-lama.pt", "released.pth"):
        shutil.copy2(assets / "default.pt", checkout / name)
    shutil.copytree(assets / "default", checkout / "bundles" / "mine")


@contextmanager
def standing_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def run_here(words: list[str]) -> tuple[int, str]:
    """Run ``wp`` in this process; return its status, and what it and its children wrote to stdout and stderr."""
    arguments, status = sys.argv, 0
    sys.argv = ["wp", *words]
    with capture_output() as written, warnings.catch_warnings():
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except Exception:
            status = 1
            traceback.print_exc()
        finally:
            sys.argv = arguments
            sys.stdout.flush()
            sys.stderr.flush()
            written.seek(0)
            text = written.read().decode(errors="replace")
    return status, text


@contextmanager
def capture_output() -> Iterator[IO[bytes]]:
    """Let stdout and stderr, for children and libraries too, be a file, and stdin be empty."""
    with tempfile.TemporaryFile() as file, Path(os.devnull).open() as empty:
        kept = [os.dup(number) for number in range(3)]
        for number, target in enumerate((empty, file, file)):
            os.dup2(target.fileno(), number)
        try:
            yield file
        finally:
            for number, original in enumerate(kept):
                os.dup2(original, number)
                os.close(original)


def run_in_shell(command: str, folder: Path) -> tuple[int, str]:
    """Run a command with pipes in bash, with this Python's ``wp`` first in PATH."""
    with tempfile.TemporaryDirectory() as programs:
        wp = Path(programs) / "wp"
        wp.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m wavepaint "$@"\n')
        wp.chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
        result = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    return result.returncode, result.stdout + result.stderr


def run_command(command: str, folder: Path) -> tuple[int, str]:
    words = shlex.split(command)
    if set(command) & set("|><*?$;"):
        return run_in_shell(command, folder)
    return run_here(words[3:] if words[0] == "python" else words[1:])


def walk(checkout: Path, pages: list[Path]) -> Iterator[Outcome]:
    """Run every command of the pages in order; each page finds the checkout and the reader's own files only."""
    tracked = read_state(checkout)
    status, text = run_here(["bench", "--json", str(checkout / "old.json")])
    yield Outcome("before", "wp bench", status, text)
    put_own_files(checkout)
    present = read_state(checkout)
    done: set[str] = set()
    for page in pages:
        name = page.relative_to(checkout).as_posix()
        for drawn in DRAWN.get(name, ()):
            shutil.copy2(checkout / "mask.png", checkout / drawn)
        for command in filter(is_run, list_commands(page)):
            if command in done and any(word in SLOW for word in command.split()):
                continue
            with standing_in(checkout):
                yield Outcome(name, command, *run_command(command, checkout))
            done.add(command)
        now = read_state(checkout)
        for path in tracked:
            if now.get(path) != tracked[path]:
                yield Outcome(name, "", 1, f"{os.path.relpath(path, checkout)} was changed or removed")
        remove_files(checkout, keep=present)


def judge(outcome: Outcome) -> str:
    """Return what is wrong with the answer to a command, or nothing."""
    if "Traceback (most recent call last)" in outcome.text:
        return "it shows a traceback"
    errors = [line for line in outcome.text.splitlines() if line.startswith("error: ")]
    missing = re.search(r"([\w.]+) is not installed", errors[0]) if errors else None
    hints = find_hints(outcome.text)
    for hint in hints:
        problem = judge_hint(hint, missing[1] if missing and hint in errors[0] else "")
        if problem:
            return f"{hint}: {problem}"
    if outcome.status == 0 and not errors:
        return ""
    if outcome.status != 1 or len(errors) != 1:
        return f"status {outcome.status} and {len(errors)} errors"
    if any(re.search(command, outcome.command) and text in errors[0] for command, text in ASSUMPTIONS.items()):
        return ""
    if not find_hints(errors[0]):
        return "the error names no command that installs what is missing"
    is_sufficient = any(word in SUFFICIENT for word in outcome.command.split())
    return "the base installation and an engine should be enough" if is_sufficient else ""


def main() -> int:
    cli.wp.context_settings["default_map"] = QUICK
    pages = [CHECKOUT / page for page in sys.argv[1:]] or list_pages(CHECKOUT)
    problems, num_commands, num_successful = [], 0, 0
    with tempfile.TemporaryDirectory() as cache:
        os.environ["WAVEPAINT_CACHE"] = cache
        for outcome in walk(CHECKOUT, pages):
            num_commands += 1
            num_successful += outcome.status == 0
            problem = judge(outcome)
            if problem:
                problems.append(f"{outcome.page}: {outcome.command}\n  {problem}\n  {outcome.text.strip()[-2000:]}")
    print("\n".join(problems))
    print(f"{num_commands} commands, {num_successful} of them succeeded, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
