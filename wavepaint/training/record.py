"""What a run leaves in its folder beside its checkpoints: a log, sample pictures, and TensorBoard's events."""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavepaint.atomic import write_file
from wavepaint.errors import OutputError
from wavepaint.grid import make_grid, mark_hole
from wavepaint.optional import require

LOG, SAMPLES, EVENTS = "log.jsonl", "samples", "tensorboard"
NUM_SAMPLE_ROWS = 6


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What an epoch came to.

    Attributes:
        epoch: Counted from 1.
        step: Steps so far.
        stage: Optimizer, "adamw" or "sgd".
        learning_rate: Of its last step.
        loss: Mean training loss.
        parts: Means of the weighted losses it is made of, and of the discriminator's.
        val_psnr_db: Mean PSNR inside the hole of the validation images.
        val_ssim: Mean SSIM inside the hole.
        val_lpips: Mean LPIPS inside the hole; None where no perceptual network is loaded.
        images_per_s: Training throughput of all processes, loading included, validation not.
        loader_share: Share of that time in which the training waited for photos.
        best: Whether this is the best epoch so far.
    """

    epoch: int
    step: int
    stage: str
    learning_rate: float
    loss: float
    parts: Mapping[str, float] = field(default_factory=dict)
    val_psnr_db: float
    val_ssim: float
    val_lpips: float | None
    images_per_s: float
    loader_share: float
    best: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it flat; a part ``x`` of the loss is ``loss_x``."""
        values = dict(self.__dict__)
        parts = values.pop("parts")
        return {**values, **{f"loss_{name}": value for name, value in parts.items()}}


class _Events:
    """TensorBoard's events, written as they come.

    TensorBoard's own writer has a thread, which prints the traceback of an error such as a full disk by itself.

    Args:
        folder: Where TensorBoard looks for them.
        purge_step: What earlier files have from this step on is not shown; None keeps all.
    """

    def __init__(self, folder: Path, purge_step: int | None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        self._make = Event
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._stream = (folder / name).open("ab", buffering=0)
        self._writer = RecordWriter(self._stream)
        self._add(file_version="brain.Event:2")
        if purge_step is not None:
            self._add(step=purge_step, session_log=SessionLog(status=SessionLog.START))

    def _add(self, **content: Any) -> None:
        self._writer.write(self._make(wall_time=time.time(), **content).SerializeToString())

    def add(self, step: int, scalars: Mapping[str, float], samples_HWC: NDArray[np.uint8]) -> None:
        from torch.utils.tensorboard.summary import image, scalar

        for name, value in scalars.items():
            self._add(step=step, summary=scalar(name, value))  # type: ignore[no-untyped-call]
        self._add(step=step, summary=image("samples", samples_HWC, dataformats="HWC"))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._stream.close()


class RunRecord:
    """The log of a run.

    Args:
        out: The run's folder.
        step: Where the run begins or goes on; what a killed run logged after that step is removed.
        tensorboard: Write events for TensorBoard as well.

    Raises:
        EngineError: TensorBoard is asked for and not installed.
        OutputError: The folder cannot be written.
    """

    def __init__(self, out: Path, *, step: int, tensorboard: bool) -> None:
        self.out = out
        if tensorboard:
            require("tensorboard", extra="tensorboard")
        with self._tell_of_failure():
            (out / SAMPLES).mkdir(parents=True, exist_ok=True)
            self._cut_log(step)
            self._events = _Events(out / EVENTS, step + 1 if step else None) if tensorboard else None

    @contextmanager
    def _tell_of_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write the run's folder {self.out}: {error.strerror or error}.") from error

    def _cut_log(self, step: int) -> None:
        path = self.out / LOG
        if not path.exists():
            return
        kept = []
        for line in path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):  # a line cut off as the run was killed
                continue
        with write_file(path, overwrite=True) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept))

    def add_epoch(
        self, report: EpochReport, samples: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]]
    ) -> None:
        """Log an epoch and draw its sample picture.

        Args:
            report: What it came to.
            samples: Image (S, S, 3), mask (S, S) and filled image (S, S, 3) of the first validation images.

        Raises:
            OutputError: The folder cannot be written, or is full.
        """
        values = report.as_dict()
        rows = [(mark_hole(image, mask), filled, image) for image, mask, filled in samples]
        picture = make_grid(rows, ("hole", "filled", "original"))
        with self._tell_of_failure():
            with (self.out / LOG).open("a") as log:
                log.write(json.dumps(values) + "\n")
            with write_file(self.out / SAMPLES / f"epoch_{report.epoch:04d}.png", overwrite=True) as temporary:
                picture.save(temporary)
            if self._events is not None:
                numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
                scalars = {name: value for name, value in numbers.items() if name not in ("epoch", "step", "best")}
                self._events.add(report.step, scalars, np.asarray(picture))

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._events is not None:
            self._events.close()
