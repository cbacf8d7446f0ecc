"""Fixtures that several folders share. Expensive ones are made once a session."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests share the cores with other workers

import numpy as np
import pytest
import torch
from PIL import Image

from tests.exports import export_once
from tests.fakes.bundle import write_full_bundle
from tests.fakes.machine import Machine, install
from wavepaint.contract import Bundle
from wavepaint.export.bundle import ExportOptions
from wavepaint.machine import count_cores
from wavepaint.models.registry import build_model
from wavepaint.weights.checkpoint import save_checkpoint

REPOSITORY = Path(__file__).parent.parent
TINY = {
    "num_modules": 1,
    "blocks_per_module": 1,
    "final_dim": 8,
    "mult": 2,
    "ff_channel": 8,
    "level": 2,
}
"""The paper's network, small enough to export in seconds."""

FULL = {**TINY, "prefill_levels": 5, "borrow": True}
"""The same network with everything that the shipped one has."""


def randomise(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give every weight and every BatchNorm statistic a random value, so that nothing is accidentally zero or one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif tensor.is_floating_point():
                tensor.normal_(0.0, 0.2, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def export_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of cached exports, shared by all workers; see :mod:`tests.exports`."""
    if request.config.pluginmanager.has_plugin("cacheprovider"):
        return request.config.cache.mkdir("exports")
    return tmp_path_factory.mktemp("exports")


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than cores for ``-n auto``, because some tests wait for servers and child processes."""
    return count_cores() + 1


@pytest.fixture(scope="session", autouse=True)
def own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep files that can be recreated out of the user's cache folder. Workers share them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAVEPAINT_CACHE", str(tmp_path_factory.getbasetemp().parent / "wavepaint-cache"))
        yield


def save_network(path: Path, parameters: dict[str, Any]) -> Path:
    network = randomise(build_model("wavepaint", parameters))
    save_checkpoint(path, network, architecture="wavepaint", parameters=parameters)
    return path


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("checkpoint") / "tiny.pt", TINY)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint: Path, export_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The paper's network in float32."""
    return export_once(tiny_checkpoint, tmp_path_factory.mktemp("bundle") / "tiny", export_cache, ExportOptions())


EVERY_FORM = ExportOptions(precisions=("float16", "bfloat16"), io_dtypes=("uint8",))


@pytest.fixture(scope="session")
def full_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("checkpoint") / "full.pt", FULL)


@pytest.fixture(scope="session")
def half_bundle(full_checkpoint: Path, export_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network with initial fill and shifted details, in every precision with both I/O dtypes; no engine."""
    return export_once(full_checkpoint, tmp_path_factory.mktemp("bundle") / "half", export_cache, EVERY_FORM)


@pytest.fixture(scope="session")
def full_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Every precision with both I/O dtypes, of a network that is one convolution. Tests must not change its files."""
    return write_full_bundle(tmp_path_factory.mktemp("full") / "bundle")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine with a simulated GPU and TensorRT, and a cache folder of its own."""
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "cache"))
    return install(monkeypatch)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A real photograph, (300, 451, 3) uint8."""
    from skimage import data

    return np.asarray(data.chelsea())


@pytest.fixture(scope="session")
def hole(photo: np.ndarray) -> np.ndarray:
    """A mask for it with two holes, (300, 451) bool."""
    mask = np.zeros(photo.shape[:2], dtype=bool)
    mask[100:140, 200:260] = True
    mask[20:30, 400:440] = True
    return mask


@pytest.fixture
def photo_files(tmp_path: Path, photo: np.ndarray, hole: np.ndarray) -> tuple[Path, Path]:
    """The photograph and its mask as PNG files."""
    image_path, mask_path = tmp_path / "photo.png", tmp_path / "mask.png"
    Image.fromarray(photo).save(image_path)
    Image.fromarray(hole).save(mask_path)
    return image_path, mask_path
