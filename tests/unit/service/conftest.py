"""Small photos, and a service with a model that takes milliseconds."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.running_service import GatedInpainter, Service, encode, run_service
from wavepaint import Inpainter
from wavepaint.contract import Bundle
from wavepaint.runtime.service.service_settings import ServiceSettings

LIMITS = ServiceSettings(max_body_bytes=1 << 20, max_pixels=500_000, body_timeout_s=1.0, timeout_s=20.0)


@pytest.fixture(scope="session")
def colours() -> np.ndarray:
    """A photograph, (60, 90, 3) uint8."""
    from skimage import data

    return np.ascontiguousarray(data.chelsea()[:240:4, :360:4])


@pytest.fixture(scope="session")
def spot() -> np.ndarray:
    """A hole for it, (60, 90) bool."""
    hole = np.zeros((60, 90), bool)
    hole[20:30, 40:60] = True
    return hole


@pytest.fixture(scope="session")
def photo_file(colours: np.ndarray) -> bytes:
    return encode(colours)


@pytest.fixture(scope="session")
def mask_file(spot: np.ndarray) -> bytes:
    return encode(spot)


@pytest.fixture(scope="session")
def inpainter(full_bundle: Bundle) -> Iterator[Inpainter]:
    with Inpainter(full_bundle.folder, engine="ort-cpu", threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def service(inpainter: Inpainter) -> Iterator[Service]:
    with run_service(inpainter, LIMITS) as running:
        yield running


@pytest.fixture
def gated(full_bundle: Bundle) -> Iterator[GatedInpainter]:
    with GatedInpainter(full_bundle.folder, engine="ort-cpu", threads=1, max_batch=4) as opened:
        yield opened
        opened.gate.set()
