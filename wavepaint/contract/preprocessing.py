"""How images become the input of a classifier or a segmenter.

The model file itself normalises with ``mean`` and ``std``, so its input is an image in [0, 1] for every network.
Callers only scale the image to ``size``.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

MAX_SIDE = 16_384
"""Largest side of an image that a network gets, in pixels."""

Resize = Literal["stretch", "crop"]
Interpolation = Literal["bilinear", "bicubic"]

Mean = Annotated[float, Meta(ge=0, le=1)]
Deviation = Annotated[float, Meta(gt=0, le=1)]
Side = Annotated[int, Meta(ge=1, le=MAX_SIDE)]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What training did with its images.

    Attributes:
        mean: Subtracted from the red, green and blue values in [0, 1]. The model file does this.
        std: Divides the difference. The model file does this.
        size: (height, width) in pixels that images are scaled to; None keeps the size of each image.
        resize: "stretch" scales both sides to ``size``. "crop" keeps the proportions: it scales the image until it
            covers ``size``, and takes the centre.
        interpolation: Filter of the scaling, with antialiasing as in Pillow.
    """

    mean: tuple[Mean, Mean, Mean] = (0.0, 0.0, 0.0)
    std: tuple[Deviation, Deviation, Deviation] = (1.0, 1.0, 1.0)
    size: tuple[Side, Side] | None = None
    resize: Resize = "stretch"
    interpolation: Interpolation = "bilinear"


_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

PresetName = Literal["imagenet", "tiny-imagenet", "cifar10", "cityscapes", "plain"]

PRESETS: dict[str, Preprocessing] = {
    "imagenet": Preprocessing(
        mean=_IMAGENET_MEAN, std=_IMAGENET_STD, size=(224, 224), resize="crop", interpolation="bicubic"
    ),
    "tiny-imagenet": Preprocessing(mean=(0.4803, 0.4481, 0.3975), std=(0.2764, 0.2689, 0.2816), size=(64, 64)),
    "cifar10": Preprocessing(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616), size=(192, 192)),
    "cityscapes": Preprocessing(mean=_IMAGENET_MEAN, std=_IMAGENET_STD, size=(1024, 2048)),
    "plain": Preprocessing(),
}
"""What the authors' training programs do (github.com/pranavphoenix/WaveMix at ba3d1b4):
``Image_Classification/timm.py``, ``tinyimagenet.py`` and ``cifar_10_using_imagenet_weights.py``, and
``Semantic_Segmentation/Cityscapes.py``. For Tiny-ImageNet and CIFAR-10 the authors normalise test images with the test
set's own statistics, which differ by at most 0.005; here both get those of training. ``plain`` is ``galaxy10.py``,
which does not normalise."""
