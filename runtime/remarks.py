"""What a user should know about a mask that was read and filled, such as options that would give a better result."""

from wavepaint.runtime.filling.morphology import MAX_GROWTH
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.filling.scale import Bool
from wavepaint.runtime.filling.tightness import suggest_dilation
from wavepaint.runtime.images.mask_kinds import MaskKind
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.images.read import Mask
from wavepaint.runtime.jobs import Remark

_MOST = 0.8
"""Share of a photo above which a hole is more likely an inverted mask."""

_PAINT: dict[MaskKind, str] = {
    "layer": "the painted pixels of the mask's transparent layer",
    "strokes on black": "the mask's coloured strokes",
    "strokes on white": "the mask's coloured strokes",
}


def find_remarks(photo: Photo, mask: Mask, hole_HW: Bool, options: FillOptions) -> tuple[Remark, ...]:
    """Return the remarks on a photo that was filled.

    Args:
        photo: The photo before the fill.
        mask: Its mask.
        hole_HW: The hole that was filled, (H, W), true in the hole.
        options: The options of the fill.
    """
    remarks = []
    if mask.kind in _PAINT:
        is_hole = options.invert_mask == (mask.kind == "strokes on white")
        remarks.append(Remark(f"{_PAINT[mask.kind]} are {'the hole' if is_hole else 'kept'}"))
    if 0 < mask.brightest < options.mask_threshold:
        lowest = (mask.brightest + 1) // 2
        remarks.append(
            Remark(
                f"the brightest level of the mask is {mask.brightest}, below {options.mask_threshold}: "
                f"try --mask-threshold {lowest}"
            )
        )
    if hole_HW.mean() > _MOST:
        advice = "without --invert-mask" if options.invert_mask else "--invert-mask"
        remarks.append(Remark(f"the hole covers more than {_MOST:.0%} of the photo: if it is inverted, try {advice}"))
    added = suggest_dilation(photo.pixels[..., : photo.num_colours], hole_HW)
    if added and options.dilate < MAX_GROWTH:
        wanted = min(options.dilate + added, MAX_GROWTH)
        remarks.append(Remark("the hole's edge cuts through what it should remove", wanted))
    return tuple(remarks)
