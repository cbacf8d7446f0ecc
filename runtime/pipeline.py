"""Ordered, bounded concurrency: each of several threads takes a few items from start to end."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_groups(
    work: Callable[[list[Item]], list[Result]], items: Iterable[Item], *, workers: int, group_size: int
) -> Generator[Result, None, None]:
    """Yield the results of ``work`` on groups of items, one result for each item, in order.

    While one thread decodes, another waits for the engine and a third encodes. Items are taken as they are needed: at
    most ``(workers + 1) * group_size`` of them are in work or wait for the caller.

    Args:
        work: Called in several threads; its exceptions are raised here.
        items: An iterable, which may be endless.
        workers: Number of threads.
        group_size: Items in one call.

    Returns:
        A generator. If it is closed early, work that has started is finished and the rest is dropped.
    """
    remaining = iter(items)
    pool = ThreadPoolExecutor(workers, "fill")
    waiting: deque[Future[list[Result]]] = deque()
    try:
        while chunk := list(islice(remaining, group_size)):
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
