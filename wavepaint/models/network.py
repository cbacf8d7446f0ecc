"""Base classes of all networks: the image sizes they take, and the interface of inpainting networks."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from wavepaint.contract import PadMode
from wavepaint.errors import ImageError


class Network(nn.Module):
    """A network and the sizes of the images it takes.

    Attributes:
        size_multiple: Height and width must be multiples of this. The multiple itself is the smallest side.
        only_side: The only height and width that the network takes; None if it takes every multiple.
        padding: The ``numpy.pad`` mode with which callers extend images of other sizes at the bottom and on the right.
            The authors of LaMa and of WavePaint evaluate with ``symmetric`` (``pad_img_to_modulo`` in
            saicinpainting/evaluation/data.py).
    """

    size_multiple: int
    only_side: int | None = None
    padding: ClassVar[PadMode] = "symmetric"

    def check_size(self, image_NCHW: Tensor) -> None:
        """Check that height and width are multiples of the size multiple, or the only side.

        Raises:
            ImageError: One of them is not.
        """
        if torch.compiler.is_exporting():  # sizes are symbols, declared as multiples
            return
        height, width = image_NCHW.shape[2:]
        if self.only_side is not None and (height, width) != (self.only_side, self.only_side):
            raise ImageError(
                f"height {height} and width {width}: this {type(self).__name__} takes {self.only_side} by "
                f"{self.only_side} only. Export it and use the bundle, which takes any photo."
            )
        if not height or height % self.size_multiple or not width or width % self.size_multiple:
            raise ImageError(
                f"height {height} and width {width}: this {type(self).__name__} takes multiples of "
                f"{self.size_multiple}. Pad the image and its mask."
            )


class InpaintingNetwork(Network):
    """A network that fills a hole: image (N, 3, H, W) in [0, 1] and mask (N, 1, H, W), 1 = hole -> (N, 3, H, W).

    The network never sees the image's content inside the hole. Outside the hole the output equals the input bit for
    bit. Subclasses implement :meth:`predict`.
    """

    def predict(self, known_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        """Predict the whole image (N, 3, H, W), known pixels included.

        Args:
            known_NCHW: The image, 0 inside the hole.
            mask_N1HW: 1 = hole.
        """
        raise NotImplementedError

    def forward(self, image_NCHW: Tensor, mask_N1HW: Tensor, *, keep_known: bool = True) -> Tensor:
        """Fill the hole.

        Args:
            image_NCHW: Any content inside the hole.
            mask_N1HW: 1 = hole, 0 = known; no values between.
            keep_known: Put the known pixels back. False returns the whole prediction, for losses on known pixels.

        Raises:
            ImageError: Height or width is not a multiple of the size multiple.
        """
        self.check_size(image_NCHW)
        known = image_NCHW * (1 - mask_N1HW)
        predicted = self.predict(known, mask_N1HW)
        return predicted * mask_N1HW + known if keep_known else predicted
