"""Work in threads while the device computes: in order, a bounded number of items at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from gisegkit.machine import usable_cores

MOST = 4
"""Threads at most: each may hold a whole scan."""

T = TypeVar("T")
R = TypeVar("R")


def thread_count() -> int:
    """Threads that work on whole scans at once where nothing else needs the cores."""
    return min(MOST, usable_cores())


def threaded_map(function: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int) -> Generator[R]:
    """``map`` whose calls run in threads of their own while the caller keeps fetching items.

    Results come in the order of the items; an error comes where its result would have, with its traceback. Closing
    the generator ends the threads, and closes ``items`` where that is a generator.

    Args:
        function: called once an item; by one thread at a time and in order if there is one thread.
        items: fetched in the caller's own thread, where the device is driven.
        threads: 0 calls the function right here.
        ahead: items that may be worked on, or finished, beyond the one that is waited for.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="giseg") if threads else None
    iterator = iter(items)
    try:
        for item in iterator:
            waiting.append(pool.submit(function, item) if pool else _done(function, item))
            del item  # else it would live until the next one, which may be as large, is there
            if len(waiting) > (ahead if pool else 0):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        if isinstance(iterator, Generator):
            iterator.close()


def _done(function: Callable[[T], R], item: T) -> Future[R]:
    future: Future[R] = Future()
    future.set_result(function(item))
    return future
