"""Each hostile image is read, or refused with one line, soon."""

import sys

import pytest

from tests.hostile import count_examples, try_case
from tests.hostile.images import make_cases, read


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sparse files and devices are Linux's")
@pytest.mark.filterwarnings("ignore")
def test_hostile_images_are_read_or_refused_in_one_line() -> None:
    count = count_examples(130)
    outcomes = [try_case(case, read) for case in make_cases(seed=1, count=count)]
    assert 0.15 < outcomes.count("accepted") / count < 0.85  # both outcomes occur
