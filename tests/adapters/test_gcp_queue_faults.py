"""Pub/Sub over a faulty network, and behaviour that only Pub/Sub has."""

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from google.api_core import exceptions

from adapters import deadlines
from adapters.gcp.failures import Call, failure
from adapters.gcp.queue import PubSubQueue, from_url
from adapters.gcp.topics import Topics
from localstack.emulators import Running
from localstack.lossy_proxy import lossy_proxy
from shared.errors import (
    ConfigurationError,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    Throttled,
    TidegateError,
    Unauthenticated,
    Unavailable,
)
from tests.conformance import gcp_rigs
from tests.conformance.broken import REJECTIONS
from tests.conformance.gcp_rigs import PROJECT, EmulatedTopics
from tests.conformance.queue_receive_clauses import RECEIVING
from tests.conformance.rigs import QueueRig

PUBLISH = Call("send", "q", "pubsub.topics.publish on t", "no topic", repeatable=False)
PULL = Call("receive", "q", "pubsub.subscriptions.consume on s", "no subscription")


@pytest.fixture
def topics(pubsub_emulator: Running) -> EmulatedTopics:
    return EmulatedTopics(pubsub_emulator)


def test_a_publish_with_a_lost_answer_is_outcome_unknown_and_not_repeated(topics: EmulatedTopics) -> None:
    for loss, there in (("request", []), ("answer", [b"body of the answer test"])):
        with lossy_proxy(topics.running.host_port, marker=b"body of the answer test") as proxy:
            queue = PubSubQueue(Topics(PROJECT, topics.prefix, f"http://{proxy.host_port}"), "queue")
            proxy.lose(loss, 1)  # type: ignore[arg-type]
            with pytest.raises(OutcomeUnknown):
                queue.send(b"body of the answer test")
            assert (topics.bodies(), proxy.attempts) == (there, 1)


def test_an_unreachable_broker_is_unavailable(topics: EmulatedTopics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)
    with lossy_proxy(topics.running.host_port) as proxy:
        endpoint = f"http://{proxy.host_port}"
    queue = PubSubQueue(Topics(PROJECT, topics.prefix, endpoint), "queue")
    with pytest.raises(Unavailable, match="could not be reached"):
        queue.send(b"1")


def test_missing_topics_and_subscriptions_are_named_with_their_commands(pubsub_emulator: Running) -> None:
    queue = from_url(f"pubsub://{PROJECT}/none-?endpoint={pubsub_emulator.url}", ["events"])["events"]
    for operation, says in (
        (lambda: queue.send(b"1"), "gcloud pubsub topics create none-events --project=conformance"),
        (lambda: queue.receive(1, 10.0), "gcloud pubsub subscriptions create none-events"),
        (lambda: list(queue.dead_letters()), "gcloud pubsub subscriptions create none-events-dead"),
    ):
        with pytest.raises(NotFound, match=says):
            operation()


@pytest.mark.parametrize(
    ("given", "to_publish", "to_pull"),
    [
        (exceptions.ResourceExhausted("quota"), Throttled, Throttled),
        (exceptions.PermissionDenied("no"), PermissionDenied, PermissionDenied),
        (exceptions.Unauthenticated("no"), Unauthenticated, Unauthenticated),
        (exceptions.NotFound("no"), NotFound, NotFound),
        (exceptions.ServiceUnavailable("Socket closed"), OutcomeUnknown, Unavailable),
        (exceptions.ServiceUnavailable("failed to connect to all addresses"), Unavailable, Unavailable),
        (exceptions.DeadlineExceeded("late"), OutcomeUnknown, DeadlineExceeded),
        (exceptions.InternalServerError("oh"), OutcomeUnknown, Unavailable),
        (exceptions.Aborted("again"), OutcomeUnknown, Unavailable),
        (exceptions.Cancelled("gone"), OutcomeUnknown, Unavailable),
        (exceptions.InvalidArgument("bad"), ConfigurationError, ConfigurationError),
    ],
)
def test_every_refusal_maps_to_its_error(
    given: Any, to_publish: type[TidegateError], to_pull: type[TidegateError]
) -> None:
    for act, kind in ((PUBLISH, to_publish), (PULL, to_pull)):
        error = failure(given, act)
        assert type(error) is kind
        assert (error.provider, error.operation, error.resource) == ("gcp", act.operation, "q")
    assert "pubsub.topics.publish on t" in failure(exceptions.Forbidden("no"), PUBLISH).message


def test_other_exceptions_are_not_translated() -> None:
    with pytest.raises(ZeroDivisionError):
        failure(ZeroDivisionError(), PUBLISH)


def test_a_lease_above_ten_minutes_is_rejected(topics: EmulatedTopics) -> None:
    queue = topics.opened()
    with pytest.raises(InvalidInput, match="change the visibility"):
        queue.receive(1, 601.0)
    with pytest.raises(InvalidInput, match="600"):
        queue.change_visibility("receipt_handle", 601.0)


def test_bodies_of_the_largest_size_are_sent_in_separate_requests(topics: EmulatedTopics) -> None:
    queue = topics.opened()
    bodies = [bytes([number]) * queue.max_body_bytes for number in range(2)]
    queue.send_many([*bodies, b"small"])
    assert sorted(topics.bodies()) == sorted([*bodies, b"small"])


def test_many_messages_are_sent_in_several_requests(topics: EmulatedTopics) -> None:
    bodies = [b"%d" % number for number in range(1001)]
    topics.opened().send_many(bodies)
    assert sorted(topics.bodies()) == sorted(bodies)


def test_dead_letters_keep_time_and_receive_count(topics: EmulatedTopics) -> None:
    queue = topics.opened()
    queue.send(b"poison")
    for _ in range(gcp_rigs.MAX_DELIVERIES):
        (message,) = queue.receive(1, 10.0)
        topics.advance(11.0)
    assert queue.receive(1, 10.0) == []
    (letter,) = queue.dead_letters()
    assert (letter.body, letter.receive_count, letter.sent_at) == (b"poison", 5, message.sent_at)
    assert letter.id != message.id
    looking = queue.dead_letters()
    assert next(looking) == letter
    with pytest.raises(NotFound, match="somebody is listing it"):
        queue.redrive(letter.id)
    looking.close()  # type: ignore[attr-defined]
    queue.redrive(letter.id)


@contextmanager
def rig_without_policy(running: Running) -> Any:
    with contextmanager(gcp_rigs.pubsub_queue)(lambda name: running) as rig:
        without_policy = EmulatedTopics(running, dead_letters=False)
        yield replace(
            rig,
            queue=without_policy.opened(),
            another=without_policy.opened,
            bodies_raw=without_policy.bodies,
            wait=without_policy.advance,
        )


@pytest.mark.parametrize(
    "clause", ["a_message_past_max_receives_becomes_a_dead_letter", "dead_letters_are_listed_repeatedly"]
)
def test_a_subscription_without_a_dead_letter_policy_is_rejected(pubsub_emulator: Running, clause: str) -> None:
    with ExitStack() as stack:
        rig: QueueRig = stack.enter_context(rig_without_policy(pubsub_emulator))
        with pytest.raises(REJECTIONS):
            RECEIVING.clauses[clause].check(rig)


def test_a_subscription_without_delivery_counts_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from google.pubsub_v1 import PubsubMessage, ReceivedMessage

    uncounted = ReceivedMessage(ack_id="a", message=PubsubMessage(data=b"1"))
    monkeypatch.setattr(Topics, "pull", lambda *given: [uncounted])
    monkeypatch.setattr(Topics, "set_ack_deadline", lambda *given: True)
    with pytest.raises(ConfigurationError, match="--dead-letter-topic=team-q-dead --max-delivery-attempts=5"):
        PubSubQueue(Topics(PROJECT, "team-"), "q").receive(1, 10.0)


@pytest.mark.parametrize("url", ["pubsub://", "pubsub://p/a/b", "pubsub://p?endpoint=127.0.0.1:1", "pubsub://p?x=1"])
def test_invalid_urls_are_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError):
        from_url(url, ["q"])
