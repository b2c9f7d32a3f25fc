"""The simulation fails without each of the guards."""

import secrets
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import functions.infer
import functions.runtimes.dispatch
import functions.train
import shared.events
import shared.registry.blob
import shared.registry.ledger
import shared.serving.sessions
from functions.runtimes.dispatch import deliver, event_of_message
from shared.platform import Platform
from shared.ports import Message
from shared.serving.records import ReleaseDecision
from tests.simulation import random_plans
from tests.simulation.scenario import STEPS, begin, predict, release
from tests.simulation.test_crashes import crash_at_operations, undisturbed
from tests.simulation.world import World

pytestmark = pytest.mark.slow

SEEDS = range(80)


def by_chance() -> None:
    """Run seeds until one fails, as the test of all seeds does."""
    for seed in SEEDS:
        finding = random_plans.run(seed)
        assert not finding.wrong, finding.wrong


class _EqualToAll(bytes):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = bytes.__hash__


def without_claim(patch: pytest.MonkeyPatch) -> None:
    """Two copies of a job train at the same time."""
    patch.setattr(functions.train, "claim", lambda *_: 1)
    by_chance()


def without_read_back(patch: pytest.MonkeyPatch) -> None:
    """A lost answer and "exists" count as success."""
    patch.setattr(shared.registry.blob, "read_back", lambda *_: _EqualToAll())
    by_chance()


def without_deterministic_ids(patch: pytest.MonkeyPatch) -> None:
    """An event gets a new id each time it is returned."""
    patch.setattr(shared.events, "event_id", lambda *_: secrets.token_hex(32))
    by_chance()


def without_ack_after_send(patch: pytest.MonkeyPatch) -> None:
    """A message is acknowledged before its events are sent."""

    def consume(world: World, function: str, message: Message) -> None:
        world.queues[function].ack(message.receipt_handle)
        platform = world.platform(function)
        deliver(function, event_of_message(function, message.body, platform), platform)

    patch.setattr(World, "_consume", consume)
    crash_at_operations("upload of February, first training")


def without_tail_probe(patch: pytest.MonkeyPatch) -> None:
    """A stale hint counts as the tail."""
    patch.setattr(shared.registry.ledger, "last_number", lambda exists, start: start)
    by_chance()


def without_revision_check(patch: pytest.MonkeyPatch) -> None:
    """A reader takes any release that it sees, even an older one."""
    patch.setattr(shared.serving.sessions, "_refresh", _refresh_without_revision_check)
    by_chance()


@pytest.mark.parametrize(
    "remove",
    [
        without_claim,
        without_read_back,
        without_deterministic_ids,
        without_ack_after_send,
        without_tail_probe,
        without_revision_check,
    ],
    ids=lambda remove: remove.__name__,
)
def test_the_simulation_fails_without_the_guard(
    remove: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed()  # cached with every guard in place
    with pytest.raises(AssertionError):
        remove(monkeypatch)


@pytest.mark.parametrize("guarded", [True, False])
def test_no_process_goes_back_to_an_older_revision(guarded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader behind a stale replica must not undo a release."""
    world = begin()
    for name in ("upload of January", "upload of February, first training", "predictions, first batch"):
        _run_step(world, name)
    for name in ("predictions, second batch", "labels", "upload of March", "monitoring, alert, second training"):
        _run_step(world, name)
    world.clock.advance(10.0)
    predict(101, 0, 3)(world)
    newest = world.revisions[-1][1]
    assert newest == 2

    def lagging(platform: Platform, usecase: str) -> tuple[int, ReleaseDecision] | None:
        releases = functions.infer.Ledger(platform.system, functions.infer.layout.RELEASES, usecase, ReleaseDecision)
        return 1, releases.get(1).document

    monkeypatch.setattr(functions.infer, "_read_release", lagging)
    if not guarded:
        monkeypatch.setattr(shared.serving.sessions, "_refresh", _refresh_without_revision_check)
    world.clock.advance(10.0)
    predict(102, 0, 3)(world)
    assert (random_plans.older_revisions(world) == []) is guarded
    monkeypatch.undo()
    release(103, action="rollback")(world)
    world.settle()
    assert world.check().findings == ()


def _run_step(world: World, name: str) -> None:
    STEPS[name](world)
    world.settle()


def _refresh_without_revision_check(entry: Any, usecase: str, read_release: Any, load: Any, now: float) -> None:
    revision, release = read_release(usecase)
    entry.revision = revision
    entry.model = msgspec.structs.replace(load(usecase, release.champion), revision=revision)
