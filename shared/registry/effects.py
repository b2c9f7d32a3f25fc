"""side effects: what cannot be written twice to the same bytes (submit a job) is leased first, then done.

The attempt number is the fence: one holder per attempt, the next attempt only once the lease has lapsed. An effect may
still happen twice (its holder died after it), so what it starts must stand that; the lease keeps it from being usual.
"""

from collections.abc import Callable
from typing import ClassVar

from shared.documents import Document
from shared.layout import EFFECTS, attempt_name
from shared.ports import Clock, ObjectStore
from shared.registry.blob import create_document, read_document


class Effect(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lease on an effect: who does it, until when (epoch s)."""

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
    """Do `effect` under a lease of the holder's, unless somebody else's is alive. Returns whether it was done now.

    Args: key: 64 hexadecimal digits that name the effect; holder: who asks, the same for a redelivery. lease_s: how long
        nobody else acts, for each attempt, counted from 1.
    """
    attempt = 1
    while True:
        place = EFFECTS.key(function=function, key=key, attempt=attempt_name(attempt))
        leased = read_document(store, place, Effect)
        if leased is None:
            wanted = Effect(holder=holder, leased_until=clock.now() + lease_s(attempt))
            leased = create_document(store, place, wanted)
        if leased.leased_until > clock.now():
            if leased.holder != holder:
                return False
            effect()  # told again within our own lease, we cannot know whether it was done
            return True
        attempt += 1
