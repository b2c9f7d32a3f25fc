"""Side effects under a lease: what cannot be made idempotent by its bytes, such as submitting a job.

Before an effect is performed, its holder writes a lease. Each attempt has its own lease document and number, so it
has one holder; the next attempt is possible only when the lease of the one before has expired. An effect can still
happen twice, when its holder dies after it and before the message is acknowledged. Whatever an effect starts must
therefore tolerate a second start; the lease only makes it rare.
"""

from collections.abc import Callable
from typing import ClassVar

from shared.documents import Document
from shared.layout import EFFECTS, attempt_name
from shared.ports import Clock, ObjectStore
from shared.registry.blob import create_document, read_document


class EffectLease(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lease on one attempt of an effect: who holds it, and until when (epoch s)."""

    FORMAT: ClassVar[tuple[str, int]] = ("effect", 1)

    holder: str
    leased_until: float


def perform(
    store: ObjectStore,
    clock: Clock,
    *,
    function: str,
    key: str,
    holder: str,
    lease_s: Callable[[int], float],
    effect: Callable[[], object],
) -> bool:
    """Perform `effect` under a lease, and return True; return False if another holder's lease is valid.

    Args:
        function: the function that performs the effect (a part of the lease's key).
        key: 64 hexadecimal digits that identify the effect.
        holder: who performs it, the same when a message is delivered again (its event's id). The holder of a valid
            lease performs the effect again, because it cannot know whether it did so before.
        lease_s: receives the attempt, from 1, and returns for how many seconds nobody else may perform the effect.
        effect: performs the effect; its return value is ignored.
    Raises: OutcomeUnknown: the lease could not be confirmed. Whatever `effect` raises.
    """
    attempt = 1
    while True:
        place = EFFECTS.key(function=function, key=key, attempt=attempt_name(attempt))
        leased = read_document(store, place, EffectLease)
        if leased is None:
            wanted = EffectLease(holder=holder, leased_until=clock.now() + lease_s(attempt))
            leased = create_document(store, place, wanted)
        if leased.leased_until > clock.now():
            if leased.holder != holder:
                return False
            effect()
            return True
        attempt += 1
