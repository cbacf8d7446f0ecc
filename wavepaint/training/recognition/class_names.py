"""The classes of images that lie in one folder for each, and how each class is split."""

from collections import Counter
from collections.abc import Iterable, Sequence

from wavepaint.data.sources import ArchiveSource, PhotoSource
from wavepaint.data.split import Split, split_names
from wavepaint.errors import TrainingError, list_names, printable

_SUBSETS = frozenset({"train", "training", "val", "valid", "validation", "test"})
"""Names of folders that are parts of a data set, not classes."""


def find_class(name: str) -> str:
    """Return the class of an image: the first folder in its name."""
    return name.partition("/")[0]


def list_classes(source: PhotoSource) -> list[str]:
    """Return the classes of a source: the first folders in the names of its images, sorted.

    Raises:
        TrainingError: Images are outside of the folders, there are fewer than two classes, a folder has no image, or
            the folders are those of subsets.
    """
    root = source.root
    if isinstance(source, ArchiveSource) and root.is_dir():
        raise TrainingError(
            f"{root} contains archives: expected a folder of images for each class, or one archive of such folders."
        )
    outside = [name for name in source.names if "/" not in name]
    if outside:
        raise TrainingError(
            f"{root} has {len(outside)} image(s) outside of the folders of classes: {list_names(outside)}. Move each "
            "into the folder of its class."
        )
    classes = sorted({find_class(name) for name in source.names})
    folders = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    empty = sorted(name for name in folders if name not in classes and not name.startswith("."))
    if empty:
        raise TrainingError(
            f"{root} has folders of classes without an image: {list_names(empty)}. Add images, or remove the folders."
        )
    if _SUBSETS.issuperset(map(str.lower, classes)):
        raise TrainingError(
            f"the folders in {root} are subsets, not classes: {list_names(classes)}. Pass the one for training, and "
            "the one for validation with --val-data."
        )
    if len(classes) < 2:
        raise TrainingError(
            f"{root} has one class only: {list_names(classes)}. Expected a folder of images for each of two or more "
            "classes."
        )
    return classes


def split_classes(names: Sequence[str], *, seed: int, val_fraction: float, test_fraction: float) -> Split:
    """Split the images of each class as :func:`wavepaint.data.split.split_names` does.

    Raises:
        ConfigError: The shares leave nothing to train on.
        TrainingError: A class has too few images.
    """
    counts, needed = Counter(map(find_class, names)), 3 if test_fraction else 2
    few = [f"{printable(name)} ({count})" for name, count in counts.items() if count < needed]
    if few:
        raise TrainingError(
            f"classes have too few images: {list_names(few)}. Expected {needed} or more in each, to hold some out; add "
            "images, or name others for validation (--val-data)."
        )
    parts = [
        split_names(group, seed=seed, val_fraction=val_fraction, test_fraction=test_fraction)
        for group in _group_by_class(names)
    ]
    train, val, test = (
        tuple(name for part in parts for name in getattr(part, subset)) for subset in ("train", "val", "test")
    )
    return Split(train=train, val=val, test=test, seed=seed, val_fraction=val_fraction, test_fraction=test_fraction)


def _group_by_class(names: Iterable[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(find_class(name), []).append(name)
    return list(groups.values())
