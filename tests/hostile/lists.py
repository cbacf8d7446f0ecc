"""Hostile lists of photos for ``wp infer``: CSV and JSON lines."""

import csv
import io
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.fakes.inpainter import fake_inpainter
from tests.hostile import Case
from wavepaint.runtime.batch import fill_jobs
from wavepaint.runtime.jobs import check_jobs
from wavepaint.runtime.pairing import find_jobs

NAMES = {
    "NUL": "a\0b.png",
    "lone surrogate": "a\ud800b.png",
    "surrogate of a byte": "a\udcffb.png",
    "255 bytes": "n" * 251 + ".png",
    "256 bytes": "n" * 252 + ".png",
    "255 characters of two bytes": "\u00e9" * 251 + ".png",
    "long suffix": "n." + "p" * 250,
    "beyond PATH_MAX": "/".join(["d" * 200] * 30) + "/a.png",
    "deep folders": "d/" * 400 + "a.png",
    "field limit": "n" * 131_073,
    "line separator": "a\u2028b.png",
    "line feed": "a\nb.png",
    "carriage return": "a\rb.png",
    "outside": "../outside.png",
    "far outside": "d/../../../outside.png",
    "absolute": "/tmp/outside-of-the-results.png",
    "the folder itself": ".",
    "its parent": "..",
    "the root": "/",
    "the list": "list",
    "a folder below a file": "p.png/a.png",
    "no suffix": "a",
    "unknown suffix": "a.\u2029",
    "hidden": ".png",
    "device": "/dev/null",
    "empty": "",
    "blank": " ",
    "quotes": "a\"b,'c;.png",
}
VALUES: dict[str, Any] = {
    "number": 5,
    "huge number": 10**4000,
    "list": ["p.png"],
    "object": {"image": "p.png"},
    "true": True,
    "null": None,
    "NaN": float("nan"),
}
TEXTS: dict[str, bytes] = {
    "nothing": b"",
    "blank lines": b"\n\r\n \n\r",
    "only a byte-order mark": b"\xef\xbb\xbf",
    "UTF-16": '{"image": "p.png", "mask": "m.png"}'.encode("utf-16"),
    "Latin-1": b"image,mask\n\xe9.png,m.png\n",
    "NUL bytes": b"\0" * 1000,
    "deep nesting": b'{"image": ' + b"[" * 200_000,
    "a number of 100,000 digits": b'{"image": ' + b"9" * 100_000 + b"}",
    "an open quote": b'image,mask\n"p.png,m.png\n' * 50,
    "no header": b"p.png,m.png\n",
    "columns twice": b"image,image,mask,mask\np.png,m.png,p.png,m.png\n",
    "a short row": b"image,mask,out\np.png\n",
    "a long row": b"image,mask\np.png,m.png,a.png,b.png,c.png\n",
    "100,000 columns": b",".join([b"image", b"mask", *[b"x"] * 100_000]) + b"\np.png,m.png\n",
    "one result twice": b"image,mask,out\np.png,m.png,a.png\np.png,m.png,./a.png\n",
    "a result below a result": b"image,mask,out\np.png,m.png,a.png\np.png,m.png,a.png/b.png\n",
}


def _as_csv(row: dict[str, Any]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, ("image", "mask", "out"))
    writer.writeheader()
    writer.writerow(row)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def _as_json(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _mutate(rng: random.Random, text: bytes) -> bytes:
    """Change, repeat, drop or insert some bytes."""
    changed = bytearray(text)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(changed) + 1)
        piece = rng.choice(
            (b"", bytes([rng.randrange(256)]), b'"', b"\\", b"\\ud800", b"\0", b"\xe2\x80\xa8", b"\n", b",")
        )
        changed[place : place + rng.randint(0, 3)] = piece
    return bytes(changed)


def _writer(text: bytes, suffix: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "p.png")
        Image.new("L", (4, 4), 0).save(folder / "m.png")
        path = folder / f"list{suffix}"
        path.write_bytes(text)
        return path

    return write


def _write_pipe(folder: Path) -> Path:
    path = folder / "list.csv"
    os.mkfifo(path)
    return path


def make_cases(seed: int, count: int) -> Iterator[Case]:
    """Yield hostile lists: first each known name, value and text in random order, then broken copies of valid lists."""
    rng = random.Random(seed)
    rows: list[tuple[str, dict[str, Any]]] = [
        (f"{kind} as {column}", {"image": "p.png", "mask": "m.png", "out": "a.png", column: value})
        for kind, value in {**NAMES, **VALUES}.items()
        for column in ("image", "mask", "out")
    ]
    forms: tuple[tuple[str, Callable[[dict[str, Any]], bytes]], ...] = ((".csv", _as_csv), (".jsonl", _as_json))
    known = [Case(f"{name} ({suffix})", _writer(form(row), suffix)) for name, row in rows for suffix, form in forms
             if suffix == ".jsonl" or row.get("image") != 10**4000]  # fmt: skip
    known += [Case(f"{name} ({suffix})", _writer(text, suffix)) for name, text in TEXTS.items() for suffix, _ in forms]
    if hasattr(os, "mkfifo"):
        known.append(Case("a named pipe", _write_pipe))
    rng.shuffle(known)
    yield from known[:count]
    good = {"image": "p.png", "mask": "m.png", "out": "deep/a.png"}
    for number in range(count - len(known)):
        suffix, form = rng.choice(forms)
        yield Case(f"mutation {number} ({suffix})", _writer(_mutate(rng, form(good) * 3), suffix))


def read(path: Path) -> None:
    """Do what ``wp infer LIST --resume`` does, with a model that returns photos unchanged.

    Raises:
        WavePaintError: The list is refused.
        AssertionError: The error of a photo has more than one line, or something was written outside the results.
    """
    before, out = sorted(path.parent.iterdir()), path.parent / "out"
    jobs = find_jobs(str(path), None, out)
    check_jobs(jobs, [path], overwrite=False, resume=True)
    for result in fill_jobs(fake_inpainter(), jobs, resume=True):
        assert len(result.error.splitlines()) == (result.status == "failed"), result
    assert sorted(each for each in path.parent.iterdir() if each != out) == before
