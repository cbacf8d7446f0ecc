"""What a program does with size, alpha, metadata, depth and masks: one file for each question, by its own command."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from wavepaint.bench.peer_inputs import Pair
from wavepaint.bench.peer_process import run_command
from wavepaint.bench.peer_race import Setup
from wavepaint.bench.peers import Contender, fill_in

_SIZE = (331, 253)
"""Width and height of the photos: no multiple of 8."""
_HOLE, _GREY = (120, 90, 160, 130), (220, 90, 260, 130)
_GREY_LEVEL = 100
_CAMERA = "A camera"
_UPSIDE_DOWN = 3
"""The EXIF orientation of a photo that was taken with the camera upside down."""
_SAME_LEVELS = 12.0
"""Mean difference in levels below which two JPEG photos show the same."""


@dataclass(frozen=True)
class Question:
    """A file and what to look for in its result.

    Attributes:
        titles: The rows of the table.
        pair: Photo and mask.
        look: Returns an answer for each row, from the photo and the result.
    """

    titles: tuple[str, ...]
    pair: Pair
    look: Callable[[Image.Image, Image.Image], tuple[str, ...]]


def make_questions(photo: Path, folder: Path) -> list[Question]:
    """Make the files.

    Args:
        photo: The photo that all of them show.
        folder: Where to write them.
    """
    with Image.open(photo) as opened:
        image = ImageOps.fit(opened.convert("RGB"), _SIZE)
    mask = Image.new("L", _SIZE)
    mask.paste(255, _HOLE)
    mask.save(folder / "mask.png")
    mask.resize((200, 150)).save(folder / "small-mask.png")
    mask.paste(_GREY_LEVEL, _GREY)
    mask.save(folder / "grey-mask.png")
    image.save(folder / "plain.png")
    alpha = Image.linear_gradient("L").resize(_SIZE)
    Image.merge("RGBA", (*image.split(), alpha)).save(folder / "alpha.png")
    deep = np.asarray(image.convert("L")).astype(np.uint16) * 257 + 3
    Image.fromarray(deep).save(folder / "deep.png")
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = _CAMERA, _UPSIDE_DOWN
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.rotate(180).save(folder / "camera.jpg", quality=95, exif=exif, icc_profile=profile)

    def pair(name: str, mask_name: str = "mask.png") -> Pair:
        return Pair(folder / name, folder / mask_name)

    grey = f"pixels of level {_GREY_LEVEL} in the mask"
    camera = ("format for a JPEG photo", "camera in EXIF", "photo taken upside down", "ICC profile", "JPEG quality")
    return [
        Question(("size of 331x253 pixels", "known pixels"), pair("plain.png"), _look_at_plain),
        Question((grey,), pair("plain.png", "grey-mask.png"), _look_at_grey),
        Question(("alpha",), pair("alpha.png"), _look_at_alpha),
        Question(("16 bits",), pair("deep.png"), _look_at_depth),
        Question(camera, pair("camera.jpg"), _look_at_camera),
        Question(
            ("mask of another size",), pair("plain.png", "small-mask.png"), lambda *_: ("is scaled to the photo",)
        ),
    ]


def _look_at_plain(photo: Image.Image, result: Image.Image) -> tuple[str, ...]:
    size = "kept" if result.size == photo.size else f"becomes {result.width}x{result.height}"
    width, height = photo.size
    before, after = np.asarray(photo), np.asarray(result.convert("RGB"))[:height, :width]
    changed = (before != after).any(2)
    left, top, right, bottom = _HOLE
    changed[top:bottom, left:right] = False
    share = changed.sum() / (changed.size - (right - left) * (bottom - top))
    return size, "unchanged" if not share else f"{share:.1%} changed"


def _look_at_grey(photo: Image.Image, result: Image.Image) -> tuple[str, ...]:
    before, after = (np.asarray(one.crop(_GREY).convert("RGB")).astype(int) for one in (photo, result))
    return ("filled" if np.abs(before - after).max() > 2 else "not filled",)


def _look_at_alpha(photo: Image.Image, result: Image.Image) -> tuple[str, ...]:
    if "A" not in result.getbands():
        return ("lost",)
    before, after = (np.asarray(one.getchannel("A")) for one in (photo, result))
    return ("kept" if np.array_equal(before, after) else "changed",)


def _look_at_depth(photo: Image.Image, result: Image.Image) -> tuple[str, ...]:
    return ("kept" if result.mode == photo.mode else f"becomes 8-bit {result.mode}",)


def _look_at_camera(photo: Image.Image, result: Image.Image) -> tuple[str, ...]:
    upright, shown = (np.asarray(ImageOps.exif_transpose(one).convert("RGB")).astype(int) for one in (photo, result))
    height, width = upright.shape[:2]
    is_upright = np.abs(upright - shown[:height, :width]).mean() < _SAME_LEVELS
    before, after = (getattr(one, "quantization", None) for one in (photo, result))
    quality = "no JPEG" if after is None else "kept" if before == after else "lowered or changed"
    return (
        result.format or "",
        "kept" if result.getexif().get(ExifTags.Base.Make) == _CAMERA else "lost",
        "shown upright" if is_upright else "shown upside down",
        "kept" if result.info.get("icc_profile") == photo.info["icc_profile"] else "lost",
        quality,
    )


def ask(contenders: Sequence[Contender], questions: Sequence[Question], setup: Setup) -> list[list[str]]:
    """Return the table of habits, one column for each contender."""
    rows: list[list[Any]] = [["", *(contender.name for contender in contenders)]]
    for question in questions:
        answers = []
        for contender in contenders:
            setup.on_progress(f"habits: {contender.name}, {question.titles[0]}")
            answers.append(_answer(question, contender, setup))
        rows += [[title, *(one[index] for one in answers)] for index, title in enumerate(question.titles)]
    return rows


def _answer(question: Question, contender: Contender, setup: Setup) -> tuple[str, ...]:
    folder = setup.make_folder("habits", contender) / question.pair.mask.stem
    folder.mkdir(exist_ok=True)
    out = folder / question.pair.image.name
    for former in folder.glob(f"{out.stem}.*"):
        former.unlink()
    command = fill_in(contender.single, setup.get_python(contender), question.pair.image, question.pair.mask, out)
    measured, _ = run_command(
        command, setup.environment, setup.limits, setup.make_folder("habits", contender) / "log.txt"
    )
    found = sorted(folder.glob(f"{out.stem}.*"))
    if measured.problem or not found:
        return ("refused",) * len(question.titles)
    with Image.open(question.pair.image) as photo, Image.open(found[0]) as result:
        return question.look(photo, result)
