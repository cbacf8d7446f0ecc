"""Two models that need no export, cells of them, and photos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fakes.bundle import write_bundle
from wavepaint.bench.cells import Cell, list_cells
from wavepaint.bench.entrants import Subject, open_subject
from wavepaint.data.sources import PhotoSource, open_source


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """One convolution, which counts as trained and has no PyTorch network."""
    return Subject("tiny", write_bundle(tmp_path_factory.mktemp("bundle") / "tiny"), True)


@pytest.fixture(scope="session")
def default() -> Subject:
    """The model that ships."""
    return open_subject("default")


@pytest.fixture
def photos(tmp_path: Path, photo: np.ndarray) -> PhotoSource:
    """Two photographs in a folder."""
    Image.fromarray(photo).save(tmp_path / "a.png")
    (tmp_path / "below").mkdir()
    Image.fromarray(photo[:, ::-1]).save(tmp_path / "below" / "b.jpg", quality=95)
    return open_source(tmp_path)


@pytest.fixture
def cells(subject: Subject) -> list[Cell]:
    """Three models in two engines at two sizes."""
    models = [Subject(name, subject.bundle, True) for name in "abc"]
    return list_cells(models, [32, 64], [1], engines=["ort-cpu", "openvino"], precisions=["float32"])
