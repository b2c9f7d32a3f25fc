"""Schedules on one host: a tick is a message in the queue of the function that it calls."""

import contextlib

from shared.documents import encode
from shared.errors import Unsupported
from shared.events import NO_USECASE, ScheduleFired, first_event
from shared.ports import Queue, QueueConsumer


def tick(function: str, queue: Queue, consumer: QueueConsumer, now: float) -> bool:
    """Send a tick to the function's queue, unless that still has a message; returns whether it was sent.

    A function that is behind is not called faster for it. Args: now: epoch s.
    """
    with contextlib.suppress(Unsupported):  # where the provider does not count, it is called as often as it is due
        if consumer.depth()[0] > 0:
            return False
    event = first_event(
        ScheduleFired(function=function),
        usecase=NO_USECASE,
        source="/schedule",
        origin=f"tick {round(now * 1000)}",
        at=now,
    )
    queue.send(encode(event))
    return True
