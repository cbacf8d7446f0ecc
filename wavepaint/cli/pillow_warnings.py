"""Warnings of Pillow that the commands on photos do not show."""

import warnings

from PIL import Image


def silence_pillow() -> None:
    """Ignore Pillow's warnings of what this package handles itself."""
    # Pillow warns above 89 megapixels. Photos up to its hard limit are fine, and read_photo reports larger ones.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    # This package warns about broken EXIF itself.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
