"""Find a minimal set by bisection.

Source: U. Junker, "QuickXplain: Preferred Explanations and Relaxations for Over-Constrained Problems" (2004).
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def find_minimal(items: Sequence[Item], passes: Callable[[list[Item]], bool]) -> list[Item]:
    """Return some of the items that pass together, of which none can be left out.

    Args:
        items: One or more, which pass together, in order.
        passes: Whether a selection passes. More items than a passing selection must pass, too.
    """

    def search(candidates: list[Item], kept: list[Item]) -> list[Item]:
        if passes(kept):
            return []
        if len(candidates) == 1:
            return candidates
        left, right = candidates[: len(candidates) // 2], candidates[len(candidates) // 2 :]
        from_right = search(right, kept + left)
        return search(left, kept + from_right) + from_right

    return search(list(items), [])
