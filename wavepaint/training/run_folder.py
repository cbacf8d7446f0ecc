"""The folder of a run: its checkpoints and its split.

``last.pt`` contains everything needed to resume. ``best.pt`` contains the weights of the best validation, ready for
``wp export``. ``split.json`` lists the photos of each subset. :mod:`wavepaint.training.run_log` writes the log and the
sample pictures beside them. Every file is replaced atomically, so the last good state survives any failure.
"""

import platform
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wavepaint import __version__
from wavepaint.atomic import exists
from wavepaint.data.split import SPLIT as SPLIT  # a name of this module, too
from wavepaint.data.split import Split, check_split, write_split
from wavepaint.errors import CheckpointError, OutputError, WavePaintWarning
from wavepaint.training.config import RunConfig, find_differences, read_config
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.estimates import DiskUse
from wavepaint.training.run_log import SAMPLES
from wavepaint.weights.checkpoint import Checkpoint, read_checkpoint, save_checkpoint

LAST, BEST = "last.pt", "best.pt"


class RunFolder:
    """The folder of a run.

    Args:
        path: The folder. It need not exist.
        inputs: Folders and archives that the run reads photos from.
        resume: Whether to resume the run in the folder.

    Raises:
        OutputError: The folder of a new run contains a run already, or lies among the photos.
        CheckpointError: There is no run to resume.
    """

    def __init__(self, path: Path, inputs: Iterable[Path], *, resume: bool) -> None:
        self.path = path
        self.resume = resume
        if not resume:
            for folder in inputs:
                self._check_apart(folder)
        if self.last.exists() and not resume:
            raise OutputError(f"{path} contains a run already: pass --resume to continue it, or choose another folder.")
        if resume and not self.last.exists():
            raise CheckpointError(f"{self.last} does not exist, so there is nothing to resume: leave --resume out.")

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.path / LAST

    def _check_apart(self, folder: Path) -> None:
        """Refuse to write sample pictures where the next run would find them as photos."""
        samples, photos = (self.path / SAMPLES).resolve(), folder.resolve()
        inside = samples.is_relative_to(photos)
        if inside and not any(part.startswith(".") for part in samples.relative_to(photos).parts):
            raise OutputError(
                f"the run's folder {self.path} is among the photos in {folder}, where its sample pictures would be "
                "taken for photos: choose a folder outside (-o)."
            )

    def check_space(self, use: DiskUse) -> int:
        """Compare the space that a run needs with the space that is free, which is returned in bytes.

        Raises:
            OutputError: There is too little space for the checkpoints.
        """
        place = self.path.resolve()
        folder = next(path for path in (place, *place.parents) if exists(path))
        free = shutil.disk_usage(folder).free
        free_mb = f"{free / 1e6:,.0f} MB are free"
        if use.checkpoints > free:
            raise OutputError(
                f"the checkpoints in {self.path} need {use.checkpoints / 1e6:,.0f} MB, and {free_mb}: "
                "free space, or choose a folder on another disk (-o)."
            )
        if use.total > free:
            warnings.warn(
                f"the run's files need up to {use.total / 1e6:,.0f} MB, and {free_mb}. The sample pictures "
                "may fill the disk; the run then stops, and --resume continues it.",
                WavePaintWarning,
                stacklevel=3,
            )
        return free

    def write_split(self, split: Split) -> None:
        """Write the split of a new run; compare that of a resumed run.

        Raises:
            TrainingError: The split of a resumed run has changed.
            OutputError: The file cannot be written.
        """
        path = self.path / SPLIT
        if self.resume and path.exists():
            check_split(path, split)
        else:
            write_split(path, split, overwrite=True)

    def _read_last(self) -> tuple[Checkpoint, RunConfig]:
        checkpoint = read_checkpoint(self.last)
        if not checkpoint.resume:
            raise CheckpointError(f"{self.last} contains only weights and cannot be resumed.")
        # A setting that was added after the run began gets its default.
        return checkpoint, read_config(checkpoint.training["config"])

    def read_settings(self) -> RunConfig:
        """Return the configuration of the run.

        Raises:
            CheckpointError: The checkpoint cannot be read, or contains only weights.
        """
        return self._read_last()[1]

    def read_last(self, config: RunConfig, context: DistributedContext) -> Checkpoint:
        """Read the checkpoint to resume from.

        Raises:
            CheckpointError: It contains only weights, or was trained with other settings.
        """
        checkpoint, saved = self._read_last()
        differing = find_differences(saved.to_dict(), config.to_dict())
        if differing:
            raise CheckpointError(
                f"{self.last} was trained with other settings ({', '.join(differing)}): resume with the same ones."
            )
        num_processes = int(checkpoint.resume["world_size"])
        if num_processes != context.size:
            warnings.warn(
                f"the run used {num_processes} process(es) so far and continues with {context.size}: its weights will "
                "differ by rounding from those of an uninterrupted run.",
                WavePaintWarning,
                stacklevel=3,
            )
        return checkpoint

    def save(
        self,
        name: str,
        model: nn.Module,
        config: RunConfig,
        *,
        training: Mapping[str, Any],
        resume: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a checkpoint.

        Args:
            name: ``LAST`` or ``BEST``.
            model: The weights to save.
            config: The configuration of the run.
            training: Facts of the run, for the checkpoint's training record.
            resume: State to resume from.

        Raises:
            OutputError: The folder cannot be written, or the disk is full.
        """
        record = {
            **training,
            "config": config.to_dict(),
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "versions": {"wavepaint": __version__, "torch": str(torch.__version__)},
        }
        with self.explain_failure():
            save_checkpoint(
                self.path / name,
                model,
                architecture=config.architecture,
                parameters=config.hyper_parameters,
                training=record,
                resume=resume,
            )

    @contextmanager
    def explain_failure(self) -> Iterator[None]:
        """Extend write errors by the way to continue the run."""
        try:
            yield
        except OutputError as error:
            hint = " The last saved state is intact: free space and pass --resume." if self.last.exists() else ""
            raise OutputError(f"{error}{hint}") from error
