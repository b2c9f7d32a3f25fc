"""Each emulator honours what the design stands on; where one did not, every test on it would prove nothing.

The control writes without the condition: a race that could not be lost would say nothing of who won it.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from localstack import emulators, stores
from localstack.measure_objects import races
from localstack.queues import MAX_RECEIVES, AzureQueue, MeasuredQueue, PubSub, Sqs
from tests.waiting import below, until

pytestmark = pytest.mark.emulator
RACES, CONTROLS = 6, 3
STORES = {
    "aws": (stores.S3, "aws_emulator"),
    "azure": (stores.Azure, "azure_emulator"),
    "gcs": (stores.Gcs, "gcs_emulator"),
}
QUEUES = {
    "sqs": (Sqs, "aws_emulator"),
    "azure": (AzureQueue, "azure_emulator"),
    "pubsub": (PubSub, "pubsub_emulator"),
}


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest) -> Any:
    kind, emulator = STORES[request.param]
    running: emulators.Running = request.getfixturevalue(emulator)
    stores.create_bucket(kind.provider, running)
    return kind(running.host_port, running.host_port)


@pytest.fixture(params=QUEUES)
def queue(request: pytest.FixtureRequest) -> MeasuredQueue:
    kind, emulator = QUEUES[request.param]
    made: MeasuredQueue = kind(request.getfixturevalue(emulator))
    return made


def test_one_creator_wins(store: Any) -> None:
    one, wrong, errors, torn = races(store, store.put_new, RACES)
    assert (one, wrong, dict(errors), torn["part"]) == (RACES, 0, {}, 0)


def test_without_the_condition_several_win(store: Any) -> None:
    one, *_ = races(store, lambda key, body: bool(store.put(key, body)), CONTROLS)
    assert one == 0


def test_what_is_there_is_not_created_again(store: Any) -> None:
    assert store.put_new("canary/there", b"first")
    assert not store.put_new("canary/there", b"second")
    assert store.get("canary/there") == b"first"
    store.delete("canary/there")
    assert store.put_new("canary/there", b"third")
    store.delete("canary/there")


def receive_one(queue: MeasuredQueue, visibility_s: int) -> Any:
    found: list[Any] = []

    def came() -> bool:
        found.extend(queue.receive(visibility_s, 1))
        return bool(found)

    until(came)
    return found[0]


def test_a_message_on_lease_comes_again_unless_acknowledged(queue: MeasuredQueue) -> None:
    queue.send("canary")
    first = receive_one(queue, 30)
    assert queue.receive(30) == []
    queue.change_visibility(first.receipt_handle, 0)
    second = receive_one(queue, 30)
    assert (second.body, second.id) == (first.body, first.id)
    queue.ack(second.receipt_handle)
    assert queue.receive(1) == []


def test_a_message_is_not_lent_for_ever(queue: MeasuredQueue) -> None:
    queue.send("canary")
    assert receive_one(queue, 1).body == receive_one(queue, 1).body == "canary"


@pytest.mark.parametrize("name", ["sqs", "pubsub"])
def test_a_message_nobody_takes_becomes_a_dead_letter(name: str, request: pytest.FixtureRequest) -> None:
    """Azure's queues know no dead letters: the host moves them (test_azure_host)."""
    kind, emulator = QUEUES[name]
    queue = kind(request.getfixturevalue(emulator))
    queue.send("canary")
    seen = 0

    def dead() -> bool:
        nonlocal seen
        for lent in queue.receive(30, 1):
            seen += 1
            queue.change_visibility(lent.receipt_handle, 0)
        return bool(queue.dead())

    until(dead)
    # The Pub/Sub emulator allows no fewer than five attempts, as the service does.
    assert seen >= MAX_RECEIVES


@pytest.mark.parametrize("emulator", ["aws_emulator", "azure_emulator", "gcs_emulator", "pubsub_emulator"])
def test_all_that_it_listens_on_is_loopback(emulator: str, request: pytest.FixtureRequest) -> None:
    running: emulators.Running = request.getfixturevalue(emulator)
    assert running.server is not None
    asked = {int(each.rpartition(":")[2]) for each in (running.host_port, running.queue_host_port) if each}
    found = listening(below(running.server.pid))
    assert {port for _, port in found} >= asked
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
