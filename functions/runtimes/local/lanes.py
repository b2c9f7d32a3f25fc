"""Lanes: the threads of each function of the gateway, and a limited number of waiting requests."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.errors import DeadlineExceeded, Unavailable
from shared.serving.http import Response

WAITING = 4
"""How many requests may wait per thread."""


class Lane:
    """The threads of one function, with a limit on running and waiting requests together."""

    def __init__(self, name: str, threads: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threading.Semaphore(threads * (1 + WAITING))

    async def run(self, work: Callable[[], Response]) -> Response:
        """Run `work` on one of the threads and return its response.

        Raises: Unavailable: too many requests are running and waiting. DeadlineExceeded: `work` takes too long; it
            cannot be stopped, and its thread is free only when it has ended.
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
            raise DeadlineExceeded("It took too long; it may still be completed.") from error

    def close(self) -> None:
        """Start no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)
