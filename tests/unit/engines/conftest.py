"""Fixtures for the tests of engines."""

import pytest

from tests.fakes.bundle import write_full_bundle
from wavepaint.contract import Bundle


@pytest.fixture(scope="session")
def full_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of a small network with every precision and both I/O dtypes. Tests must not change its files."""
    return write_full_bundle(tmp_path_factory.mktemp("full") / "bundle")
