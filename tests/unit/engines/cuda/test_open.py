"""The choice of a Python package for CUDA."""

import sys

import pytest

from wavepaint.errors import EngineError
from wavepaint.optional import make_install_command
from wavepaint.runtime.engines.cuda.open import open_device


def test_without_a_package_for_cuda_the_error_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(EngineError) as caught:
        open_device()
    assert 'pip install "cuda-bindings>=12.8"' in str(caught.value)
    assert make_install_command("pycuda") in str(caught.value)
    with pytest.raises(EngineError) as caught:
        open_device("pycuda")
    assert "cuda-bindings" not in str(caught.value)
