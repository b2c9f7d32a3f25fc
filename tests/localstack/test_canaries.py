"""Each emulator honours conditional writes and leases. If one did not, every test on it would prove nothing.

The control races write without the condition: they must have several winners, or the race proves nothing.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from localstack import emulators
from tests.localstack.bare_queues import MAX_RECEIVES, AzureQueue, BareQueue, PubSub, Sqs
from tests.localstack.bare_stores import S3, Azure, Gcs, Store, races
from tests.waiting import below, until

pytestmark = pytest.mark.emulator_by_name
RACES, CONTROLS = 6, 3
STORES: dict[str, tuple[Callable[[emulators.Running], Store], str]] = {
    "aws": (S3, "aws_emulator"),
    "azure": (Azure, "azure_emulator"),
    "gcs": (Gcs, "gcs_emulator"),
}
QUEUES: dict[str, tuple[Callable[[emulators.Running], BareQueue], str]] = {
    "sqs": (Sqs, "aws_emulator"),
    "azure": (AzureQueue, "azure_emulator"),
    "pubsub": (PubSub, "pubsub_emulator"),
}


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    make, emulator = STORES[request.param]
    return make(request.getfixturevalue(emulator))


@pytest.fixture(params=QUEUES)
def queue(request: pytest.FixtureRequest) -> BareQueue:
    make, emulator = QUEUES[request.param]
    return make(request.getfixturevalue(emulator))


def test_a_conditional_create_has_one_winner(store: Store) -> None:
    one, wrong, errors, partial_reads = races(store, store.put_new, RACES)
    assert (one, wrong, dict(errors), partial_reads) == (RACES, 0, {}, 0)


def test_a_create_without_the_condition_has_several_winners(store: Store) -> None:
    def put(key: str, body: bytes) -> bool:
        store.put(key, body)
        return True

    one, *_ = races(store, put, CONTROLS)
    assert one == 0


def test_an_existing_object_is_not_created_again(store: Store) -> None:
    assert store.put_new("canary/object", b"first")
    assert not store.put_new("canary/object", b"second")
    assert store.get("canary/object") == b"first"
    store.delete("canary/object")
    assert store.put_new("canary/object", b"third")
    store.delete("canary/object")


def receive_one(queue: BareQueue, visibility_s: int) -> Any:
    found: list[Any] = []

    def came() -> bool:
        found.extend(queue.receive(visibility_s, 1))
        return bool(found)

    until(came)
    return found[0]


def test_a_message_in_flight_is_delivered_again_unless_it_is_acknowledged(queue: BareQueue) -> None:
    queue.send("canary")
    first = receive_one(queue, 30)
    assert queue.receive(30) == []
    queue.change_visibility(first.receipt_handle, 0)
    second = receive_one(queue, 30)
    assert (second.body, second.id) == (first.body, first.id)
    queue.ack(second.receipt_handle)
    assert queue.receive(1) == []


def test_a_message_is_delivered_again_once_its_lease_has_ended(queue: BareQueue) -> None:
    queue.send("canary")
    assert receive_one(queue, 1).body == receive_one(queue, 1).body == "canary"


@pytest.mark.parametrize("name", ["sqs", "pubsub"])
def test_a_message_that_nobody_acknowledges_becomes_a_dead_letter(name: str, request: pytest.FixtureRequest) -> None:
    """Azure's queues have no dead letters: the host moves them (test_azure_host)."""
    make, emulator = QUEUES[name]
    queue = make(request.getfixturevalue(emulator))
    queue.send("canary")
    seen = 0

    def dead() -> bool:
        nonlocal seen
        for received in queue.receive(30, 1):
            seen += 1
            queue.change_visibility(received.receipt_handle, 0)
        return bool(queue.dead())

    until(dead)
    # The Pub/Sub emulator allows no fewer than five attempts, as the service does.
    assert seen >= MAX_RECEIVES


@pytest.mark.parametrize("emulator", ["aws_emulator", "azure_emulator", "gcs_emulator", "pubsub_emulator"])
def test_an_emulator_listens_on_loopback_only(emulator: str, request: pytest.FixtureRequest) -> None:
    running: emulators.Running = request.getfixturevalue(emulator)
    assert running.server is not None
    expected = {int(each.rpartition(":")[2]) for each in (running.host_port, running.queue_host_port) if each}
    found = listening(below(running.server.pid))
    assert {port for _, port in found} >= expected
    assert {address for address, _ in found} <= LOOPBACK


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same by way of IPv6, and ::1, as /proc writes them."""


def listening(pids: list[int]) -> set[tuple[str, int]]:
    """Return the addresses and ports that processes listen on."""
    sockets = set()
    for pid in pids:
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                sockets.add(os.readlink(each).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and inode in sockets:
                address, _, port = local.rpartition(":")
                found.add((address, int(port, 16)))
    return found
