"""Sizes that an engine takes, and the sizes that patches are padded to."""

from typing import NamedTuple, Self

from wavepaint.contract import SizeLimits

Size = tuple[int, int, int]
"""Batch, height and width."""


def pad_side(side: int, multiple: int, least: int = 1) -> int:
    """Return the smallest multiple of ``multiple`` that is at least ``side`` and at least ``least``."""
    return -(-max(side, least) // multiple) * multiple


class SizeRange(NamedTuple):
    """The sizes with batch, height and width between those of ``least`` and ``most``, both inclusive."""

    least: Size = (1, 1, 1)
    most: Size = (2**31 - 1, 2**31 - 1, 2**31 - 1)

    @classmethod
    def from_limits(cls, limits: SizeLimits | None) -> Self:
        """Return the range of a manifest's limits; None allows any size."""
        return cls(*limits) if limits is not None else cls()

    def clamp(self, size: Size, multiple: int) -> Size:
        """Return the nearest size in the range, with sides that are rounded up to multiples of ``multiple``."""
        batch, *sides = (min(max(side, low), high) for low, side, high in zip(self.least, size, self.most, strict=True))
        height, width = (
            min(pad_side(side, multiple), high // multiple * multiple)
            for side, high in zip(sides, self.most[1:], strict=True)
        )
        return batch, height, width

    def contains(self, size: Size) -> bool:
        """Return whether a size lies in the range."""
        return all(low <= side <= high for low, side, high in zip(self.least, size, self.most, strict=True))

    def pad(self, height: int, width: int, multiple: int) -> tuple[int, int] | None:
        """Return the smallest height and width in the range that fit a patch and are multiples of ``multiple``.

        Returns:
            None if the patch is larger than the range.
        """
        padded_height = pad_side(height, multiple, self.least[1])
        padded_width = pad_side(width, multiple, self.least[2])
        return (padded_height, padded_width) if padded_height <= self.most[1] and padded_width <= self.most[2] else None
