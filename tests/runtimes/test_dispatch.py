"""The dispatch of a handler's events: allowed by the topology, recorded before sent, repeated if an answer is lost."""

from typing import Any

import msgspec
import pytest

from functions.runtimes import dispatch
from shared.documents import decode
from shared.errors import ConfigurationError, OutcomeUnknown
from shared.events import Event, ScheduleFired, TrainingRequested, UploadReceived, first_event
from shared.platform import Emit, Outcome
from shared.topology import BY_NAME

CAUSE = first_event(
    UploadReceived(key="drops/flights/a.csv", etag="1"), usecase="flights", source="/test", origin="test", at=0.0
)
ASKED = Emit(TrainingRequested(cause="dataset.1", kind="new_data"))


def recorded(stack: Any) -> list[Event]:
    return [decode(stack.platform.system.get(info.key).body, Event) for info in stack.platform.system.list("events/")]


def sent(stack: Any, queue: str) -> list[bytes]:
    return [message.body for message in stack.platform.queues[queue].receive(10, 30.0)]


def test_an_event_is_recorded_and_sent_to_its_subscribers(stack: Any) -> None:
    (event,) = dispatch.send_all(BY_NAME["validate"], Outcome([ASKED]), CAUSE, stack.platform)
    assert recorded(stack) == [event]
    assert [decode(body, Event) for body in sent(stack, "trigger")] == [event]


def test_an_event_that_the_topology_does_not_let_it_send_is_neither_recorded_nor_sent(stack: Any) -> None:
    function = msgspec.structs.replace(BY_NAME["validate"], sends=(UploadReceived.TYPE,))
    with pytest.raises(ConfigurationError, match=r"validate returned io\.tidegate\.training\.requested"):
        dispatch.send_all(function, Outcome([ASKED]), CAUSE, stack.platform)
    assert (recorded(stack), sent(stack, "trigger")) == ([], [])


def test_all_events_are_recorded_before_any_is_sent(stack: Any) -> None:
    class Down:
        max_body_bytes = 1 << 20

        def send(self, body: bytes) -> None:
            raise ConnectionError

    platform = msgspec.structs.replace(stack.platform, queues={"trigger": Down()})
    other = Emit(TrainingRequested(cause="dataset.2", kind="new_data"))
    with pytest.raises(ConnectionError):
        dispatch.send_all(BY_NAME["validate"], Outcome([ASKED, other]), CAUSE, platform)
    assert len(recorded(stack)) == 2


def test_a_schedules_event_is_sent_and_not_recorded(stack: Any) -> None:
    function = msgspec.structs.replace(BY_NAME["reconcile"], sends=(ScheduleFired.TYPE,))
    dispatch.send_all(function, Outcome([Emit(ScheduleFired(function="reconcile"))]), CAUSE, stack.platform)
    assert recorded(stack) == []
    assert len(sent(stack, "reconcile")) == 1


def test_a_send_whose_answer_was_lost_is_sent_again(stack: Any) -> None:
    class Losing:
        max_body_bytes = 1 << 20

        def __init__(self) -> None:
            self.bodies: list[bytes] = []

        def send(self, body: bytes) -> None:
            self.bodies.append(body)
            if len(self.bodies) == 1:
                raise OutcomeUnknown("lost")

    queue = Losing()
    platform = msgspec.structs.replace(stack.platform, queues={"trigger": queue})
    dispatch.send_all(BY_NAME["validate"], Outcome([ASKED]), CAUSE, platform)
    assert len(queue.bodies) == 2
    assert queue.bodies[0] == queue.bodies[1]


def test_a_handler_gets_what_its_function_was_granted(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    platforms = []
    monkeypatch.setattr(dispatch, "handler_of", lambda function: lambda event, platform: platforms.append(platform))
    monkeypatch.setattr(dispatch, "send_all", lambda *_: None)
    dispatch.deliver("validate", CAUSE, stack.platform)
    assert set(platforms[0].queues) == {"trigger"}
