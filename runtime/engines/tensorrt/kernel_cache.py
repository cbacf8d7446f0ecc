"""Kernels that TensorRT-RTX compiled on this machine, kept between starts: a plan's take seconds to compile."""

import hashlib
import warnings
from typing import Any

from wavepaint.atomic import write_file
from wavepaint.cache import cache_folder
from wavepaint.errors import OutputError, WavePaintWarning


class KernelCache:
    """What was compiled for one plan, for all of its contexts.

    Args:
        config: The runtime configuration that contexts are made with.
        plan: The plan's content.
        version: The library's.
    """

    def __init__(self, config: Any, plan: bytes, version: str) -> None:
        name = f"{hashlib.sha256(plan).hexdigest()[:16]}.tensorrt-rtx-{version}.kernels"
        self._path = cache_folder() / "plans" / name
        self._kernels = config.create_runtime_cache()
        try:
            self._kept = self._path.read_bytes()
        except OSError:
            self._kept = b""
        if self._kept and not self._kernels.deserialize(self._kept):
            self._kept = b""  # damaged, or of another GPU or driver: the library has looked
        config.set_runtime_cache(self._kernels)

    def keep(self) -> None:
        """Keep what was compiled since; nothing is given up because it cannot be kept."""
        compiled = bytes(self._kernels.serialize())
        if compiled == self._kept:
            return
        try:
            with write_file(self._path, overwrite=True) as temporary:
                temporary.write_bytes(compiled)
            self._kept = compiled
        except OutputError as error:
            warnings.warn(f"the next start compiles kernels again: {error}", WavePaintWarning, stacklevel=3)
