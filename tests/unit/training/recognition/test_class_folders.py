"""Folders of classes: what they become, and what is wrong with others."""

import shutil
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.labelled_images import COLOURS, write_class_folders
from tests.unit.training.recognition.conftest import make_config
from wavepaint.errors import TrainingError, WavePaintWarning
from wavepaint.training.config import ClassTrainConfig
from wavepaint.training.crops import RandomSamples
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.recognition.class_folders import ClassFolders
from wavepaint.training.recognition.class_names import split_classes

CONFIG = make_config("classify")


def open_folders(folder: Path, val_data: Path | None = None, config: ClassTrainConfig = CONFIG) -> ClassFolders:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ClassFolders(config, folder, val_data)


def make_samples(data: ClassFolders) -> RandomSamples:
    return data._make_samples(40, 1)


@pytest.fixture
def folder(class_folders: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(class_folders, tmp_path / "pets"))


def test_folders_are_classes_and_each_class_is_split(class_folders: Path) -> None:
    config = CONFIG.change({"data": {"test_fraction": 0.2}})
    data = open_folders(class_folders, config=config)
    assert data.class_names == ["blue", "red ones"]
    for subset in (data.split.train, data.split.val, data.split.test):
        assert {name.split("/")[0] for name in subset} == set(COLOURS)
    names = [*data.split.train, *data.split.val, *data.split.test]
    assert sorted(names) == sorted(data._source.names)
    assert {key: row["num_photos"] for key, row in data.record.items()} == {
        "train": len(data.split.train), "val": len(data.split.val), "test": len(data.split.test),
    }  # fmt: skip


def test_samples_are_augmented_crops_with_the_number_of_their_folder(class_folders: Path) -> None:
    samples = make_samples(open_folders(class_folders))
    counts = Counter()
    for number in range(20):
        image, label = samples[number]
        assert (image.shape, image.dtype, label.dtype) == ((3, 16, 16), torch.uint8, torch.int64)
        assert int(image.float().mean(dim=(1, 2)).argmax()) == (2 if label == 0 else 0)  # blue, or red
        counts[int(label)] += 1
        assert torch.equal(samples[number][0], image)
    assert set(counts) == {0, 1}


def test_batches_have_images_in_floats(class_folders: Path) -> None:
    data = open_folders(class_folders)
    ((image, label),) = next(
        data.iterate_batches(DistributedContext(), torch.device("cpu"), first_step=0, total_steps=1)
    )
    assert (image.shape, label.shape) == ((4, 3, 16, 16), (4,))
    assert image.min() >= 0
    assert 0.5 < image.max() <= 1


def test_crops_are_at_most_the_whole_image(class_folders: Path) -> None:
    """With whole images, only the place of the square along the longer side is random."""
    config = CONFIG.change({"classes": {"min_crop": 1.0}, "data": {"flip": False, "crop_size": 24}})
    data = open_folders(class_folders, config=config)
    samples = make_samples(data)
    place = list(data.split.train).index("blue/0.png")  # a square
    photo = data._source.read("blue/0.png")
    image, _ = samples._make_sample(place, photo, np.random.default_rng(0))
    assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(photo))


def test_validation_images_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    other = write_class_folders(tmp_path / "other", per_class=2)
    data = open_folders(folder, other)
    assert (len(data.split.train), data.num_val) == (12, 4)
    assert [label for _, label in data.val_images] == [0, 0, 1, 1]
    shutil.move(other / "blue", other / "green")
    with pytest.raises(TrainingError, match=r"classes that the training images do not have: green.*--val-data"):
        open_folders(folder, other)


def test_a_large_validation_set_is_cut_evenly(folder: Path) -> None:
    config = CONFIG.change({"data": {"val_images": 2}})
    assert [label for _, label in open_folders(folder, folder, config).val_images] == [0, 1]


def test_a_broken_image_is_named_and_replaced(folder: Path) -> None:
    data = open_folders(folder)
    (folder / data.split.train[0]).write_bytes((folder / data.split.train[0]).read_bytes()[:60])
    samples = make_samples(data)
    with pytest.warns(WavePaintWarning, match=f"skipped: .*{data.split.train[0]} cannot be decoded"):
        labels = [int(samples[number][1]) for number in range(20)]
    assert set(labels) == {0, 1}


def test_an_archive_of_folders_has_the_same_classes(class_folders: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", class_folders))
    data = open_folders(archive)
    assert data.class_names == sorted(COLOURS)
    assert data.split == open_folders(class_folders).split


def test_one_folder_is_one_class_too_few(folder: Path) -> None:
    shutil.rmtree(folder / "red ones")
    with pytest.raises(TrainingError, match=r"has one class only: blue. Expected a folder of images for each of two"):
        open_folders(folder)


def test_a_folder_without_images_is_named(folder: Path) -> None:
    (folder / "green").mkdir()
    (folder / "green" / "notes.txt").touch()
    with pytest.raises(TrainingError, match=r"folders of classes without an image: green"):
        open_folders(folder)


def test_images_outside_of_the_folders_are_named(folder: Path) -> None:
    shutil.copy(folder / "blue" / "0.png", folder / "stray.png")
    with pytest.raises(TrainingError, match=r"1 image\(s\) outside of the folders of classes: stray.png"):
        open_folders(folder)


def test_folders_of_subsets_are_not_taken_for_classes(folder: Path, tmp_path: Path) -> None:
    for subset in ("train", "val"):
        shutil.copytree(folder, tmp_path / "all" / subset)
    with pytest.raises(TrainingError, match=r"are subsets, not classes: train, val. .*--val-data"):
        open_folders(tmp_path / "all")


def test_a_folder_of_archives_is_refused(class_folders: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "a"), "tar", class_folders)
    shutil.make_archive(str(tmp_path / "b"), "tar", class_folders)
    with pytest.raises(TrainingError, match=r"contains archives: expected a folder of images for each class"):
        open_folders(tmp_path)


def test_classes_with_too_few_images_to_split_are_named() -> None:
    names = ["a/1", "a/2", "b/1", "c/1", "c/2", "d/1"]
    with pytest.raises(
        TrainingError, match=r"too few images: b \(1\), d \(1\). Expected 2 or more in each.*--val-data"
    ):
        split_classes(names, seed=0, val_fraction=0.2, test_fraction=0.0)
    with pytest.raises(TrainingError, match=r"a \(2\), b \(1\), c \(2\) and 1 more. Expected 3 or more"):
        split_classes(names, seed=0, val_fraction=0.2, test_fraction=0.1)
