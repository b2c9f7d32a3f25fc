"""SQS over a faulty network, and what the adapter does itself: encoding, batches, names in errors."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from adapters import deadlines
from adapters.aws import sdk
from adapters.aws.message_text import bytes_of, text_of
from adapters.aws.queue import SqsQueue, from_url
from localstack.emulators import Running
from localstack.lossy_proxy import Loss, LossyProxy, lossy_proxy
from shared.errors import (
    ConfigurationError,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    PermissionDenied,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from tests.conformance import aws_rigs
from tests.conformance.aws_rigs import REGION, QueuePair, account
from tests.conformance.broken import REJECTIONS
from tests.conformance.queue_receive_clauses import RECEIVING


@pytest.fixture(params=["signed", "sdk"], autouse=True)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with our own signed requests, and with the SDK."""
    monkeypatch.setenv("HOME", "/nonexistent")  # with a developer's own profiles the SDK would be used
    if request.param == "sdk":
        monkeypatch.setattr(sdk, "is_plain", lambda *_: False)


@pytest.fixture
def back(aws_emulator: Running) -> Iterator[QueuePair]:
    with account() as environment:
        yield QueuePair(aws_emulator, environment)


@pytest.fixture
def proxy(aws_emulator: Running) -> Iterator[LossyProxy]:
    with lossy_proxy(aws_emulator.host_port) as running:
        yield running


@pytest.fixture
def queue(proxy: LossyProxy, back: QueuePair, monkeypatch: pytest.MonkeyPatch) -> SqsQueue:
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)
    made = from_url(f"sqs://{REGION}/t-?endpoint=http://{proxy.host_port}", ["queue"])["queue"]
    made.depth()  # requests the queue's URL now, so that each later call is one request
    return made


def refusal(status: str, code: str, message: str = "none") -> bytes:
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": message}).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/x-amz-json-1.0"]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def everything(queue: SqsQueue) -> list[tuple[str, Callable[[], object]]]:
    return [
        ("SendMessage", lambda: queue.send(b"1")),
        ("SendMessage", lambda: queue.send_many([b"1", b"2"])),
        ("ReceiveMessage", lambda: queue.receive(1, 30.0)),
        ("DeleteMessage", lambda: queue.ack("receipt_handle")),
        ("ChangeMessageVisibility", lambda: queue.change_visibility("receipt_handle", 1.0)),
        ("GetQueueAttributes", lambda: queue.depth()),
    ]


@pytest.mark.parametrize("loss", ["request", "upload", "part", "answer"])
def test_a_send_with_a_lost_answer_is_outcome_unknown_and_not_repeated(
    queue: SqsQueue, proxy: LossyProxy, back: QueuePair, loss: Loss
) -> None:
    for send in (lambda: queue.send(b"1"), lambda: queue.send_many([b"1"])):
        proxy.lose(loss, 100)
        with pytest.raises(OutcomeUnknown, match="may or may not"):
            send()
        assert proxy.attempts == 1
    proxy.lose("none", 0)
    assert back.bodies() == ([] if loss in ("request", "upload") else [b"1", b"1"])


def test_idempotent_calls_are_repeated_after_lost_answers(queue: SqsQueue, proxy: LossyProxy) -> None:
    queue.send(b"1")
    proxy.lose("request", 2)
    (message,) = queue.receive(1, 30.0)
    assert proxy.attempts == 3
    proxy.lose("request", 2)
    assert queue.change_visibility(message.receipt_handle, 60.0) == message.receipt_handle
    proxy.lose("request", 2)
    assert queue.ack(message.receipt_handle) is True
    proxy.lose("part", 2)
    assert queue.depth() == (0, 0.0)


def test_an_ack_without_any_answer_is_outcome_unknown(queue: SqsQueue, proxy: LossyProxy) -> None:
    queue.send(b"1")
    (message,) = queue.receive(1, 30.0)
    proxy.lose("answer", 10_000)
    with pytest.raises(OutcomeUnknown):
        queue.ack(message.receipt_handle, timeout_s=0.7)


def test_ten_throttles_in_a_row_are_retried(queue: SqsQueue, proxy: LossyProxy, back: QueuePair) -> None:
    proxy.reply(refusal("400 Bad Request", "RequestThrottled"), 10)
    queue.send(b"1")
    assert proxy.attempts == 11
    proxy.reply(refusal("503 Service Unavailable", "ServiceUnavailable"), 10)
    queue.send_many([b"2", b"3"])
    assert sorted(back.bodies()) == [b"1", b"2", b"3"]


def test_a_throttle_past_the_deadline_is_raised(
    queue: SqsQueue, proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)
    proxy.reply(refusal("400 Bad Request", "RequestThrottled"), 1)
    with pytest.raises(Throttled, match="RequestThrottled"):
        queue.send(b"1")
    proxy.close()
    for _, operation in everything(queue):
        with pytest.raises(Unavailable, match="cannot be reached"):
            operation()


def test_only_failed_messages_of_a_batch_are_sent_again(queue: SqsQueue, proxy: LossyProxy, back: QueuePair) -> None:
    failed = {"Id": "1", "Code": "InternalError", "SenderFault": False, "Message": "none"}
    sent = {"Id": "0", "MessageId": "m", "MD5OfMessageBody": "c4ca4238a0b923820dcc509a6f75849b"}
    body = json.dumps({"Successful": [sent], "Failed": [failed]}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Type: application/x-amz-json-1.0\r\n\r\n"
    proxy.reply(head.encode() + body, 1)
    queue.send_many([b"1", b"2"])
    assert back.bodies() == [b"2"]  # the proxy answered for the first without sending it


def test_batches_stay_within_the_request_limit(queue: SqsQueue, back: QueuePair) -> None:
    sent = [bytes([65 + number]) * 400_000 for number in range(5)]
    queue.send_many(sent)
    assert sorted(back.bodies()) == sent
    small = from_url(f"sqs://{REGION}/t-?endpoint=http://127.0.0.1:1&max_message_bytes=262144", ["queue"])["queue"]
    assert small.max_body_bytes == 196_602
    with pytest.raises(PayloadTooLarge, match="196602"):
        small.send(b"x" * 200_000)


def test_plain_text_is_sent_unchanged_and_other_bytes_round_trip(queue: SqsQueue, back: QueuePair) -> None:
    plain = b'{"k": "\xc3\xa9\xf0\x9f\x8c\x8a"}\n\t'
    queue.send(plain)
    assert back.bodies() == [plain]
    odd = [b"\r\n", b"\x00", b"\xff\xfe", b"base64:", b"base64:AA==", "\ufffe".encode(), b"\x7f", b"\xed\xa0\x80"]
    queue.send_many(odd)
    found = [message.body for message in queue.receive(10, 30.0)]
    assert sorted(found) == sorted([plain, *odd])
    assert all(bytes_of(text_of(body)) == body for body in [plain, *odd])


def test_messages_from_other_senders_are_received_unchanged(queue: SqsQueue, back: QueuePair) -> None:
    for text in ("base64:no!", "base64:é", "plain"):
        back.client.send_message(QueueUrl=back.url, MessageBody=text)
    assert {message.body.decode() for message in queue.receive(10, 30.0)} == {"base64:no!", "base64:é", "plain"}


def test_a_missing_queue_is_named_with_the_command_that_creates_it(aws_emulator: Running, back: QueuePair) -> None:
    queue = from_url(f"sqs://{REGION}/t-?endpoint={aws_emulator.url}", ["missing"])["missing"]
    for _, operation in everything(queue):
        with pytest.raises(NotFound, match=r"'t-missing'.*aws sqs create-queue --queue-name t-missing"):
            operation()


def test_a_queue_deleted_meanwhile_is_not_found(queue: SqsQueue, back: QueuePair) -> None:
    back.client.delete_queue(QueueUrl=back.url)
    with pytest.raises(NotFound, match="create-queue"):
        queue.send(b"1")


def test_refusals_name_the_remedy(queue: SqsQueue, proxy: LossyProxy) -> None:
    for action, operation in everything(queue):
        proxy.reply(refusal("403 Forbidden", "AccessDeniedException"), 1)
        with pytest.raises(PermissionDenied, match=f"sqs:{action} on t-queue"):
            operation()
        proxy.reply(refusal("403 Forbidden", "InvalidClientTokenId"), 1)
        with pytest.raises(Unauthenticated, match="renew them"):
            operation()
        proxy.reply(refusal("403 Forbidden", "InvalidSignatureException", "Signature expired: 2020 is earlier"), 1)
        with pytest.raises(Unauthenticated, match=r"clock.*set it"):
            operation()
        proxy.lose("none", 0)


def test_missing_credentials_or_region_are_named(
    aws_emulator: Running, back: QueuePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = from_url(f"sqs:///t-?endpoint={aws_emulator.url}", ["queue"])["queue"]
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(ConfigurationError, match="AWS_REGION"):
        nowhere.send(b"1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    queue = from_url(f"sqs://{REGION}/t-?endpoint={aws_emulator.url}", ["queue"])["queue"]
    with pytest.raises(Unauthenticated, match="AWS_PROFILE"):
        queue.send(b"1")


def test_in_the_wrong_region_the_queue_is_not_found(aws_emulator: Running, back: QueuePair) -> None:
    queue = from_url(f"sqs://ap-south-1/t-?endpoint={aws_emulator.url}", ["queue"])["queue"]
    with pytest.raises(NotFound, match="in this account and region"):
        queue.send(b"1")


def test_listing_dead_letters_makes_all_of_them_visible_again(queue: SqsQueue, back: QueuePair) -> None:
    dead = back.client.get_queue_url(QueueName="t-queue-dead")["QueueUrl"]
    for number in range(23):
        back.client.send_message(QueueUrl=dead, MessageBody=str(number))
    for _ in range(2):
        assert {letter.body for letter in queue.dead_letters()} == {b"%d" % number for number in range(23)}
    first = next(letters := queue.dead_letters())
    letters.close()  # type: ignore[attr-defined]
    queue.redrive(first.id)
    assert back.bodies() == [first.body]
    assert len(list(queue.dead_letters())) == 22


def test_the_suite_rejects_a_service_without_leases(aws_emulator: Running) -> None:
    def without_leases(data: bytes) -> bytes:
        return data.replace(b'"VisibilityTimeout": 2,', b'"VisibilityTimeout": 0,')

    with (
        lossy_proxy(aws_emulator.host_port, rewrite=without_leases) as changed,
        contextmanager(aws_rigs.sqs_queue)(lambda name: Running(changed.host_port)) as rig,
        pytest.raises(REJECTIONS),
    ):
        RECEIVING.clauses["a_message_is_invisible_while_in_flight"].check(rig)


@pytest.mark.parametrize(
    "url", ["sqs://a:secret@eu-west-1/t-", "sqs://r/t-?x=secret", "sqs://r/t-?max_message_bytes=0", "sqs://r/#secret"]
)
def test_invalid_urls_are_rejected_without_showing_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_url(url, ["queue"])
    assert "secret" not in str(caught.value)
