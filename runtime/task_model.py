"""A bundle for one task, opened in an engine: what classifiers, segmenters and networks for super-resolution share."""

import os
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from wavepaint.arguments import check_type
from wavepaint.contract import Precision, Task, read_bundle
from wavepaint.errors import EngineError
from wavepaint.runtime.engines.engine import Auto, EngineName
from wavepaint.runtime.engines.registry import check_execution, open_session
from wavepaint.runtime.engines.session import Closeable


class TaskModel(Closeable):
    """A model for one task, loaded once and used for many photos. Close it, or use it as a context manager.

    Args:
        bundle: Folder of a bundle for this task.
        engine: The engine that runs the model; ``auto`` takes the fastest that works on this machine.
        precision: Arithmetic precision; ``auto`` takes the engine's fastest verified one.
        threads: CPU threads; None lets the engine choose.

    Attributes:
        task: What the model is for.
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
        self._session = open_session(self.bundle, engine=engine, precision=precision, threads=threads)
        self.engine = f"{self._session.engine} {self._session.arithmetic}"

    def _require_finite(self, output: NDArray[np.float32]) -> None:
        """Raise :class:`EngineError` for values that are NaN or infinite."""
        if not np.isfinite(output).all():
            raise EngineError(f"{self.engine} returned values that are not finite. Try another --engine.")

    def close(self) -> None:
        """Free the engine."""
        self._session.close()
