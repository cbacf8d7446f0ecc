"""Images with label maps: what they become, and which label maps are refused."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.labelled_images import write_label_folders
from tests.unit.training.recognition.conftest import make_config
from wavepaint.errors import TrainingError, WavePaintWarning
from wavepaint.training.config import ClassTrainConfig
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.recognition.label_folders import LabelFolders

CONFIG = make_config("segment")


def open_folders(
    folder: Path, val_data: Path | None = None, config: ClassTrainConfig = CONFIG, num_classes: int | None = None
) -> LabelFolders:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "validation has")
        return LabelFolders(config, folder, val_data, num_classes)


@pytest.fixture
def folder(label_folders: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(label_folders, tmp_path / "squares"))


def edit(folder: Path, number: int, change: object, suffix: str = "png") -> Path:
    """Replace a label map by what a function makes of its values."""
    path = folder / "labels" / f"{number}.png"
    with Image.open(path) as image:
        values = np.array(image)
    path.unlink()
    path = path.with_suffix(f".{suffix}")
    result = change(values)  # type: ignore[operator]
    (result if isinstance(result, Image.Image) else Image.fromarray(result)).save(path)
    return path


def test_images_and_label_maps_are_paired_by_name(label_folders: Path) -> None:
    data = open_folders(label_folders)
    assert data.class_names == ["0", "1"]
    assert len(data.split.train) + data.num_val == 10
    for image, labels in data.val_images:
        assert (image.shape, labels.shape) == ((32, 32, 3), (32, 32))
        assert set(np.unique(labels)) == {0, 1, 255}
        assert ((image[..., 0] > 120) == (labels == 1))[labels != 255].mean() > 0.9  # yellow is 1


def test_crops_keep_labels_on_their_pixels(label_folders: Path) -> None:
    config = CONFIG.change({"data": {"rotation": 20.0, "perspective": 0.1, "lens": 0.05, "colour": 0.1}})
    samples = open_folders(label_folders, config=config)._make_samples(40, 1)
    for number in range(8):
        image, labels = samples[number]
        assert (image.shape, labels.shape, labels.dtype) == ((3, 32, 32), (32, 32), torch.uint8)
        assert set(labels.unique().tolist()) <= {0, 1, 255}
        assert ((image[0] > 120) == (labels == 1))[labels != 255].float().mean() > 0.9


def test_pixels_to_ignore_have_no_class_in_a_batch(label_folders: Path) -> None:
    config = CONFIG.change({"classes": {"min_crop": 1.0}})
    data = open_folders(label_folders, config=config)
    ((image, target),) = next(
        data.iterate_batches(DistributedContext(), torch.device("cpu"), first_step=0, total_steps=1)
    )
    assert (image.shape, target.shape, target.dtype) == ((4, 3, 32, 32), (4, 32, 32), torch.int64)
    assert (target[:, 0] == -100).all()
    assert set(target.unique().tolist()) == {-100, 0, 1}


def test_label_maps_may_lie_beside_the_images(label_folders: Path, tmp_path: Path) -> None:
    for number in range(4):
        shutil.copy(label_folders / "images" / f"{number}.png", tmp_path / f"{number}.png")
        shutil.copy(label_folders / "labels" / f"{number}.png", tmp_path / f"{number}_mask.png")
    data = open_folders(tmp_path, tmp_path)
    assert list(data.split.train) == ["0.png", "1.png", "2.png", "3.png"]
    assert data.num_val == 4


def test_palette_and_black_and_white_maps_are_read_as_numbers(folder: Path) -> None:
    def to_palette(values: np.ndarray) -> Image.Image:
        image = Image.fromarray(np.where(values == 255, 0, values * 2).astype(np.uint8))
        image.putpalette([9, 9, 9] * 256)
        return image

    edit(folder, 0, to_palette)
    edit(folder, 1, lambda values: Image.fromarray(values == 1))
    source = open_folders(folder, num_classes=3)._source
    for number, expected in ((0, {0, 2}), (1, {0, 1})):
        assert set(np.unique(np.asarray(source.read_labels(f"images/{number}.png")))) == expected


def test_an_image_on_its_side_has_the_size_that_is_seen(folder: Path) -> None:
    with Image.open(folder / "images" / "3.png") as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.transpose(Image.Transpose.ROTATE_90).convert("RGB").save(
            folder / "images" / "3.jpg", quality=95, exif=exif
        )
    (folder / "images" / "3.png").unlink()
    data = open_folders(folder)
    pixels = np.asarray(data._source.read("images/3.jpg"))
    assert ((pixels[..., 0] > 120) == (pixels[..., 3] == 1))[2:].mean() > 0.95


def test_a_class_without_pixels_causes_a_warning(folder: Path) -> None:
    with pytest.warns(WavePaintWarning, match=r"2 of 4 classes have no pixel in the training images.*: 2, 3\."):
        assert open_folders(folder, num_classes=4).class_names == ["0", "1", "2", "3"]


def test_images_without_a_label_map_are_named(folder: Path) -> None:
    for number in (2, 3, 5, 7):
        (folder / "labels" / f"{number}.png").unlink()
    message = (
        r"4 of 10 images have no label map: images/2.png, images/3.png, images/5.png and 1 more; expected images/NAME"
    )
    with pytest.raises(TrainingError, match=message):
        open_folders(folder)


def test_several_label_maps_of_an_image_are_refused(folder: Path) -> None:
    shutil.copy(folder / "labels" / "3.png", folder / "labels" / "3.tif")
    with pytest.raises(TrainingError, match=r"more than one label map: images/3.png"):
        open_folders(folder)


@pytest.mark.parametrize(
    ("change", "suffix", "message"),
    [
        (lambda values: values[:-3], "png", r"images/4.png has \d+x48 pixels, and its label map .*4.png has \d+x45"),
        (lambda values: np.stack([values] * 3, -1), "png", r"4.png is a colour image \(RGB\): expected a label map"),
        (lambda values: values, "jpg", r"labels/4.jpg is a JPEG, whose compression changes the numbers.*PNG"),
        (lambda values: values.astype(np.uint16) * 300, "png", r"labels/4.png has the value \d+: expected numbers"),
        (lambda values: values + np.uint8(6), "png", r"4.png has the value 7: expected .* 0 to 1, which this"),
    ],
    ids=["size", "colour", "jpeg", "16 bit", "beyond"],
)  # fmt: skip
def test_a_label_map_that_does_not_fit_is_named(folder: Path, change: object, suffix: str, message: str) -> None:
    edit(folder, 4, change, suffix)
    with pytest.raises(TrainingError, match=message):
        open_folders(folder, num_classes=2)


def test_a_value_that_only_validation_has_is_refused(folder: Path, tmp_path: Path) -> None:
    other = write_label_folders(tmp_path / "other", count=2)
    edit(other, 1, lambda values: np.where(values == 1, 3, values).astype(np.uint8))
    with pytest.raises(TrainingError, match=r"other/labels/1.png has the value 3: expected .* 0 to 1, the largest"):
        open_folders(folder, other)


def test_a_broken_label_map_is_named(folder: Path) -> None:
    (folder / "labels" / "4.png").write_bytes(b"\x89PNG but broken")
    with pytest.raises(TrainingError, match=r"labels/4.png cannot be decoded"):
        open_folders(folder)


def test_a_broken_image_is_named_and_replaced(folder: Path) -> None:
    name = open_folders(folder).split.train[0]
    (folder / name).write_bytes((folder / name).read_bytes()[:200])
    samples = open_folders(folder)._make_samples(40, 1)
    with pytest.warns(WavePaintWarning, match=f"skipped: .*{name} cannot be decoded"):
        assert [samples[number][0].shape for number in range(10)] == [(3, 32, 32)] * 10


def test_maps_in_black_and_white_have_one_class(folder: Path) -> None:
    for number in range(10):
        edit(folder, number, lambda values: np.where(values == 1, 255, 0).astype(np.uint8))
    with pytest.raises(TrainingError, match=r"one class only, 0; 255 marks pixels to ignore.*needs the values 0 and 1"):
        open_folders(folder)


@pytest.mark.parametrize(("name", "message"), [("absent", "does not exist"), ("file", "is not a folder")])
def test_a_path_that_is_no_folder_is_refused(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match=message):
        open_folders(tmp_path / name)
    with pytest.raises(TrainingError, match=r"contains no image: expected images/NAME.jpg with labels/NAME.png"):
        open_folders(tmp_path / "empty")
