"""Create-if-absent over a network that loses answers, settled by a write id in the object's metadata.

When a conditional write whose answer was lost is sent again, its own object makes it fail with "exists". The write id
of the existing object shows whether the object is our own (docs/decisions/0001).
"""

import os
import time
from collections.abc import Callable

import msgspec

from adapters.deadlines import Deadline, pause_s, random_fraction, retry
from shared.errors import AlreadyExists, OutcomeUnknown, TransientError
from shared.ports import Created, Exists

WRITE_ID = "tidegate_write"
"""The name of the id in the metadata. Azure allows letters, digits and underscores."""


class StoredWrite(msgspec.Struct, frozen=True):
    """The existing object of a key: its write id ("" for none) and its etag."""

    write_id: str
    etag: str


def put_new(
    write: Callable[[str, float], str],
    existing: Callable[[float], StoredWrite | None],
    deadline: Deadline,
    new_id: Callable[[], str] = lambda: os.urandom(16).hex(),
) -> Created | Exists:
    """Create an object if it is absent. Return for certain whether this call created it.

    Args:
        write: (write id, seconds left) -> etag. Creates the object with the id in its metadata. It sends once. It
            raises AlreadyExists where an object exists, Throttled or Unavailable where certainly nothing was done, and
            OutcomeUnknown where the answer was lost.
        existing: (seconds left) -> the existing object, or None.
        deadline: the deadline of the whole operation.
        new_id: returns the write id, one for all attempts.
    Raises: OutcomeUnknown: an answer was lost, and reading back failed until the deadline. DeadlineExceeded, Throttled,
        Unavailable: nothing was done. Other errors of `write` and `existing`.
    """
    write_id = new_id()
    in_doubt = 0
    while True:
        try:
            return Created(retry(lambda left_s: write(write_id, left_s), deadline))
        except AlreadyExists:
            if not in_doubt:  # no answer was lost before, so that the object is another writer's
                return Exists()
        except OutcomeUnknown:
            in_doubt += 1
        except TransientError as error:
            if in_doubt:
                raise _unknown(deadline) from error
            raise
        try:
            found = retry(existing, deadline)
        except TransientError as error:
            raise _unknown(deadline) from error
        if found is not None:
            return Created(found.etag) if found.write_id == write_id else Exists()
        time.sleep(min(deadline.left_s(), pause_s(max(1, in_doubt), None, random_fraction())))


def _unknown(deadline: Deadline) -> OutcomeUnknown:
    return OutcomeUnknown(
        "the write's answer was lost, and reading back failed: read the key before deciding anything",
        provider=deadline.provider,
        operation=deadline.operation,
        resource=deadline.resource,
    )
