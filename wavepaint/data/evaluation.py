"""Fixed sets of photos and masks, in the layout of LaMa's tools: ``name.png`` beside ``name_mask000.png``.

LaMa's ``bin/predict.py`` takes every ``*mask*.png`` below a folder for a mask, and for its image the name up to
``_mask`` (https://github.com/advimman/lama). White is the hole.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from wavepaint import __version__
from wavepaint.atomic import check_target, write_folder
from wavepaint.data.masks import MaskSampler, describe_kind
from wavepaint.data.names import encode_name
from wavepaint.data.sources import PhotoSource, find_files
from wavepaint.data.split import hash_share
from wavepaint.data.validation_set import MAX_BROKEN, Pixels, fit_photo
from wavepaint.errors import ConfigError, ImageError, OutputError, TrainingError, WavePaintWarning

RECORD = "masks.json"
MAX_MASKS = 1000
"""The layout has three digits."""

_MASK_NAME = re.compile(r"(?P<image>.+)_mask(?P<number>\d{3})\.png", re.DOTALL)
_IMAGE_SUFFIXES = (".png", ".jpg")


def name_image(name: str) -> str:
    """Return where the photo ``name`` goes, relative and without an ending.

    "mask" becomes "msk" in the last part, since LaMa's tools take every name with it for a mask's.
    """
    path = PurePosixPath(name)
    return path.with_name(path.stem.replace("mask", "msk")).as_posix()


def _check_names(names: Sequence[str]) -> None:
    taken: dict[str, str] = {}
    for name in names:
        former = taken.setdefault(name_image(name), name)
        if former != name:
            raise OutputError(
                f"{former} and {name} would both be written as {name_image(name)}.png. Rename one, or move it into a "
                "folder of its own."
            )


def _check_target(out: Path, source: PhotoSource, overwrite: bool) -> None:
    """Refuse to write over anything but a former set, and above all over the photos."""
    target, root = out.resolve(), source.root.resolve()
    if target == root or target.is_relative_to(root) or root.is_relative_to(target):
        raise OutputError(f"{out} lies in the photos' folder, or holds it. Choose a folder apart (-o).")
    check_target(out, overwrite)
    if out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise OutputError(f"{out} holds something else than a set of masks (no {RECORD}). Choose another folder.")


def write_pairs(
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
    """Write an evaluation set: whole or not at all, the same for the same photos and settings.

    A photo's masks depend on the seed, its name, the kind and their number alone. With several kinds each has a
    folder of its own, as LaMa's tools have it. ``masks.json`` says how the set was made.

    Args:
        source: Where the photos are; they are scaled and cropped in the middle.
        out: New folder.
        kinds: Mask kinds.
        size: Side of images and masks in pixels.
        per_image: Masks for each photo and kind, 1 to 1000.
        seed: Chooses masks, and photos if ``count`` is given.
        count: Take so many photos, in the order of the hash that splits a run's photos too: of a folder that was
            trained on with this seed, those that were held out come first. None takes all.
        silhouettes: Folder of cut-outs for the kind "silhouettes".
        overwrite: Replace a former set.
        on_photo: Called after each photo.

    Returns:
        How many photos were written. Broken ones are reported and others taken in their place while there are any.

    Raises:
        ConfigError: Settings that make no sense.
        OutputError: The folder exists, or cannot be written.
        TrainingError: Fewer photos than ``count``, more than 100 broken ones, or none that can be decoded.
    """
    samplers = _check_settings(kinds, silhouettes, size=size, per_image=per_image, seed=seed)
    _check_target(out, source, overwrite)
    _check_names(source.names)
    wanted = len(source.names) if count is None else count
    if not 1 <= wanted <= len(source.names):
        raise TrainingError(f"--count is {wanted}: {source.root} holds {len(source.names)} photos.")
    names = list(source.names) if count is None else sorted(source.names, key=lambda name: hash_share(name, seed))
    written: list[str] = []
    with write_folder(out, overwrite=overwrite) as folder:
        for name, photo in _read_whole(source, names):
            image = fit_photo(photo, size)
            for kind, sampler in samplers.items():
                place = folder / kind if len(samplers) > 1 else folder
                _write_photo(place / name_image(name), image, kind, name, sampler, seed=seed, per_image=per_image)
            written.append(name)
            on_photo()
            if len(written) == wanted:
                break
        if not written or (count is not None and len(written) < count):
            raise TrainingError(f"{len(written)} of the photos in {source.root} can be decoded; {wanted} were wanted.")
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


def _check_settings(
    kinds: Sequence[str], silhouettes: Path | None, *, size: int, per_image: int, seed: int
) -> dict[str, MaskSampler]:
    """Return a sampler for each kind."""
    for flag, number, least, most in (
        ("--size", size, 2, 2**14),
        ("--per-image", per_image, 1, MAX_MASKS),
        ("--seed", seed, 0, 2**63),
    ):
        if not least <= number <= most:
            raise ConfigError(f"{flag} is {number}: expected {least} to {most}.")
    if len(set(kinds)) < max(len(kinds), 1) or any(":" in kind for kind in kinds):
        raise ConfigError(f"--kinds is {','.join(kinds)}: expected mask kinds, each once and without a weight.")
    return {kind: MaskSampler((kind,), silhouettes) for kind in kinds}


def _read_whole(source: PhotoSource, names: Sequence[str]) -> Iterator[tuple[str, Image.Image]]:
    """Yield the photos that can be decoded; report the others.

    Raises:
        TrainingError: More than 100 are broken.
    """
    num_broken = 0
    for name in names:
        try:
            photo = source.read(name)
        except TrainingError as error:
            num_broken += 1
            if num_broken > MAX_BROKEN:
                raise TrainingError(f"more than {MAX_BROKEN} photos are broken; the last: {error}") from error
            warnings.warn(f"skipped: {error}", WavePaintWarning, stacklevel=2)
            continue
        yield name, photo


def _write_photo(
    place: Path, photo: Pixels, kind: str, name: str, sampler: MaskSampler, *, seed: int, per_image: int
) -> None:
    # Not with_suffix: a name may hold dots of its own.
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).save(place.with_name(f"{place.name}.png"))
    digest = hashlib.sha256(encode_name(f"{kind}/{name}")).digest()
    for number in range(per_image):
        rng = np.random.default_rng((seed, int.from_bytes(digest[:8], "big"), number))
        mask = sampler(photo.shape[0], photo.shape[1], rng)
        Image.fromarray(mask * np.uint8(255)).save(place.with_name(f"{place.name}_mask{number:03d}.png"))


def _write_record(path: Path, settings: dict[str, Any], data: dict[str, Any]) -> None:
    record = {"wavepaint": __version__, "numpy": np.__version__, **settings, "data": data}
    path.write_text(json.dumps(record, indent=2) + "\n")


def _read_pixels(path: Path, mode: str) -> Pixels:
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert(mode))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path} cannot be decoded ({error}). Write the set again with wp masks.") from error


def read_pairs(folder: Path) -> Iterator[tuple[str, Pixels, Pixels]]:
    """Read a set in this layout, of ours or of LaMa's tools, at any depth and in the order of names.

    Args:
        folder: With ``name.png`` or ``name.jpg`` beside ``name_maskNNN.png``.

    Returns:
        An iterator of names ("thin/a_mask000"), images (H, W, 3) and masks (H, W) of 0 and 1 (the hole, white).

    Raises:
        ImageError: There is no mask, or one without its image, before anything is read; later a file that cannot be
            decoded, or a mask of another size than its image.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder} is no folder: give one that wp masks wrote.")
    found: list[tuple[str, Path]] = []
    for name in sorted(find_files(folder)):
        match = _MASK_NAME.fullmatch(name)
        if match is None:
            continue
        candidates = [folder / f"{match['image']}{suffix}" for suffix in _IMAGE_SUFFIXES]
        image = next((path for path in candidates if path.is_file()), None)
        if image is None:
            raise ImageError(f"{folder / name} has no image: expected {candidates[0].name} beside it.")
        found.append((name, image))
    if not found:
        raise ImageError(f"{folder} holds no masks: expected name_mask000.png beside name.png, as wp masks writes.")
    return _read_found(folder, found)


def _read_found(folder: Path, found: list[tuple[str, Path]]) -> Iterator[tuple[str, Pixels, Pixels]]:
    for name, path in found:
        image = _read_pixels(path, "RGB")
        mask = (_read_pixels(folder / name, "L") >= 128).astype(np.uint8)
        if image.shape[:2] != mask.shape:
            raise ImageError(
                f"{folder / name} is {mask.shape[1]}x{mask.shape[0]}, its image {image.shape[1]}x{image.shape[0]}."
            )
        yield name.removesuffix(".png"), image, mask
