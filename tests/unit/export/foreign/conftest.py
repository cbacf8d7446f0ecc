"""Verification of imported networks in one engine."""

import pytest

from wavepaint.export import verify
from wavepaint.runtime.engines.registry import find_runnable


@pytest.fixture
def only_ort(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify in ONNX Runtime alone, which takes a third of the time."""
    monkeypatch.setattr(verify, "find_runnable", lambda model: find_runnable(model)[:1])
