"""Labels and preprocessing of a bundle with classes come from options that are checked."""

from pathlib import Path

import pytest

from wavepaint.contract import CLASSIFICATION, PRESETS, SEGMENTATION
from wavepaint.errors import ConfigError
from wavepaint.export.classes import ClassOptions, choose_labels, choose_preprocessing, describe_classes, read_labels
from wavepaint.models.registry import ARCHITECTURES
from wavepaint.weights.checkpoint import Checkpoint


def test_labels_are_the_lines_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("\ufefftabby cat\r\nDackel \r\nführerloser Zug\n\n".encode())
    assert read_labels(tmp_path / "labels.txt") == ("tabby cat", "Dackel", "führerloser Zug")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no label in line 1"),
        (b"cat\n\ndog\n", "no label in line 2"),
        (b"cat\ndog\ncat\n", "'cat' in lines 1 and 3"),
        (b"cat\n\x1b[31m\n", "line 2 .* is not a label"),
        (b"x" * 201, "line 1 .* at most 200 characters"),
        (b"\xff\xfe\x00", "not a text file in UTF-8"),
        (b"x\n" * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_a_broken_file_of_labels_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=f"{problem}.*--labels"):
        read_labels(tmp_path / "labels.txt")


def test_an_absent_file_of_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: No such file.*--labels"):
        read_labels(tmp_path / "labels.txt")


def test_classes_without_labels_are_numbered() -> None:
    assert choose_labels(None, 3) == ["0", "1", "2"]


def test_another_number_of_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match="there are 2 labels: this network has 3 classes"):
        choose_labels(["cat", "dog"], 3)


def test_a_preset_with_a_size_of_ones_own() -> None:
    chosen = choose_preprocessing(CLASSIFICATION, "tiny-imagenet", (128, 128), 32)
    assert (chosen.mean, chosen.std) == (PRESETS["tiny-imagenet"].mean, PRESETS["tiny-imagenet"].std)
    assert chosen.size == (128, 128)


def test_images_of_a_segmenter_are_never_cropped() -> None:
    assert choose_preprocessing(CLASSIFICATION, "imagenet", None, 32).resize == "crop"
    assert choose_preprocessing(SEGMENTATION, "imagenet", None, 32).resize == "stretch"


@pytest.mark.parametrize(
    ("preset", "size", "problem"),
    [
        (None, None, "does not say how its training normalised.*--preprocessing: imagenet, tiny-imagenet"),
        ("imagnet", None, "unknown preprocessing 'imagnet': expected imagenet"),
        ("imagenet", (224, 100), "100x224 pixels: this network takes multiples of 32"),
    ],
)
def test_a_preprocessing_that_does_not_suit_is_refused(
    preset: str | None, size: tuple[int, int] | None, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        choose_preprocessing(CLASSIFICATION, preset, size, 32)


def test_a_record_may_leave_out_the_number_of_classes(tmp_path: Path) -> None:
    """Hyper-parameters that a checkpoint does not record have their defaults, here 1000 classes."""
    checkpoint = Checkpoint(
        path=tmp_path / "c.pt",
        sha256="",
        state={},
        architecture=ARCHITECTURES["wavemix-classifier"],
        parameters={"depth": 1},
    )
    fields = describe_classes(checkpoint, 32, ClassOptions(preprocessing="imagenet"))
    assert fields["labels"] == [str(number) for number in range(1000)]
