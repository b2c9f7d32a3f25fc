"""Azure Storage Queues over a faulty network, and what the adapter does itself: poison messages, receipt handles."""

import base64
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from adapters import deadlines
from adapters.azure.queue import LISTING_LEASE_S, MAX_BODY_BYTES, MAX_PEEK, AzureQueue, from_url
from localstack.emulators import AZURE_ACCOUNT, Running
from localstack.lossy_proxy import Loss, LossyProxy, lossy_proxy
from shared.errors import (
    ConfigurationError,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from tests.conformance import azure_rigs
from tests.conformance.azure_rigs import QueuePair, credentials
from tests.conformance.broken import REJECTIONS
from tests.conformance.queue_receive_clauses import RECEIVING
from tests.refusals import xml

RECEIPT = f"{uuid.UUID(int=1)} AgAAAAMAAAAAAAAA"


@pytest.fixture
def back(azure_emulator: Running) -> Iterator[QueuePair]:
    with credentials():
        yield QueuePair(azure_emulator)


@pytest.fixture
def proxy(azure_emulator: Running) -> Iterator[LossyProxy]:
    with lossy_proxy(azure_emulator.queue_host_port) as running:
        yield running


@pytest.fixture
def queue(proxy: LossyProxy, back: QueuePair, monkeypatch: pytest.MonkeyPatch) -> AzureQueue:
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)
    return AzureQueue(AZURE_ACCOUNT, back.name, endpoint=f"http://{proxy.host_port}", max_receives=2)


@pytest.fixture
def at_once(queue: AzureQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevent retries: every pause would pass the deadline."""
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)
    monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)


def everything(queue: AzureQueue) -> list[Callable[[], object]]:
    return [
        lambda: queue.send(b"1"),
        lambda: queue.send_many([b"1", b"2"]),
        lambda: queue.receive(1, 30.0),
        lambda: queue.ack(RECEIPT),
        lambda: queue.change_visibility(RECEIPT, 1.0),
        lambda: queue.depth(),
        lambda: list(queue.dead_letters()),
        lambda: queue.redrive("x"),
    ]


@pytest.mark.parametrize("loss", ["request", "upload", "part", "answer"])
def test_a_send_with_a_lost_answer_is_outcome_unknown_and_not_repeated(
    queue: AzureQueue, proxy: LossyProxy, back: QueuePair, loss: Loss
) -> None:
    for send in (lambda: queue.send(b"1"), lambda: queue.send_many([b"1"])):
        proxy.lose(loss, 100)
        with pytest.raises(OutcomeUnknown, match="may or may not"):
            send()
        assert proxy.attempts == 1
    proxy.lose("none", 0)
    assert back.bodies() == ([] if loss in ("request", "upload") else [b"1", b"1"])


@pytest.mark.parametrize("loss", ["request", "answer"])
def test_idempotent_calls_are_repeated_after_lost_answers(
    queue: AzureQueue, proxy: LossyProxy, back: QueuePair, loss: Loss
) -> None:
    queue.send(b"1")
    proxy.lose(loss, 1, reads=True)
    assert queue.depth() == (1, None)
    message = queue.receive(1, 30.0)[0]
    proxy.lose(loss, 1, reads=True)
    assert queue.ack(message.receipt_handle) is True
    assert back.bodies() == []
    assert queue.ack(message.receipt_handle) is False


def test_a_change_of_visibility_with_a_lost_answer_is_outcome_unknown(queue: AzureQueue, proxy: LossyProxy) -> None:
    queue.send(b"1")
    message = queue.receive(1, 30.0)[0]
    proxy.lose("answer", 1)
    with pytest.raises(OutcomeUnknown):
        queue.change_visibility(message.receipt_handle, 30.0)
    assert (
        queue.change_visibility(message.receipt_handle, 30.0) is None
    )  # the receipt handle that was lost has taken its place


def test_ten_throttles_in_a_row_are_retried(queue: AzureQueue, proxy: LossyProxy, back: QueuePair) -> None:
    proxy.reply(xml("503 Busy", "ServerBusy"), 10)
    queue.send(b"1")
    assert (proxy.attempts, back.bodies()) == (11, [b"1"])


@pytest.mark.usefixtures("at_once")
def test_a_throttle_past_the_deadline_is_raised(queue: AzureQueue, proxy: LossyProxy) -> None:
    for operation in everything(queue):
        proxy.reply(xml("429 Many", "TooManyRequests", "none", "Retry-After: 7"), 1, reads=True)
        with pytest.raises(Throttled) as caught:
            operation()
        assert caught.value.retry_after_s == 7.0


@pytest.mark.usefixtures("at_once")
def test_an_unreachable_service_is_unavailable(queue: AzureQueue, proxy: LossyProxy) -> None:
    proxy.close()
    for operation in everything(queue):
        with pytest.raises(Unavailable, match="cannot be reached"):
            operation()


def test_a_missing_queue_is_named_with_the_command_that_creates_it(azure_emulator: Running, back: QueuePair) -> None:
    queue = AzureQueue(AZURE_ACCOUNT, "no-such-one", endpoint=azure_emulator.queue_url)
    for operation in everything(queue):
        with pytest.raises(NotFound, match=r"az storage queue create --name no-such-one\S* --account-name \w+"):
            operation()


def test_a_wrong_key_and_a_missing_permission_name_the_remedy(
    azure_emulator: Running, queue: AzureQueue, proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = ("add", "add", "process", "delete", "write", "queues/read", "messages/read", "process")
    for operation, action in zip(everything(queue), actions, strict=True):
        proxy.reply(xml("403 Forbidden", "AuthorizationPermissionMismatch"), 1, reads=True)
        with pytest.raises(PermissionDenied, match=rf"{action}.*{queue.name}.*role"):
            operation()
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=")
    with lossy_proxy(azure_emulator.queue_host_port) as unknown:  # another address: a client of its own
        wrong = AzureQueue(AZURE_ACCOUNT, queue.name, endpoint=f"http://{unknown.host_port}")
        for operation in everything(wrong):
            with pytest.raises(Unauthenticated, match="AZURE_STORAGE_ACCOUNT_KEY") as caught:
                operation()
            assert "d3Jvbmc=" not in str(caught.value)


def test_a_poison_message_in_a_batch_of_ten_is_moved_alone(queue: AzureQueue, back: QueuePair) -> None:
    queue.send(b"poison")
    for _ in range(2):
        (message,) = queue.receive(10, 60.0)
        assert queue.change_visibility(message.receipt_handle, 0.0)
    queue.send_many([b"%d" % number for number in range(9)])
    received = queue.receive(10, 60.0)
    assert sorted(each.body for each in received) == [b"%d" % number for number in range(9)]
    assert back.poisoned() == [b"poison"]
    assert all(queue.ack(each.receipt_handle) for each in received)
    assert back.bodies() == []


def test_a_poison_message_is_not_lost_between_the_queues(
    queue: AzureQueue, proxy: LossyProxy, back: QueuePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.send(b"poison")
    for _ in range(2):
        (message,) = queue.receive(1, 60.0)
        assert queue.change_visibility(message.receipt_handle, 0.0)
    proxy.lose("request", 1)  # of the move: the message stays where it is until its lease ends
    assert queue.receive(1, 1.0) == []
    assert (back.bodies(), back.poisoned()) == ([b"poison"], [])
    assert queue.receive(1, 1.0) == []
    assert (back.bodies(), back.poisoned()) == ([], [b"poison"])


def test_a_missing_poison_queue_does_not_block_other_messages(azure_emulator: Running) -> None:
    with credentials():
        pair = QueuePair(azure_emulator, poison=False)
        queue = AzureQueue(AZURE_ACCOUNT, pair.name, endpoint=azure_emulator.queue_url, max_receives=1)
        queue.send(b"poison")
        (message,) = queue.receive(1, 60.0)
        assert queue.change_visibility(message.receipt_handle, 0.0)
        queue.send(b"sound")
        assert [each.body for each in queue.receive(10, 1.0)] == [b"sound"]
        assert b"poison" in pair.bodies()
        for look in (lambda: queue.receive(10, 1.0), lambda: list(queue.dead_letters())):
            with pytest.raises(NotFound, match=f"az storage queue create --name {pair.name}-poison"):
                look()


def test_more_dead_letters_than_one_peek_are_listed(queue: AzureQueue, back: QueuePair) -> None:
    bodies = {b"%d" % number for number in range(MAX_PEEK + 8)}
    for body in bodies:
        back.poison.send_message(base64.b64encode(body).decode())
    for _ in range(2):  # listed letters are visible again
        letters = list(queue.dead_letters())
        assert {letter.body for letter in letters} == bodies
    assert LISTING_LEASE_S > 1
    queue.redrive(letters[-1].id)
    assert back.bodies() == [letters[-1].body]
    assert {letter.body for letter in queue.dead_letters()} == bodies - {letters[-1].body}


def test_plain_text_from_other_senders_is_received(queue: AzureQueue, back: QueuePair) -> None:
    back.client.send_message("{plain}")
    assert [message.body for message in queue.receive(1, 30.0)] == [b"{plain}"]


def test_messages_never_expire_and_can_have_the_largest_size(queue: AzureQueue, back: QueuePair) -> None:
    queue.send(b"\0" * MAX_BODY_BYTES)
    (found,) = back.client.peek_messages(1)
    assert len(found.content) == 65_536
    assert found.expires_on.year == 9999


def test_malformed_receipt_handles_are_rejected(queue: AzureQueue) -> None:
    for receipt_handle in ("", "no receipt_handle", RECEIPT, f"{uuid.UUID(int=1)} ", f"../{uuid.UUID(int=1)} x"):
        assert queue.ack(receipt_handle) is False
        assert queue.change_visibility(receipt_handle, 1.0) is None


def test_the_suite_rejects_queues_that_lose_the_receive_count(azure_emulator: Running) -> None:
    with contextmanager(azure_rigs.storage_queue)(lambda name: azure_emulator) as rig:
        rig.queue.max_receives = 1_000
        with pytest.raises(REJECTIONS):
            RECEIVING.clauses["a_message_past_max_receives_becomes_a_dead_letter"].check(rig)


def test_queue_names_have_the_prefix() -> None:
    made = from_url("azq://lake/stack-", ["validate", "train"])
    assert {name: queue.name for name, queue in made.items()} == {"validate": "stack-validate", "train": "stack-train"}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("azq://lake/stack--", "validate"),
        ("azq://lake/stack-", "-validate"),
        ("azq://lake/Stack-", "validate"),
        ("azq://lake/stack_", "validate"),
        ("azq://lake/", "n" * 57),
        ("azq://lake/a/", "b"),
        ("azq://Lake/stack-", "validate"),
        ("azq:///stack-", "validate"),
        ("azq://user:secret@lake/stack-", "validate"),
        ("azq://lake/stack-?sas=secret", "validate"),
        ("azq://lake/stack-?endpoint=http://lake.example.org", "validate"),
    ],
)
def test_invalid_urls_and_names_are_rejected(url: str, name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_url(url, [name])
    assert "secret" not in str(caught.value)
