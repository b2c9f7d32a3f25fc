"""Create if absent over a network that loses answers: each write carries an id, and what stands tells whose it is.

A conditional write whose answer was lost is told "it exists" when it is sent again, by its own object. The id, kept in
the object's metadata, tells the two apart (docs/decisions/0001).
"""

import os
import time
from collections.abc import Callable

import msgspec

from adapters.deadlines import Deadline, chance, pause_s, persist
from shared.errors import AlreadyExists, OutcomeUnknown, TransientError
from shared.ports import Created, Exists

WRITE_ID = "tidegate_write"
"""The metadata's name for it: letters and underscores only, as Azure asks of names."""


class Existing(msgspec.Struct, frozen=True):
    """What stands under a key: the write id that it carries ("" for none) and its etag."""

    write_id: str
    etag: str


def put_new(
    write: Callable[[str, float], str],
    existing: Callable[[float], Existing | None],
    deadline: Deadline,
    new_id: Callable[[], str] = lambda: os.urandom(16).hex(),
) -> Created | Exists:
    """Create an object if it is absent, and know for certain whether it was created.

    Args:
        write: (write id, seconds left) -> etag; creates the object with the id in its metadata. It sends once, and
            raises AlreadyExists where an object stands there, Throttled or Unavailable where certainly nothing was
            done, and OutcomeUnknown where the answer was lost.
        existing: (seconds left) -> what stands there, None where nothing does.
        deadline: of the whole; new_id: gives the write id, one for all attempts.
    Raises: OutcomeUnknown: an answer was lost, and reading back was not possible in time. DeadlineExceeded,
        Throttled, Unavailable: nothing was done. Whatever else `write` and `existing` raise.
    """
    write_id = new_id()
    in_doubt = 0
    while True:
        try:
            return Created(persist(lambda left_s: write(write_id, left_s), deadline))
        except AlreadyExists:
            if not in_doubt:  # the first answer that we had: it speaks of another's object
                return Exists()
        except OutcomeUnknown:
            in_doubt += 1
        except TransientError as error:
            if in_doubt:
                raise _unknown(deadline) from error
            raise
        try:
            found = persist(existing, deadline)
        except TransientError as error:
            raise _unknown(deadline) from error
        if found is not None:
            return Created(found.etag) if found.write_id == write_id else Exists()
        time.sleep(min(deadline.left_s(), pause_s(max(1, in_doubt), None, chance())))


def _unknown(deadline: Deadline) -> OutcomeUnknown:
    return OutcomeUnknown(
        "the write's answer was lost, and reading back failed: read the key before deciding anything",
        provider=deadline.provider,
        operation=deadline.operation,
        resource=deadline.resource,
    )
