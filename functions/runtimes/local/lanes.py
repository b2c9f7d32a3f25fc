"""Lanes: so many threads for a function, so many places to wait, and no more."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.errors import DeadlineExceeded, Unavailable
from shared.serving.http import Response

WAITING = 4
"""How many requests may wait for each thread."""


class Lane:
    """The threads of one function, and the places of those that wait for them."""

    def __init__(self, name: str, threads: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threading.Semaphore(threads * (1 + WAITING))

    async def run(self, work: Callable[[], Response]) -> Response:
        """Return what `work` returns, done on one of the threads.

        Raises: Unavailable: all places are taken. DeadlineExceeded: it takes too long; its thread and its place are
            free again only when it has ended.
        """
        if not self._places.acquire(blocking=False):
            raise Unavailable("Too many requests are waiting; try again.", retry_after_s=1)
        try:
            future = self._pool.submit(work)
        except BaseException:
            self._places.release()
            raise
        future.add_done_callback(lambda _: self._places.release())
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise DeadlineExceeded("It took too long; it may be done all the same.") from error

    def close(self) -> None:
        """Let nothing more begin."""
        self._pool.shutdown(wait=False, cancel_futures=True)
