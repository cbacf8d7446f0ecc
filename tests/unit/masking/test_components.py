"""Connected components, compared with SciPy's."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from wavepaint.runtime.masking.components import count_components, find_runs, group_runs, label_runs, measure_extents


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 999))
def test_components_and_their_extents_are_those_of_scipy(height: int, width: int, share: float, seed: int) -> None:
    marked = np.random.default_rng(seed).random((height, width)) < share
    expected, count = ndimage.label(marked, np.ones((3, 3)))
    runs, stride = find_runs(marked)
    labels, num_labels = label_runs(runs, stride)
    assert num_labels == count == count_components(marked)
    pixels = labels.repeat(runs.stops - runs.starts)
    assert len(set(zip(pixels, expected[marked], strict=True))) == count
    boxes = ndimage.find_objects(expected)
    diagonals = sorted(np.hypot(y.stop - y.start, x.stop - x.start) for y, x in boxes)
    np.testing.assert_allclose(sorted(measure_extents(runs, labels, num_labels, stride)), diagonals)


def test_runs_of_indices_are_those_of_the_array() -> None:
    marked = np.random.default_rng(0).random((30, 50)) < 0.4
    runs, stride = find_runs(marked)
    y, x = np.nonzero(marked)
    same = group_runs(y * stride + x)
    np.testing.assert_array_equal(same.starts, runs.starts)
    np.testing.assert_array_equal(same.stops, runs.stops)


def test_a_spiral_is_one_component() -> None:
    spiral = np.zeros((101, 101), bool)
    y = x = 50
    for turn in range(50):
        dy, dx = ((0, 1), (1, 0), (0, -1), (-1, 0))[turn % 4]
        for _ in range(2 * (turn // 2 + 1)):
            spiral[y, x] = True
            y, x = y + dy, x + dx
            if not (0 <= y < 101 and 0 <= x < 101):
                break
        else:
            continue
        break
    assert count_components(spiral) == 1
    assert count_components(~spiral) == ndimage.label(~spiral, np.ones((3, 3)))[1]
