"""Random masks with holes of all sizes."""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st


@st.composite
def draw_masks(draw: st.DrawFn, largest: int = 2000) -> np.ndarray:
    """Draw boxes and lines of all sizes on a photo of any size, with at least one known pixel."""
    sides = st.one_of(st.integers(1, min(40, largest)), st.integers(largest // 5, largest))
    height, width = draw(sides), draw(sides.filter(lambda side: side > 1))
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(1, 5))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[top : top + draw(st.integers(1, 700)), left : left + draw(st.integers(1, 700))] = True
    mask[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = False
    assume(mask.any())
    return mask
