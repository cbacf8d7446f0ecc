"""Sizes that an engine takes, and the one that a patch is padded to."""

from typing import NamedTuple

Size = tuple[int, int, int]
"""Batch, height and width."""


class SizeRange(NamedTuple):
    """Sizes from ``least`` to ``most``, each of the three by itself."""

    least: Size = (1, 1, 1)
    most: Size = (2**31 - 1, 2**31 - 1, 2**31 - 1)

    def holds(self, size: Size) -> bool:
        """Return whether a size lies in the range."""
        return all(low <= side <= high for low, side, high in zip(self.least, size, self.most, strict=True))

    def pad(self, height: int, width: int, multiple: int) -> tuple[int, int] | None:
        """Return the least sides, multiples of ``multiple``, that lie in the range and hold a patch.

        None if the patch is larger than the range.
        """
        padded_height = -(-max(height, self.least[1]) // multiple) * multiple
        padded_width = -(-max(width, self.least[2]) // multiple) * multiple
        return (padded_height, padded_width) if padded_height <= self.most[1] and padded_width <= self.most[2] else None
