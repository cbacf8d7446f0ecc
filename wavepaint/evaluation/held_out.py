"""The photos that a training run held out for a test."""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from wavepaint.data.sources import PhotoSource
from wavepaint.data.split import SPLIT, Split, check_split, read_split, split_names
from wavepaint.errors import TrainingError, WavePaintWarning, printable


def find_held_out(run: Path, source: PhotoSource, split_again: Callable[..., Split] = split_names) -> tuple[str, ...]:
    """Return the names of the photos that ``wp train --test-fraction`` held out.

    Args:
        run: Folder of the run.
        source: The photos of the run.
        split_again: How the run held out shares of names, like :func:`wavepaint.data.split.split_names`.

    Raises:
        TrainingError: The folder is not a run's, held out no photos, or its photos have changed: other names, or other
            sizes of the files held out.
        CheckpointError: The run's checkpoint cannot be read.
    """
    path = run / SPLIT
    if not path.is_file():
        raise TrainingError(f"{printable(run)} is not the folder of a training run: it has no {SPLIT} (--held-out).")
    split = read_split(path)
    if not split.test:
        raise TrainingError(f"the training in {printable(run)} held out no photos: train with --test-fraction 0.1.")
    check_split(
        path,
        split_again(source.names, seed=split.seed, val_fraction=split.val_fraction, test_fraction=split.test_fraction),
    )
    from wavepaint.training.run_folder import BEST, LAST
    from wavepaint.weights.checkpoint import read_checkpoint

    checkpoint = next((run / name for name in (BEST, LAST) if (run / name).is_file()), None)
    recorded = read_checkpoint(checkpoint).training.get("data", {}).get("test") if checkpoint else None
    # Runs from before this was recorded have only the names.
    if recorded is not None and recorded != source.describe(split.test):
        raise TrainingError(
            f"the {len(split.test)} photos that {printable(run)} held out are not those of the training: their files "
            "have other sizes. Pass the same photos."
        )
    return split.test


def warn_of_training_photos(run: Path, names: Iterable[str]) -> None:
    """Warn if a run has trained on photos of these names, which make its figures better than it is.

    Raises:
        TrainingError: The run's split cannot be read.
    """
    known = set(read_split(run / SPLIT).train) & set(names)
    if known:
        warnings.warn(
            f"{printable(run)} trained on photos with the names of {len(known)} of these. If they are the same, the "
            f"figures are too good: pass --held-out {printable(run)}, or other photos.",
            WavePaintWarning,
            stacklevel=2,
        )
