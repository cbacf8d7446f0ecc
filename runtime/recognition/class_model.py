"""What classifiers and segmenters share: open a bundle, prepare a photo, run the model."""

import os
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from wavepaint.arguments import check_type
from wavepaint.contract import Precision, Task, read_bundle
from wavepaint.errors import BundleError, EngineError
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.engines.registry import check_execution, open_session
from wavepaint.runtime.engines.session import Closeable
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.previews import as_rgb
from wavepaint.runtime.recognition.preparation import Prepared, prepare


class ClassModel(Closeable):
    """A model with classes, loaded once and used for many photos. Close it, or use it as a context manager.

    Args:
        bundle: Folder of a bundle of this task.
        engine: The engine that runs the model; ``auto`` takes the fastest that works on this machine.
        precision: Arithmetic precision; ``auto`` takes the engine's fastest verified one.
        threads: CPU threads; None lets the engine choose.

    Attributes:
        task: What the model is for.
        labels: Names of the classes, in the order of the logits.
        engine: Human-readable engine, version, device and arithmetic precision.

    Raises:
        BundleError: The bundle is missing, altered, of another version or of another task.
        EngineError: The engine is not installed or does not load.
        ConfigError: An argument is out of range.
    """

    task: ClassVar[Task]

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        *,
        engine: EngineName | Auto = "auto",
        precision: Precision | Auto = "auto",
        threads: int | None = None,
    ) -> None:
        check_type("bundle", bundle, (str, os.PathLike), "a folder's path")
        check_execution(engine, precision, threads)
        self.bundle = read_bundle(Path(bundle))
        self.bundle.require_task(self.task)
        manifest = self.bundle.manifest
        assert manifest.labels is not None  # the parser checks both
        assert manifest.preprocessing is not None
        self.labels, self._preprocessing = manifest.labels, manifest.preprocessing
        self._session = open_session(self.bundle, engine=engine, precision=precision, threads=threads)
        self.engine = f"{self._session.engine} {self._session.arithmetic}"

    def run(self, photo: Photo) -> tuple[NDArray[np.float32], Prepared]:
        """Return the logits of a photo, (classes, ...), and the input they come from.

        Transparent parts of the photo are put on white.

        Raises:
            EngineError: The engine failed, or the logits are not finite.
            BundleError: The model does not have one logit for each label.
        """
        manifest = self.bundle.manifest
        prepared = prepare(as_rgb(photo), self._preprocessing, manifest.size_multiple, manifest.padding)
        logits = self._session.run(prepared.image)[0]
        if len(logits) != len(self.labels):
            raise BundleError(
                f"{self.bundle.folder} has {len(self.labels)} labels, and its model {len(logits)} classes. Export the "
                "checkpoint again."
            )
        if not np.isfinite(logits).all():
            raise EngineError(f"{self.engine} returned values that are not finite. Try another --engine.")
        return logits, prepared

    def close(self) -> None:
        """Free the engine."""
        self._session.close()
