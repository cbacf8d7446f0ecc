"""The inputs and outputs of a model. The I/O dtype decides their layout.

With the I/O dtype ``float32``, H and W must be multiples of the manifest's ``size_multiple``:

==============  ====================  =======  ======================================================
name            shape                 dtype    meaning
==============  ====================  =======  ======================================================
``image``       (N, 3, H, W)          float32  RGB in [0, 1]; values inside the hole are ignored
``mask``        (N, 1, H, W)          float32  1 = hole (to be filled), 0 = known; no other value
``image_out``   (N, 3, H, W)          float32  RGB in [0, 1]; equal to ``image`` where ``mask`` is 0
==============  ====================  =======  ======================================================

With the I/O dtype ``uint8``, H and W can be any size, because the model pads and crops:

==============  ====================  =======  ======================================================
name            shape                 dtype    meaning
==============  ====================  =======  ======================================================
``image``       (N, H, W, 3)          uint8    RGB
``mask``        (N, H, W, 1)          uint8    128 to 255 = hole, 0 to 127 = known
``image_out``   (N, H, W, 3)          uint8    RGB; equal to ``image`` outside the hole
==============  ====================  =======  ======================================================

Classifiers and segmenters have the I/O dtype ``float32`` only. They take ``image`` alone, normalise it themselves, and
return ``logits``: (N, classes) from a classifier, (N, classes, H', W') from a segmenter, float32. Networks for
super-resolution have the I/O dtype ``float32`` only, too, take ``image`` alone, and return ``image_out``
(N, 3, 2H, 2W).
"""

from typing import Any, Literal

INPUT_IMAGE = "image"
INPUT_MASK = "mask"
OUTPUT_IMAGE = "image_out"
OUTPUT_LOGITS = "logits"
IMAGE_CHANNELS = 3

MASK_THRESHOLD = 128
"""Lowest level of a uint8 mask that marks the hole."""

IoDtype = Literal["float32", "uint8"]

TENSORS: dict[IoDtype, Any] = {
    "float32": {
        "inputs": [
            {"name": INPUT_IMAGE, "shape": ["N", 3, "H", "W"], "dtype": "float32", "range": [0, 1], "colour": "RGB"},
            {"name": INPUT_MASK, "shape": ["N", 1, "H", "W"], "dtype": "float32", "known": [0], "hole": [1]},
        ],
        "outputs": [
            {"name": OUTPUT_IMAGE, "shape": ["N", 3, "H", "W"], "dtype": "float32", "range": [0, 1], "colour": "RGB"},
        ],
    },
    "uint8": {
        "inputs": [
            {"name": INPUT_IMAGE, "shape": ["N", "H", "W", 3], "dtype": "uint8", "range": [0, 255], "colour": "RGB"},
            {
                "name": INPUT_MASK,
                "shape": ["N", "H", "W", 1],
                "dtype": "uint8",
                "known": [0, MASK_THRESHOLD - 1],
                "hole": [MASK_THRESHOLD, 255],
            },
        ],
        "outputs": [
            {"name": OUTPUT_IMAGE, "shape": ["N", "H", "W", 3], "dtype": "uint8", "range": [0, 255], "colour": "RGB"},
        ],
    },
}
"""The tables above, as every manifest repeats them."""

_IMAGE = TENSORS["float32"]["inputs"][0]

CLASS_TENSORS: dict[IoDtype, Any] = {
    "float32": {
        "inputs": [_IMAGE],
        "outputs": [{"name": OUTPUT_LOGITS, "shape": ["N", "classes"], "dtype": "float32"}],
    }
}
"""The tensors of a classifier."""

CLASS_MAP_TENSORS: dict[IoDtype, Any] = {
    "float32": {
        "inputs": [_IMAGE],
        "outputs": [{"name": OUTPUT_LOGITS, "shape": ["N", "classes", "H'", "W'"], "dtype": "float32"}],
    }
}
"""The tensors of a segmenter."""

UPSCALED_TENSORS: dict[IoDtype, Any] = {
    "float32": {
        "inputs": [_IMAGE],
        "outputs": [{**_IMAGE, "name": OUTPUT_IMAGE, "shape": ["N", 3, "2*H", "2*W"]}],
    }
}
"""The tensors of a network for super-resolution."""
