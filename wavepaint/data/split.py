"""Which photos train, which validate, which test: fixed by a hash, written down, checked."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from wavepaint.atomic import write_file
from wavepaint.data.names import encode_name
from wavepaint.errors import ConfigError, TrainingError


@dataclass(frozen=True, kw_only=True)
class Split:
    """Names of photos, each on one side.

    Attributes:
        train: In the order they were given.
        val: Validation.
        test: Held out from both; empty unless asked for.
        seed: That chose the sides.
        val_fraction: Share that was asked for.
        test_fraction: Share that was asked for.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...] = ()
    seed: int = 0
    val_fraction: float = 0.0
    test_fraction: float = 0.0


def hash_share(name: str, seed: int) -> float:
    """Return a number in [0, 1) that depends on the name and the seed alone."""
    # Seed 0 hashes the name by itself, so that runs from before there was a seed keep their sides.
    digest = hashlib.sha256((f"{seed}\0".encode() if seed else b"") + encode_name(name)).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_names(names: Iterable[str], *, seed: int, val_fraction: float, test_fraction: float = 0.0) -> Split:
    """Split by a hash of each name, so that a photo stays on its side when others come or go.

    Where a share of few photos comes to none, the one with the smallest hash is taken, so that there is at least one.

    Args:
        names: Of the photos, relative to their root.
        seed: 0 or more.
        val_fraction: Share for validation, above 0.
        test_fraction: Share that neither trains nor validates; the paper has 0.1 and 0.1.

    Raises:
        ConfigError: Shares that leave nothing to train on.
        TrainingError: Too few photos.
    """
    if not (val_fraction > 0 and test_fraction >= 0 and val_fraction + test_fraction < 1):
        raise ConfigError(
            f"the shares for validation ({val_fraction}, --val-fraction) and test ({test_fraction}, --test-fraction) "
            "must be above 0 (test: 0 or more) and leave something to train on."
        )
    shares = {name: hash_share(name, seed) for name in names}
    needed = 3 if test_fraction else 2
    if len(shares) < needed:
        uses = "train, to validate and to test" if test_fraction else "train and to validate"
        raise TrainingError(f"there are {len(shares)} photo(s): {needed} or more are needed to {uses}.")
    val = [name for name, share in shares.items() if share < val_fraction]
    test = [name for name, share in shares.items() if val_fraction <= share < val_fraction + test_fraction]
    train = [name for name, share in shares.items() if share >= val_fraction + test_fraction]
    for side, wanted in ((val, True), (test, test_fraction > 0), (train, True)):
        if wanted and not side:
            largest = max((train, val, test), key=len)
            side.append((max if side is train else min)(largest, key=shares.__getitem__))
            largest.remove(side[0])
    return Split(
        train=tuple(train),
        val=tuple(val),
        test=tuple(test),
        seed=seed,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
    )


def write_split(path: Path, split: Split, *, overwrite: bool = False) -> None:
    """Write a split as JSON, whole or not at all.

    Raises:
        OutputError: It cannot be written, or is there already and ``overwrite`` is false.
    """
    with write_file(path, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(asdict(split), indent=0) + "\n")


def read_split(path: Path) -> Split:
    """Read what :func:`write_split` wrote.

    Raises:
        TrainingError: The file is missing, unreadable or something else.
    """
    try:
        values = json.loads(path.read_text())
        if not isinstance(values, dict) or set(values) != {field.name for field in fields(Split)}:
            raise ValueError("other keys than a split has")
        for side in ("train", "val", "test"):
            if not isinstance(values[side], list) or not all(isinstance(name, str) for name in values[side]):
                raise ValueError(f"{side} is no list of names")
            values[side] = tuple(values[side])
        return Split(**values)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is no readable split of a run ({error}). Begin the run anew.") from error


def check_split(path: Path, split: Split) -> None:
    """Compare a split with the one written down when the run began.

    Raises:
        TrainingError: They differ, or the file cannot be read.
    """
    former = read_split(path)
    for side in ("train", "val", "test"):
        before, now = set(getattr(former, side)), set(getattr(split, side))
        if before != now:
            example = min(before ^ now)
            raise TrainingError(
                f"the photos are not those the run began with: {side} had {len(before)}, {len(before - now)} of them "
                f"are gone and {len(now - before)} are new ({example!r} for one). Give the same photos, or begin a new "
                "run."
            )
