"""Enter and leave slow context managers concurrently."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def concurrently(managers: Sequence[AbstractContextManager[T]], at_once: int = 4) -> Iterator[list[T]]:
    """Enter context managers, at most `at_once` at a time, and leave them all together.

    Yields their values, in their order. Threads enter and leave them; they do not receive an exception of the block.
    Raises: what the first of them raises, at either end; those that were entered are left in any case.
    """
    with ThreadPoolExecutor(at_once) as pool, ExitStack() as entered:
        entering = [pool.submit(manager.__enter__) for manager in managers]

        def leave() -> None:
            for each in entering:
                each.cancel()
            wait(entering)
            good = [manager for manager, each in zip(managers, entering, strict=True) if _entered(each)]
            with ThreadPoolExecutor(max(1, len(good))) as leaving:
                for left in [leaving.submit(manager.__exit__, None, None, None) for manager in good]:
                    left.result()

        entered.callback(leave)
        yield [each.result() for each in entering]


def _entered(each: "Future[T]") -> bool:
    return not each.cancelled() and each.exception() is None
