"""Large events are sent as claim checks: stored first, read by digest, and refused if they do not match it."""

import msgspec
import pytest

from functions.runtimes.claim_check import ClaimCheck, to_event, to_message
from functions.runtimes.dispatch import event_of_message, send
from shared.documents import digest_of, encode, hex_of
from shared.errors import IntegrityError, NotFound, PermissionDenied
from shared.events import PredictionsCaptured, first_event
from shared.layout import PAYLOADS
from tests.simulation.world import World

LIMIT = 2000


@pytest.fixture
def world() -> World:
    made = World()
    made.queue("collect").max_body_bytes = LIMIT
    return made


def event(filling: int, **inputs: str):  # type: ignore[no-untyped-def]
    batch = msgspec.Raw(msgspec.json.encode({"inputs": inputs, "filling": "x" * filling}))
    return first_event(PredictionsCaptured(batch=batch), usecase="flights", source="/test", origin="test", at=0.0)


def sent(world: World) -> bytes:
    (message,) = world.queues["collect"].receive(10, 30.0)
    return message.body


def test_a_small_event_is_its_own_message(world: World) -> None:
    small = event(10)
    send(small, world.platform("infer"))
    assert sent(world) == encode(small)
    assert list(world.capture.list()) == []


def test_a_large_event_is_stored_and_read_back_unchanged(world: World) -> None:
    large = event(5000)
    for _ in range(2):  # a repetition stores the same
        send(large, world.platform("infer"))
    first, second = (message.body for message in world.queues["collect"].receive(10, 30.0))
    assert first == second
    assert len(first) < 300
    (stored,) = world.capture.list()
    assert stored.key == PAYLOADS.key(usecase="flights", digest=hex_of(digest_of(encode(large))))
    assert event_of_message("collect", first, world.platform("collect")) == large


def test_the_limit_itself_still_fits(world: World) -> None:
    base = len(encode(event(0)))
    exact, over = event(LIMIT - base), event(LIMIT - base + 1)
    queue, platform = world.queues["collect"], world.platform("infer")
    assert to_message(exact, queue, platform) == encode(exact)
    assert to_message(over, queue, platform) != encode(over)


def test_only_a_function_with_the_grant_stores_or_reads_a_large_event(world: World) -> None:
    message = to_message(event(5000), world.queues["collect"], world.platform("infer"))
    with pytest.raises(PermissionDenied):
        event_of_message("register", message, world.platform("register"))


def test_a_truncated_or_changed_payload_is_refused(world: World) -> None:
    message = to_message(event(5000), world.queues["collect"], world.platform("infer"))
    (stored,) = world.capture.list()
    whole = world.capture.get(stored.key).body
    for other in (whole[:-1], encode(event(5001))):
        world.capture.put(stored.key, other)
        with pytest.raises(IntegrityError):
            to_event(message, world.platform("collect"))
    world.capture.delete(stored.key)
    with pytest.raises(NotFound):
        to_event(message, world.platform("collect"))


@pytest.mark.parametrize("digest", ["sha256:../../x", "", "sha256:" + "g" * 64])
def test_a_claim_on_no_digest_is_refused(world: World, digest: str) -> None:
    with pytest.raises(IntegrityError):
        to_event(encode(ClaimCheck(usecase="flights", digest=digest)), world.platform("collect"))


def test_an_event_that_looks_like_a_claim_check_is_an_event(world: World) -> None:
    tricky = event(10, format="claim-check/1", digest="sha256:" + "0" * 64)
    assert to_event(encode(tricky), world.platform("collect")) == tricky


def test_a_message_that_is_neither_event_nor_claim_check_is_refused(world: World) -> None:
    for message in (b"", b"{}", b"[1]", b'{"format":3}', b"\xff", b'{"format":"claim-check/1"}', b"[" * 100_000):
        with pytest.raises(IntegrityError):
            to_event(message, world.platform("collect"))
