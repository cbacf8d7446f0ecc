"""Work on many items at once, in order and bounded: several threads, each with a few items from end to end."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_groups(
    work: Callable[[list[Item]], list[Result]], items: Iterable[Item], *, workers: int, group: int
) -> Generator[Result, None, None]:
    """Return what ``work`` makes of groups of items, one result for each item, in their order.

    While one thread decodes, another is in the engine and a third encodes, without any of them waiting for its stage.
    Items are taken as they are needed: what is in work, or waits to be taken by the caller, is at most
    ``(workers + 1) * group`` items.

    Args:
        work: Called in several threads; what it raises is raised here.
        items: Any iterable, also without an end.
        workers: Threads.
        group: Items in one call.

    Returns:
        A generator. Left early, what has not begun is dropped and what has is finished.
    """
    left = iter(items)
    pool = ThreadPoolExecutor(workers, "fill")
    waiting: deque[Future[list[Result]]] = deque()
    try:
        for chunk in iter(partial(_take, left, group), []):
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _take(left: Iterator[Item], count: int) -> list[Item]:
    return list(islice(left, count))
