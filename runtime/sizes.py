"""Sizes that an engine takes, and the size that a patch is padded to."""

from typing import NamedTuple

Size = tuple[int, int, int]
"""Batch, height and width."""


class SizeRange(NamedTuple):
    """The sizes whose batch, height and width each lie between those of ``least`` and ``most``."""

    least: Size = (1, 1, 1)
    most: Size = (2**31 - 1, 2**31 - 1, 2**31 - 1)

    def contains(self, size: Size) -> bool:
        """Return whether a size lies in the range."""
        return all(low <= side <= high for low, side, high in zip(self.least, size, self.most, strict=True))

    def pad(self, height: int, width: int, multiple: int) -> tuple[int, int] | None:
        """Return the smallest height and width in the range that fit a patch and are multiples of ``multiple``.

        Returns:
            None if the patch is larger than the range.
        """
        padded_height = -(-max(height, self.least[1]) // multiple) * multiple
        padded_width = -(-max(width, self.least[2]) // multiple) * multiple
        return (padded_height, padded_width) if padded_height <= self.most[1] and padded_width <= self.most[2] else None
