"""Settings of a training run: classes of images or of pixels."""

from dataclasses import dataclass

from wavepaint.contract import PresetName
from wavepaint.training.settings import check_settings, make_error, setting


@dataclass(frozen=True, kw_only=True)
class ClassConfig:
    """The loss, the normalisation and the crops of a classifier or a segmenter."""

    label_smoothing: float = setting(
        0.0,
        "Share of the label that is spread over all classes, which keeps the network from being too sure. 0.1 is usual "
        "with --task classify.",
        least=0,
        below=1,
        heading="Classifiers and segmenters",
        placeholder="SHARE",
    )
    min_crop: float = setting(
        0.5,
        "Smallest crop, as a share of the image's sides; the largest is the whole. --task classify cuts squares, and "
        "--task segment cuts rectangles with the proportions of the image. 1 always takes the whole.",
        above=0,
        placeholder="SHARE",
    )
    preprocessing: PresetName = setting(
        "imagenet",
        "Normalisation of the images, as in wp export: imagenet, tiny-imagenet, cifar10 and cityscapes use the mean "
        "and the deviation of these sets, and plain none. The checkpoint records it.",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.min_crop > 1:
            raise make_error(self, "min_crop", "a share above 0 and up to 1")
