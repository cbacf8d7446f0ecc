"""LPIPS with random weights."""

import pytest

from tests.networks import make_random_lpips
from wavepaint.metrics.lpips import LPIPS


@pytest.fixture(scope="module")
def alexnet() -> LPIPS:
    return make_random_lpips("alexnet")
