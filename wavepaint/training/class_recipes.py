"""Recipes of classifiers and segmenters: functions that return a complete configuration."""

from collections.abc import Callable

from wavepaint.training.class_config import ClassConfig
from wavepaint.training.config import ClassTrainConfig
from wavepaint.training.data_config import DataConfig
from wavepaint.training.optimization_config import OptimizationConfig


def classify() -> ClassTrainConfig:
    """A small WaveMix classifier for a few thousand images, which a CPU can train.

    The authors' network is three times as wide and nearly three times as deep (:func:`wavemix_tiny_imagenet`). Random
    crops of at least half of the shorter side, and flips, augment the images.
    """
    return ClassTrainConfig(
        recipe="classify",
        task="classify",
        architecture="wavemix-classifier",
        hyper_parameters={"depth": 6, "mult": 2, "ff_channel": 64, "final_dim": 64, "dropout": 0.2, "level": 2},
        data=DataConfig(crop_size=128, val_size=128, val_fraction=0.2),
        classes=ClassConfig(label_smoothing=0.1),
        optimization=OptimizationConfig(batch_size=32, epochs=50, clip_norm=1.0, monitor="top-1"),
    )


def segment() -> ClassTrainConfig:
    """A small WaveMix segmenter; the images are stretched to squares, and so are those that ``wp segment`` gets."""
    return ClassTrainConfig(
        recipe="segment",
        task="segment",
        architecture="wavemix-segmenter",
        hyper_parameters={"depth": 6, "mult": 2, "ff_channel": 64, "final_dim": 64, "dropout": 0.0, "level": 2},
        data=DataConfig(crop_size=256, val_size=256, val_fraction=0.2),
        optimization=OptimizationConfig(batch_size=8, epochs=50, clip_norm=1.0, monitor="mean-iou"),
    )


def wavemix_tiny_imagenet() -> ClassTrainConfig:
    """The authors' network of 28 million parameters on Tiny-ImageNet (``Image_Classification/tinyimagenet.py``).

    Source: github.com/pranavphoenix/WaveMix at ba3d1b4. Whole images of 64 pixels, flips, batches of 304, AdamW and
    then SGD from the best weights, each until 20 epochs bring no gain. Their rates, which the source leaves to a
    library, are those of ``Image_Classification/galaxy10.py``. The source also applies one of torchvision's
    TrivialAugment changes to each image; this package has none of them.
    """
    return ClassTrainConfig(
        recipe="wavemix-tiny-imagenet",
        task="classify",
        architecture="wavemix-classifier",
        hyper_parameters={"depth": 16, "mult": 2, "ff_channel": 192, "final_dim": 192, "dropout": 0.5, "level": 3},
        data=DataConfig(crop_size=64, val_size=64, val_images=10_000, workers=2),
        classes=ClassConfig(min_crop=1.0, preprocessing="tiny-imagenet"),
        optimization=OptimizationConfig(batch_size=304, epochs=1_000, schedule="plateau", patience=20, monitor="top-1"),
    )


CLASS_RECIPES: dict[str, Callable[[], ClassTrainConfig]] = {
    "classify": classify,
    "segment": segment,
    "wavemix-tiny-imagenet": wavemix_tiny_imagenet,
}

CLASS_ARCHITECTURES = ("wavemix-classifier", "wavemix-segmenter")
"""Names of the networks, known without PyTorch."""
