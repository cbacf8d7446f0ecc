"""A cache on disk of the kernels that TensorRT-RTX compiles on this machine. Compiling takes seconds for a plan."""

import hashlib
import warnings
from typing import Any

from wavepaint.atomic import write_file
from wavepaint.cache_folder import cache_folder
from wavepaint.errors import OutputError, WavePaintWarning


class KernelCache:
    """The compiled kernels of one plan, for all of its execution contexts.

    Args:
        config: The runtime configuration with which contexts are created.
        plan: The plan.
        version: Version of the library.
    """

    def __init__(self, config: Any, plan: bytes, version: str) -> None:
        name = f"{hashlib.sha256(plan).hexdigest()[:16]}.tensorrt-rtx-{version}.kernels"
        self._path = cache_folder() / "plans" / name
        self._kernels = config.create_runtime_cache()
        try:
            self._cached = self._path.read_bytes()
        except OSError:
            self._cached = b""
        # The library refuses kernels that are damaged, or of another GPU or driver.
        if self._cached and not self._kernels.deserialize(self._cached):
            self._cached = b""
        config.set_runtime_cache(self._kernels)

    def save(self) -> None:
        """Write the kernels if new ones were compiled. A failure only warns, because they can be compiled again."""
        compiled = bytes(self._kernels.serialize())
        if compiled == self._cached:
            return
        try:
            with write_file(self._path, overwrite=True) as temporary:
                temporary.write_bytes(compiled)
            self._cached = compiled
        except OutputError as error:
            warnings.warn(f"the next start compiles kernels again: {error}", WavePaintWarning, stacklevel=3)
