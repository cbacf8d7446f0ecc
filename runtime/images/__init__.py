"""Photos and masks: from files to pixels and back."""

from wavepaint.runtime.images.encode import encode_photo, write_photo
from wavepaint.runtime.images.photo import ImageSource, Photo
from wavepaint.runtime.images.read import MaskFrom, read_mask, read_photo

__all__ = ["ImageSource", "MaskFrom", "Photo", "encode_photo", "read_mask", "read_photo", "write_photo"]
