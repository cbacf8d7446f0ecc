"""Evaluation sets: fixed photos and masks in the layout of LaMa's tools, ``name.png`` beside ``name_mask000.png``.

LaMa's ``bin/predict.py`` treats every ``*mask*.png`` below a folder as a mask. The name of its image ends before
``_mask`` (https://github.com/advimman/lama). White marks the hole.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from wavepaint import __version__
from wavepaint.atomic import check_target, write_folder
from wavepaint.data.masks import MaskSampler, describe_kind
from wavepaint.data.names import encode_name
from wavepaint.data.sources import PhotoSource
from wavepaint.data.split import hash_share
from wavepaint.data.validation_set import Pixels, fit_photo, read_photos
from wavepaint.errors import ConfigError, OutputError, TrainingError

RECORD = "masks.json"
MAX_MASKS = 1000
"""The layout numbers masks with three digits."""


def name_image(name: str) -> str:
    """Return the relative path of a photo in the set, without its ending.

    "mask" in the file name becomes "msk", because LaMa's tools treat every name with "mask" as a mask.
    """
    path = PurePosixPath(name)
    return path.with_name(path.stem.replace("mask", "msk")).as_posix()


def _check_names(names: Sequence[str]) -> None:
    taken: dict[str, str] = {}
    for name in names:
        former = taken.setdefault(name_image(name), name)
        if former != name:
            raise OutputError(
                f"{former} and {name} would both be written as {name_image(name)}.png: rename one, or move it to "
                "another folder."
            )


def _check_target(out: Path, source: PhotoSource, overwrite: bool) -> None:
    """Refuse to replace anything but an older set, and to write among the photos."""
    target, root = out.resolve(), source.root.resolve()
    if target == root or target.is_relative_to(root) or root.is_relative_to(target):
        raise OutputError(f"{out} is inside the folder of the photos, or contains it: choose a separate folder (-o).")
    check_target(out, overwrite)
    if out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise OutputError(f"{out} is not a set of masks, because it has no {RECORD}: choose another folder.")


def write_evaluation_set(
    source: PhotoSource,
    out: Path,
    kinds: Sequence[str],
    *,
    size: int = 256,
    per_image: int = 1,
    seed: int = 0,
    count: int | None = None,
    silhouettes: Path | None = None,
    overwrite: bool = False,
    on_photo: Callable[[], object] = lambda: None,
) -> int:
    """Write an evaluation set atomically. The same photos and settings give the same set.

    A mask depends only on the seed, the photo's name, the kind and its number. Several kinds get a folder each, as in
    LaMa's tools. ``masks.json`` records the settings.

    Args:
        source: The photos. They are scaled and their centres cropped.
        out: The new folder.
        kinds: Mask kinds.
        size: Side of images and masks in pixels.
        per_image: Masks per photo and kind, 1 to 1000.
        seed: Seed of the masks, and of the choice of photos if ``count`` is given.
        count: Number of photos; None takes all. The hash that also splits the photos of a run selects them. For a
            folder used in training with this seed, held-out photos come first.
        silhouettes: Folder of cut-outs for the kind "silhouettes".
        overwrite: Replace an older set.
        on_photo: Called after each photo.

    Returns:
        The number of photos written. Broken photos are reported, and other photos take their places.

    Raises:
        ConfigError: A setting is out of range.
        OutputError: The folder exists, or cannot be written.
        TrainingError: There are fewer photos than ``count``, more than 100 broken ones, or none can be decoded.
    """
    samplers = _check_settings(kinds, silhouettes, size=size, per_image=per_image, seed=seed)
    _check_target(out, source, overwrite)
    _check_names(source.names)
    wanted = len(source.names) if count is None else count
    if not 1 <= wanted <= len(source.names):
        raise _explain_count(wanted, len(source.names), source.root, per_image)
    names = list(source.names) if count is None else sorted(source.names, key=lambda name: hash_share(name, seed))
    written: list[str] = []
    with write_folder(out, overwrite=overwrite) as folder:
        for index, photo in read_photos(source, names):
            name = names[index]
            image = fit_photo(photo, size)
            for kind, sampler in samplers.items():
                place = folder / kind if len(samplers) > 1 else folder
                _write_photo(place / name_image(name), image, kind, name, sampler, seed=seed, per_image=per_image)
            written.append(name)
            on_photo()
            if len(written) == wanted:
                break
        if not written or (count is not None and len(written) < count):
            raise TrainingError(
                f"only {len(written)} of the photos in {source.root} can be decoded, and {wanted} were requested."
            )
        settings = {
            "kinds": list(samplers),
            "masks": {kind: describe_kind(kind) for kind in samplers},
            "size": size,
            "per_image": per_image,
            "seed": seed,
            "count": count,
        }
        _write_record(folder / RECORD, settings, source.describe(sorted(written)))
    return len(written)


def _explain_count(wanted: int, num_photos: int, root: Path, per_image: int) -> TrainingError:
    message = f"--count is {wanted}: expected 1 to {num_photos}, the photos in {root}."
    needed = math.ceil(wanted * per_image / num_photos)
    if per_image < needed <= MAX_MASKS:
        message += f" Several masks a photo make up for few photos: leave --count out, and pass --per-image {needed}."
    return TrainingError(message)


def _check_settings(
    kinds: Sequence[str], silhouettes: Path | None, *, size: int, per_image: int, seed: int
) -> dict[str, MaskSampler]:
    """Check the settings; return a sampler for each kind."""
    for flag, number, least, most in (
        ("--size", size, 2, 2**14),
        ("--per-image", per_image, 1, MAX_MASKS),
        ("--seed", seed, 0, 2**63),
    ):
        if not least <= number <= most:
            raise ConfigError(f"{flag} is {number}: expected {least} to {most}.")
    if len(set(kinds)) < max(len(kinds), 1) or any(":" in kind for kind in kinds):
        raise ConfigError(f"--kinds is {','.join(kinds)}: expected mask kinds without weights, each once.")
    return {kind: MaskSampler((kind,), silhouettes) for kind in kinds}


def draw_evaluation_mask(
    sampler: MaskSampler, size: int, kind: str, name: str, *, seed: int, number: int = 0
) -> Pixels:
    """Draw a mask (S, S) of 0 and 1 of an evaluation set, which depends on nothing but the arguments.

    Args:
        sampler: Draws masks of the kind.
        size: S, in pixels.
        kind: The kind.
        name: The photo's name.
        seed: Seed of the set.
        number: Number of the mask among those of the photo and kind.
    """
    digest = hashlib.sha256(encode_name(f"{kind}/{name}")).digest()
    return sampler(size, size, np.random.default_rng((seed, int.from_bytes(digest[:8], "big"), number)))


def _write_photo(
    place: Path, photo: Pixels, kind: str, name: str, sampler: MaskSampler, *, seed: int, per_image: int
) -> None:
    # with_suffix would cut a name at its last dot.
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).save(place.with_name(f"{place.name}.png"))
    for number in range(per_image):
        mask = draw_evaluation_mask(sampler, photo.shape[0], kind, name, seed=seed, number=number)
        Image.fromarray(mask * np.uint8(255)).save(place.with_name(f"{place.name}_mask{number:03d}.png"))


def _write_record(path: Path, settings: dict[str, Any], data: dict[str, Any]) -> None:
    record = {"wavepaint": __version__, "numpy": np.__version__, **settings, "data": data}
    path.write_text(json.dumps(record, indent=2) + "\n")
