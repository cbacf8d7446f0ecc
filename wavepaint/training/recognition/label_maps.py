"""Images with label maps: files whose pixel values are the numbers of classes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wavepaint.data.sources import FolderSource
from wavepaint.errors import TrainingError, list_names, printable
from wavepaint.jpeg_scans import check_scans
from wavepaint.runtime.pairing import find_label_maps

IGNORED = 255
"""Value of pixels that have no label."""
NUM_VALUES = 256

_IMAGES, _LABELS = "images", "labels"
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)
"""The EXIF tag, and its values of images that are stored lying on their side."""


class LabelledSource(FolderSource):
    """Images of a folder with their label maps. :meth:`read` returns the labels as the alpha channel of the image.

    Args:
        root: The folder.
        maps: The label map of each image, by the image's name.
    """

    def __init__(self, root: Path, maps: Mapping[str, Path]) -> None:
        super().__init__(root, maps)
        self._maps = dict(maps)

    def read(self, name: str) -> Image.Image:
        """Decode an image as upright RGBA, with its labels as A.

        Raises:
            TrainingError: The image or its label map cannot be decoded, or they have different sizes.
        """
        image, labels = super().read(name), self.read_labels(name)
        self._check_sizes(name, image.size, labels.size)
        image.putalpha(labels)
        return image

    def read_labels(self, name: str) -> Image.Image:
        """Decode the label map of an image, as 8-bit grey.

        Raises:
            TrainingError: It cannot be decoded, or is no label map.
        """
        path = self._maps[name]
        try:
            with Image.open(path) as image:
                check_scans(image, "it")
                kind, mode = image.format, image.mode
                values = np.asarray(image)
        except Exception as error:  # Pillow's decoders raise many kinds for broken files
            raise self._explain(str(path.relative_to(self.root)), error) from error
        return Image.fromarray(_check_values(values, path, kind, mode))

    def check_size(self, name: str, labels: Image.Image) -> None:
        """Compare the size of an image with that of its label map. Only the header of the image is decoded.

        Raises:
            TrainingError: The sizes differ.
        """
        try:
            with self._open(name) as stream, Image.open(stream) as image:
                size = image.size
                is_turned = image.getexif().get(_ORIENTATION) in _TURNED
        except Exception:  # a broken image is reported when it is read
            return
        self._check_sizes(name, size[::-1] if is_turned else size, labels.size)

    def find_map(self, name: str) -> Path:
        """Return the label map of an image."""
        return self._maps[name]

    def _check_sizes(self, name: str, size: tuple[int, int], labels: tuple[int, int]) -> None:
        if size != labels:
            raise TrainingError(
                f"{printable(self.root / name)} has {size[0]}x{size[1]} pixels, and its label map "
                f"{printable(self._maps[name])} has {labels[0]}x{labels[1]}: expected the same size."
            )

    def _count_bytes(self, names: Iterable[str]) -> Iterator[int]:
        return ((self.root / name).stat().st_size + self._maps[name].stat().st_size for name in names)


def _check_values(values: NDArray[np.generic], path: Path, kind: str | None, mode: str) -> NDArray[np.uint8]:
    """Return the values of a label map as bytes.

    Raises:
        TrainingError: It is a colour image, a JPEG, or has values above 255.
    """
    if kind == "JPEG":
        raise TrainingError(
            f"{printable(path)} is a JPEG, whose compression changes the numbers of classes: save label maps as PNG."
        )
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise TrainingError(
            f"{printable(path)} is a colour image ({mode}): expected a label map, whose grey or palette values are the "
            "numbers of classes."
        )
    if values.size and (int(values.max()) > IGNORED or int(values.min()) < 0):
        raise TrainingError(
            f"{printable(path)} has the value {values.max()}: expected numbers of classes from 0 to {IGNORED - 1}, and "
            f"{IGNORED} for pixels to ignore."
        )
    return values.astype(np.uint8)


def open_labelled(folder: Path) -> LabelledSource:
    """Open a folder of images and label maps.

    Args:
        folder: It has ``images`` and ``labels`` with files of the same names, or ``name_mask.png`` beside each image.

    Raises:
        TrainingError: There are no images, or some do not have exactly one label map.
    """
    images, labels = folder / _IMAGES, folder / _LABELS
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise TrainingError(f"{folder} {what}: expected a folder of images and label maps.")
    if not (images.is_dir() and labels.is_dir()):
        images = labels = folder
    pairs = find_label_maps(images, labels)
    layout = (
        f"expected {_IMAGES}/NAME.jpg with {_LABELS}/NAME.png in {printable(folder)}, or NAME.jpg beside NAME_mask.png"
    )
    if not pairs:
        raise TrainingError(f"{printable(folder)} contains no image: {layout}.")
    without = [image.relative_to(folder) for image, maps in pairs.items() if not maps]
    if without:
        raise TrainingError(
            f"{len(without)} of {len(pairs)} images have no label map: {list_names(without)}; {layout}."
        )
    several = [image.relative_to(folder) for image, maps in pairs.items() if len(maps) > 1]
    if several:
        raise TrainingError(f"images have more than one label map: {list_names(several)}. Leave one of each.")
    return LabelledSource(folder, {image.relative_to(folder).as_posix(): maps[0] for image, maps in pairs.items()})


def count_pixels(source: LabelledSource, names: Sequence[str]) -> NDArray[np.int64]:
    """Decode label maps, compare their sizes with those of the images, and count their values.

    Returns:
        The number of pixels of each value in each map, (maps, 256).

    Raises:
        TrainingError: A label map cannot be decoded, is none, or has another size than its image.
    """

    def count(name: str) -> NDArray[np.int64]:
        labels = source.read_labels(name)
        source.check_size(name, labels)
        return np.bincount(np.asarray(labels).ravel(), minlength=NUM_VALUES)

    with ThreadPoolExecutor() as pool:  # Pillow decodes without Python's lock
        return np.stack(list(pool.map(count, names)))
