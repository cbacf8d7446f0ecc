"""The folder for files that can be recreated, such as engines' plans and downloaded weights."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return this package's cache folder: ``WAVEPAINT_CACHE`` if set, else ``wavepaint`` in the user's cache folder."""
    chosen = os.environ.get("WAVEPAINT_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("wavepaint", appauthor=False, opinion=False)
