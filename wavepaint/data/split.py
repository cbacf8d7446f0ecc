"""The split into training, validation and test photos: decided by a hash of each name, stored and checked."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from wavepaint.atomic import write_file
from wavepaint.data.names import encode_name
from wavepaint.errors import ConfigError, TrainingError

SPLIT = "split.json"
"""Name of the file in the folder of a run."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The names of the photos in each subset.

    Attributes:
        train: Training photos, in their original order.
        val: Validation photos.
        test: Test photos, held out from both; empty unless requested.
        seed: The seed of the split.
        val_fraction: Requested share of validation photos.
        test_fraction: Requested share of test photos.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...] = ()
    seed: int = 0
    val_fraction: float = 0.0
    test_fraction: float = 0.0


def hash_share(name: str, seed: int) -> float:
    """Return a number in [0, 1) that depends only on the name and the seed."""
    # Seed 0 hashes only the name, so that runs from before there was a seed keep their split.
    digest = hashlib.sha256((f"{seed}\0".encode() if seed else b"") + encode_name(name)).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_names(names: Iterable[str], *, seed: int, val_fraction: float, test_fraction: float = 0.0) -> Split:
    """Split photos by a hash of each name. A photo stays in its subset when others are added or removed.

    If a share selects no photo, its subset gets the photo with the smallest hash.

    Args:
        names: Names of the photos, relative to their root.
        seed: 0 or more.
        val_fraction: Share of validation photos, above 0.
        test_fraction: Share of photos that neither train nor validate. The paper uses 0.1 for both shares.

    Raises:
        ConfigError: The shares leave nothing to train on.
        TrainingError: There are too few photos.
    """
    if not (val_fraction > 0 and test_fraction >= 0 and val_fraction + test_fraction < 1):
        raise ConfigError(
            f"the shares of validation ({val_fraction}, --val-fraction) and test ({test_fraction}, --test-fraction) "
            "leave nothing to train on, or are negative: expected a sum below 1, validation above 0, test 0 or more."
        )
    shares = {name: hash_share(name, seed) for name in names}
    needed = 3 if test_fraction else 2
    if len(shares) < needed:
        uses = "training, validation and test" if test_fraction else "training and validation"
        raise TrainingError(
            f"there are {len(shares)} photo(s), but {uses} need {needed} or more: add photos, "
            "or name photos for validation (--val-data)."
        )
    val = [name for name, share in shares.items() if share < val_fraction]
    test = [name for name, share in shares.items() if val_fraction <= share < val_fraction + test_fraction]
    train = [name for name, share in shares.items() if share >= val_fraction + test_fraction]
    for subset, wanted in ((val, True), (test, test_fraction > 0), (train, True)):
        if wanted and not subset:
            largest = max((train, val, test), key=len)
            subset.append((max if subset is train else min)(largest, key=shares.__getitem__))
            largest.remove(subset[0])
    return Split(
        train=tuple(train),
        val=tuple(val),
        test=tuple(test),
        seed=seed,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
    )


def write_split(path: Path, split: Split, *, overwrite: bool = False) -> None:
    """Write a split as JSON, atomically.

    Raises:
        OutputError: The file cannot be written, or exists and ``overwrite`` is false.
    """
    with write_file(path, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(asdict(split), indent=0) + "\n")


def read_split(path: Path) -> Split:
    """Read a split that :func:`write_split` wrote.

    Raises:
        TrainingError: The file is missing, unreadable or not a split.
    """
    try:
        values = json.loads(path.read_text())
        if not isinstance(values, dict) or set(values) != {field.name for field in fields(Split)}:
            raise ValueError("its keys are not those of a split")
        for subset in ("train", "val", "test"):
            if not isinstance(values[subset], list) or not all(isinstance(name, str) for name in values[subset]):
                raise ValueError(f"{subset} is not a list of names")
            values[subset] = tuple(values[subset])
        return Split(**values)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is not a readable split of a run ({error}): start a new run.") from error


def check_split(path: Path, split: Split) -> None:
    """Compare a split with the stored split of a run.

    Raises:
        TrainingError: They differ, or the file cannot be read.
    """
    former = read_split(path)
    for subset in ("train", "val", "test"):
        before, now = set(getattr(former, subset)), set(getattr(split, subset))
        if before != now:
            example = min(before ^ now)
            raise TrainingError(
                f"the photos are not those the run began with: {len(before - now)} of {len(before)} {subset} photos "
                f"are gone, and {len(now - before)} are new (for example {example!r}). Pass the same photos, or start "
                "a new run."
            )
