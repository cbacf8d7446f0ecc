"""Kernels that TensorRT-RTX compiles are cached."""

import warnings
from pathlib import Path

import pytest

from tests.fakes.machine import Machine
from tests.fakes.tensorrt import Kernels
from tests.unit.engines.tensorrt.batches import make_batch
from tests.unit.engines.tensorrt.conftest import Open
from wavepaint.errors import WavePaintWarning


def test_compiled_kernels_are_cached(
    open_plan: Open, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path))
    read: list[bytes] = []
    deserialize = Kernels.deserialize
    monkeypatch.setattr(
        Kernels, "deserialize", lambda kernels, content: read.append(content) or deserialize(kernels, content)
    )

    def run() -> Path:
        session = open_plan(library="tensorrt-rtx")
        session.run(*make_batch(1, 16, 16))
        session.close()
        (cached,) = (tmp_path / "plans").glob("*.tensorrt-rtx-11.0.kernels")
        return cached

    assert run().read_bytes() == b"11.0 kernels"
    assert read == []
    cached = run()
    assert read == [b"11.0 kernels"]
    cached.write_bytes(b"damaged")
    assert run().read_bytes() == b"11.0 kernels"
    monkeypatch.setenv("WAVEPAINT_CACHE", str(cached))  # no folder
    session = open_plan(library="tensorrt-rtx")
    with pytest.warns(WavePaintWarning, match="the next start compiles kernels again"):
        session.close()


def test_kernels_that_cannot_be_cached_do_not_block_the_gpu(
    open_plan: Open, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "file"))
    session = open_plan(library="tensorrt-rtx")
    with warnings.catch_warnings(), pytest.raises(WavePaintWarning):
        warnings.simplefilter("error")
        session.close()
    machine.require_all_freed()
    assert not machine.trt.engines
