"""Write a study as one HTML file, with style, script and pictures inside."""

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wavepaint.atomic import write_file
from wavepaint.errors import ImageError
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.previews import as_rgb, make_overlay
from wavepaint.study.trials import Trial

PAGE_FOLDER = Path(__file__).parent / "page"

QUESTION = "Which picture looks more natural?"


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What the page needs beside its trials.

    Attributes:
        methods: Names of A and B in the answers. The page does not show them.
        question: The question above the pictures.
        seed: Start of the random order and sides. Each participant gets an order of their own.
        max_side: Longest side of the pictures in pixels; larger ones are scaled down.
    """

    methods: tuple[str, str]
    question: str = QUESTION
    seed: int = 0
    max_side: int = 1024


def write_study(path: Path, trials: Iterable[Trial], options: StudyOptions, *, overwrite: bool = False) -> int:
    """Write the page; return its number of trials.

    Pictures are lossless WebP, so that both methods are shown exactly, up to ``max_side``.

    Raises:
        ImageError: There is no trial.
        OutputError: The file cannot be written.
    """
    rows = [_describe_trial(trial, options.max_side) for trial in trials]
    if not rows:
        raise ImageError("there is nothing to compare: no image is left in which the two methods differ.")
    study = {"question": options.question, "seed": options.seed, "methods": options.methods, "trials": rows}
    # Answers in the browser's storage belong to this very study.
    study["id"] = hashlib.sha256(json.dumps(study).encode()).hexdigest()[:12]
    with write_file(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(_make_page(study).encode())
    return len(rows)


def _describe_trial(trial: Trial, max_side: int) -> dict[str, Any]:
    rows, columns = (np.flatnonzero(trial.hole.any(axis=axis)) for axis in (1, 0))
    height, width = trial.hole.shape
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    box = (left / width, top / height, (right - left) / width, (bottom - top) / height)
    marked = Photo(np.asarray(make_overlay(trial.photo, trial.hole)), save_options=trial.photo.save_options)
    first, second = trial.fills
    return {
        "image": trial.name,
        "size": (width, height),
        "hole": [round(float(share), 4) for share in box],
        "original": _encode(marked, max_side),
        "A": _encode(first, max_side),
        "B": _encode(second, max_side),
    }


def _encode(photo: Photo, max_side: int) -> str:
    """Return a picture as a data URL."""
    picture = Image.fromarray(as_rgb(photo))
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    profile = photo.save_options.get("icc_profile") if photo.num_colours == 3 else None
    stream = io.BytesIO()
    picture.save(stream, "WEBP", lossless=True, method=4, icc_profile=profile or b"")
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def _make_page(study: dict[str, Any]) -> str:
    style, script = ((PAGE_FOLDER / name).read_text("utf-8") for name in ("style.css", "study.js"))
    parts = {
        "policy": _make_policy(style, script),
        "question": html.escape(str(study["question"])),
        "style": style,
        "script": script,
        # No name of an image may end the element.
        "study": json.dumps(study, separators=(",", ":")).replace("<", "\\u003c"),
    }
    template = (PAGE_FOLDER / "index.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _make_policy(style: str, script: str) -> str:
    """Return a content security policy under which only this style and script work, and nothing is requested."""

    def allow(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; img-src data:; style-src {allow(style)}; script-src {allow(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def name_methods(first: Path, second: Path, names: Sequence[str] = ()) -> tuple[str, str]:
    """Return the names of two methods: the given ones, or those of the folders, as long as they differ."""
    found = names or [path.resolve().name for path in (first, second)]
    return (found[0], found[1]) if found[0] != found[1] else (str(first), str(second))
