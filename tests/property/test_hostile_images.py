"""Hostile images: each is read, or refused with one line, soon."""

import os
import sys

import pytest

from tests.hostile import try_case
from tests.hostile.images import make_cases, read

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sparse files and devices are Linux's")
def test_130_hostile_images_are_read_or_refused_in_one_line() -> None:
    outcomes = [try_case(case, read) for case in make_cases(seed=1, count=130)]
    assert 20 < outcomes.count("accepted") < 110  # both ends of the road are walked
