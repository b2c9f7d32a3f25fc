"""Effects: done under a lease by one holder at a time, and repeated by the holder, which cannot know if it was done."""

from adapters.memory.world import MemoryWorld
from shared.registry.effects import perform

LEASE_S = 120.0


class Doer:
    """A world in which one effect is done; `done` counts it."""

    def __init__(self) -> None:
        self.world = MemoryWorld()
        self.done = 0

    def perform(self, holder: str) -> bool:
        return perform(
            self.world.system,
            self.world.clock,
            function="trigger",
            key="a" * 64,
            holder=holder,
            lease_s=lambda attempt: LEASE_S * attempt,
            effect=self._act,
        )

    def _act(self) -> None:
        self.done += 1


def test_only_the_holder_of_a_lease_repeats_the_effect() -> None:
    doer = Doer()
    assert doer.perform("first")
    assert doer.perform("first")  # a redelivery cannot know whether it was done
    assert not doer.perform("second")
    assert doer.done == 2


def test_after_the_lease_expired_another_holder_takes_the_next_attempt() -> None:
    doer = Doer()
    doer.perform("first")
    doer.world.clock.advance(LEASE_S)  # it ends at this very moment
    assert doer.perform("second")
    assert not doer.perform("first")
    assert doer.done == 2


def test_the_same_holder_takes_a_new_lease_after_its_own_expired() -> None:
    doer = Doer()
    for number in range(10):  # half a lease apart, of which each is longer than the one before
        doer.perform("same")
        assert not doer.perform("other"), number
        doer.world.clock.advance(LEASE_S / 2)
    attempts = [info.key[-9:-5] for info in doer.world.system.list("effects/")]
    assert attempts == ["0001", "0002", "0003"]
