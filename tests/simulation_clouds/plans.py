"""Random plans on a cloud: one seed gives one world in which everything fails, and what must hold at its end."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from adapters.memory.faults import Rates
from shared.data.records import Receipt
from shared.documents import decode
from tests.simulation.random_plans import TOGETHER, problems_of
from tests.simulation.scenario import STEPS, monitor, sign_off
from tests.simulation.world import MAX_ROUNDS, World
from tests.simulation_clouds.clouds import Fresh
from tests.simulation_clouds.network import Chances
from tests.simulation_clouds.world import CloudWorld

RATES = Rates(crash_before=0.005, crash_after=0.005, skew=0.004, duplicate=0.1, reorder=0.2)

WITH_RECONCILE = ("upload of February, first training", "monitoring, alert, second training")
"""After these, what was missed is looked for: without a model, or a second one, the rest of the story is short."""


class Finding(msgspec.Struct, frozen=True):
    """What a run came to: the faults that struck operations, by kind; how many operations there were; all that was
    wrong at the end; and, for people, which operations of the network's were struck by what."""

    faults: Counter[str]
    operations: int
    wrong: tuple[str, ...]
    record: tuple[str, ...]


def run(
    fresh: Fresh,
    seed: int,
    *,
    chances: Chances = Chances(),  # noqa: B008 - frozen
    rates: Rates = RATES,
    steps: Iterable[str] = tuple(STEPS),
    rounds: int = MAX_ROUNDS,
) -> Finding:
    """Tell the story in a cloud under a seed's misfortune, and return what is wrong afterwards."""
    world = CloudWorld(fresh(), seed=seed, rates=rates, chances=chances)
    sign_off(world.direct.stores["system"])
    wrong: list[str] = []
    try:
        for name in steps:
            STEPS[name](world)
            if name not in TOGETHER[:-1]:
                world.run_pending()
            if name in WITH_RECONCILE:
                world.reconcile()
        world.faults.calm()
        world.clock.skew_s = 0.0
        world.reconcile()
        monitor(world)
        world.settle(rounds)
        mirror = world.mirrored()
        wrong = [*problems_of(mirror), *unreceipted(world, mirror)]
    except AssertionError as error:
        wrong = [f"{type(error).__name__}: {error}", *world.failed[-3:]]
    return Finding(world.faults.counts(), world.faults.operations, tuple(wrong), tuple(world.network.record))


def unreceipted(world: CloudWorld, mirror: World) -> list[str]:
    """1: every acknowledged upload, and the file dropped by hand, has exactly one receipt."""
    bodies = {key: stored.body for key, stored in mirror.system._objects.items() if key.startswith("receipts/")}
    receipts = [decode(body, Receipt) for body in bodies.values()]
    received = {receipt.receipt for receipt in receipts}
    wrong = [f"{name} was acknowledged and has no receipt" for name in world.acknowledged if name not in received]
    sources = Counter(receipt.source_key for receipt in receipts)
    return wrong + [f"{key} has {sources[key]} receipts" for key in mirror.landing._keys if sources[key] != 1]
