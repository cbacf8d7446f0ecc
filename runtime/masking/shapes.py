"""Mark rectangles and frames, in pixels or in per cent of the photo."""

import re
import warnings
from collections.abc import Sequence

from wavepaint.errors import ConfigError, ImageError, WavePaintWarning, printable
from wavepaint.runtime.filling.scale import Bool

Measure = int | str
"""A distance: whole pixels, or per cent of the photo's width or height, such as ``"12.5%"``."""

_MEASURE = re.compile(r"\d{1,9}|\d{1,9}(\.\d*)?%|\.\d+%")


def check_measures(name: str, values: object, counts: Sequence[int], expected: str) -> None:
    """Check that the parts of a shape are measures.

    Args:
        name: Name of the argument and its flag, for the message.
        values: The parts.
        counts: Numbers of parts allowed.
        expected: The parts in words, for the message.

    Raises:
        ConfigError: They are not.
    """
    parts = values if isinstance(values, Sequence) and not isinstance(values, str) else ()
    is_measure = [not isinstance(part, bool) and bool(_MEASURE.fullmatch(str(part).strip())) for part in parts]
    if len(parts) not in counts or not all(is_measure):
        shown = printable((",".join(map(str, parts)) if parts else repr(values))[:60])
        raise ConfigError(f"{name} is {shown}: expected {expected}, each in whole pixels or as a percentage.")


def _to_pixels(measure: Measure, whole: int) -> int:
    """Return a measure in pixels, where 100 % are ``whole``."""
    text = str(measure).strip()
    return round(float(text[:-1]) / 100 * whole) if text.endswith("%") else int(text)


def mark_rectangle(hole_HW: Bool, rectangle: Sequence[Measure], name: str) -> None:
    """Add a rectangle to a mask; the part outside of the photo is cut off.

    Args:
        hole_HW: The mask, which is changed.
        rectangle: Left, top, width and height.
        name: The photo's name for messages.

    Warns:
        WavePaintWarning: A part lies outside of the photo.

    Raises:
        ImageError: The rectangle is empty, or all of it lies outside of the photo.
    """
    height, width = hole_HW.shape
    left, across = (_to_pixels(part, width) for part in rectangle[::2])
    top, down = (_to_pixels(part, height) for part in rectangle[1::2])
    shown = f"the rectangle {','.join(map(str, rectangle))} (--rect)"
    if not across or not down:
        raise ImageError(f"{name}: {shown} has no area: expected x,y,width,height with a width and a height above 0.")
    if left >= width or top >= height:
        raise ImageError(
            f"{name}: {shown} lies outside of the photo, which is {width}x{height} pixels. x and y count from its left "
            "and top edge."
        )
    if left + across > width or top + down > height:
        kept = f"{min(across, width - left)}x{min(down, height - top)}"
        warnings.warn(
            f"{name}: {shown} reaches beyond the photo of {width}x{height} pixels and is cut to {kept}.",
            WavePaintWarning,
            stacklevel=4,
        )
    hole_HW[top : top + down, left : left + across] = True


def mark_border(hole_HW: Bool, border: Sequence[Measure]) -> None:
    """Add a frame to a mask.

    Args:
        hole_HW: The mask, which is changed.
        border: One width for all sides, or the widths at the left, top, right and bottom.
    """
    height, width = hole_HW.shape
    parts = list(border) * 4 if len(border) == 1 else border
    left, right = (_to_pixels(part, width) for part in parts[:4][::2])
    top, bottom = (_to_pixels(part, height) for part in parts[:4][1::2])
    hole_HW[:top] = True
    hole_HW[max(height - bottom, 0) :] = True
    hole_HW[:, :left] = True
    hole_HW[:, max(width - right, 0) :] = True
