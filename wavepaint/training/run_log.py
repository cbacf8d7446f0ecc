"""The log of a run: ``log.jsonl``, sample pictures and TensorBoard events."""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wavepaint.atomic import write_file
from wavepaint.errors import OutputError
from wavepaint.optional import require
from wavepaint.picture_grid import make_grid, mark_hole
from wavepaint.training.reporter import EpochReport

LOG, SAMPLES, EVENTS = "log.jsonl", "samples", "tensorboard"
NUM_SAMPLE_ROWS = 6

Sample = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
"""Image (S, S, 3), mask (S, S) and filled image (S, S, 3)."""


def draw_samples(samples: Sequence[Sample]) -> Image.Image:
    """Return a picture with a row for each sample: the hole, the filled image and the original."""
    rows = [(mark_hole(image, mask), filled, image) for image, mask, filled in samples]
    return make_grid(rows, ("hole", "filled", "original"))


class _EventWriter:
    """Writes TensorBoard events in the calling thread.

    TensorBoard's own writer has a thread that prints a traceback for errors such as a full disk.

    Args:
        folder: The folder that TensorBoard reads.
        purge_step: TensorBoard hides older events from this step on; None hides nothing.
    """

    def __init__(self, folder: Path, purge_step: int | None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        self._make_event = Event
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._stream = (folder / name).open("ab", buffering=0)
        self._writer = RecordWriter(self._stream)
        self._write(file_version="brain.Event:2")
        if purge_step is not None:
            self._write(step=purge_step, session_log=SessionLog(status=SessionLog.START))

    def _write(self, **content: Any) -> None:
        self._writer.write(self._make_event(wall_time=time.time(), **content).SerializeToString())

    def add(self, step: int, scalars: Mapping[str, float], samples_HWC: NDArray[np.uint8]) -> None:
        from torch.utils.tensorboard.summary import image, scalar

        for name, value in scalars.items():
            self._write(step=step, summary=scalar(name, value))  # type: ignore[no-untyped-call]
        self._write(step=step, summary=image("samples", samples_HWC, dataformats="HWC"))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._stream.close()


class RunLog:
    """The log of a run.

    Args:
        out: The folder of the run.
        step: Steps done before. Later entries, which a killed run left, are removed.
        tensorboard: Also write TensorBoard events.

    Raises:
        EngineError: TensorBoard is requested but not installed.
        OutputError: The folder cannot be written.
    """

    def __init__(self, out: Path, *, step: int, tensorboard: bool) -> None:
        self.out = out
        if tensorboard:
            require("tensorboard", extra="tensorboard")
        with self._explain_failure():
            (out / SAMPLES).mkdir(parents=True, exist_ok=True)
            self._remove_after(step)
            self._events = _EventWriter(out / EVENTS, step + 1 if step else None) if tensorboard else None

    @contextmanager
    def _explain_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write the run's folder {self.out}: {error.strerror or error}.") from error

    def _remove_after(self, step: int) -> None:
        path = self.out / LOG
        if not path.exists():
            return
        lines = []
        for line in path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    lines.append(line)
            except (ValueError, KeyError, TypeError):  # the line was cut off when the run was killed
                continue
        with write_file(path, overwrite=True) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines))

    def save_picture(self, epoch: int, picture: Image.Image) -> None:
        """Write the sample picture of an epoch, 0 before the first step; a former one is replaced.

        Raises:
            OutputError: The folder cannot be written, or the disk is full.
        """
        with (
            self._explain_failure(),
            write_file(self.out / SAMPLES / f"epoch_{epoch:04d}.png", overwrite=True) as temporary,
        ):
            picture.save(temporary)

    def add_epoch(self, report: EpochReport, picture: Image.Image) -> None:
        """Log an epoch and write its sample picture.

        Args:
            report: The numbers of the epoch.
            picture: The first validation images and what the network makes of them.

        Raises:
            OutputError: The folder cannot be written, or the disk is full.
        """
        values = report.to_dict()
        with self._explain_failure():
            with (self.out / LOG).open("a") as log:
                log.write(json.dumps(values) + "\n")
            self.save_picture(report.epoch, picture)
            if self._events is not None:
                numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
                scalars = {name: value for name, value in numbers.items() if name not in ("epoch", "step", "best")}
                self._events.add(report.step, scalars, np.asarray(picture))

    def close(self) -> None:
        """Close the TensorBoard file."""
        if self._events is not None:
            self._events.close()
