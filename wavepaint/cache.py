"""Where things are kept that can be made again."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Return where this package keeps what can be made again: ``WAVEPAINT_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("WAVEPAINT_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "wavepaint"
