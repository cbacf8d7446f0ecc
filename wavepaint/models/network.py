"""What every network says of the images it takes."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from wavepaint.contract import PadMode
from wavepaint.errors import ImageError


class Network(nn.Module):
    """A network with the limits of its images; each architecture sets them from its own hyper-parameters.

    Attributes:
        size_multiple: Images whose height and width are multiples of this fit; the least side is the multiple itself.
        padding: How images of other sizes are padded to one, at the bottom and the right; a mode of ``numpy.pad``. The
            authors of LaMa and of WavePaint measure theirs with ``symmetric`` (``pad_img_to_modulo`` in
            saicinpainting/evaluation/data.py), and with it the networks they compare with.
    """

    size_multiple: int
    padding: ClassVar[PadMode] = "symmetric"

    def check_size(self, image_NCHW: Tensor) -> None:
        """Raise unless height and width are multiples of the size multiple.

        Raises:
            ImageError: They are not.
        """
        if torch.compiler.is_exporting():  # sizes are symbols there, declared as multiples
            return
        height, width = image_NCHW.shape[2:]
        if not height or height % self.size_multiple or not width or width % self.size_multiple:
            raise ImageError(
                f"height {height} and width {width}: this {type(self).__name__} takes multiples of "
                f"{self.size_multiple}. Pad the image and its mask."
            )
