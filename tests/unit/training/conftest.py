"""Photos and finished runs that the tests of training share."""

from pathlib import Path

import pytest
from PIL import Image

from tests.unit.training.runs import CONFIG, EVERYTHING, Recorder
from wavepaint.training.config import TrainConfig
from wavepaint.training.loop import Trainer

Run = tuple[Path, Recorder]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six real photos in nested folders, beside files that are no photos."""
    from skimage import data

    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep" / "er").mkdir(parents=True)
    names = ("a.jpg", "b.png", "deep/c.webp", "deep/er/d.JPG", "deep/e.png", "f.bmp")
    for name, load in zip(names, (data.chelsea, data.coffee, data.rocket, data.astronaut, data.camera, data.cat),
                          strict=True):  # fmt: skip
        image = Image.fromarray(load())
        image.thumbnail((200, 200))
        image.save(folder / name)
    (folder / "notes.txt").write_text("not a photo")
    (folder / ".hidden.jpg").write_text("not a photo either")
    return folder


def finish(config: TrainConfig, photos: Path, out: Path) -> Run:
    reporter = Recorder()
    assert Trainer(config, photos, out).run(reporter)
    return out, reporter


@pytest.fixture(scope="session")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The folder and the reports of a finished run of ``CONFIG``."""
    return finish(CONFIG, photos, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def finished_everything(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The folder and the reports of a finished run of ``EVERYTHING``."""
    return finish(EVERYTHING, photos, tmp_path_factory.mktemp("everything"))
