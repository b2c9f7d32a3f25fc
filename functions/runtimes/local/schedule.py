"""Schedules on one host: a tick is a message in the queue of the scheduled function."""

import contextlib

from shared.documents import encode
from shared.errors import Unsupported
from shared.events import NO_USECASE, ScheduleFired, first_event
from shared.ports import Queue, QueueConsumer


def tick(function: str, queue: Queue, consumer: QueueConsumer, now: float) -> bool:
    """Send a tick to the function's queue, unless the queue has a message. Returns whether it was sent.

    So ticks do not pile up while the function is behind. Args: now: epoch s.
    """
    with contextlib.suppress(Unsupported):  # some providers' queues have no depth: there the tick is always sent
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
