"""Labelled images and configurations that the tests of runs with classes share."""

from pathlib import Path

import pytest

from tests.labelled_images import write_class_folders, write_label_folders
from wavepaint.training.class_recipes import CLASS_RECIPES
from wavepaint.training.config import ClassTrainConfig

TINY = {"final_dim": 8, "ff_channel": 8, "depth": 1, "level": 1, "dropout": 0.1}


def make_config(task: str, **optimization: object) -> ClassTrainConfig:
    """Return a run of a tiny network: two epochs of three steps."""
    settings = {"batch_size": 4, "steps": 6, "steps_per_epoch": 3, "precision": "float32", **optimization}
    size = 16 if task == "classify" else 32
    return CLASS_RECIPES[task]().change(
        {"hyper_parameters": TINY, "data": {"crop_size": size, "workers": 0}, "optimization": settings}
    )


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("classes") / "pets")


@pytest.fixture(scope="session")
def label_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_label_folders(tmp_path_factory.mktemp("labels") / "squares")
