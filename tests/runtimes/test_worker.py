"""The worker over the local queue: acknowledgement, retries, renewed leases, ticks, and a graceful stop."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.urls import open_queues
from functions.runtimes import dispatch
from functions.runtimes.local.platform import Local
from functions.runtimes.local.schedule import tick
from functions.runtimes.local.worker import LONGEST_RETRY_S, Worker, retry_after_s
from shared.documents import encode
from shared.errors import InvalidInput, Throttled, Unavailable
from shared.events import Event, ScheduleFired, UploadReceived, first_event, payload
from shared.platform import Emit, Outcome, Platform
from shared.topology import BY_NAME, MAX_RECEIVES, Function, queue_names
from tests.waiting import let_time_pass, until

WAIT_S = 20.0
LEASE_S = 0.8


def upload(number: int = 0) -> Event:
    data = UploadReceived(key=f"uploads/flights/u{number}/a.csv", etag="e")
    return first_event(data, usecase="flights", source="/test", origin=f"upload {number}", at=0.0)


class Rig:
    """A worker on queues of a real file, with a handler of the test's own for every function."""

    def __init__(self, stack: Any, queues: Any, functions: tuple[Function, ...]) -> None:
        self.stack = stack
        self.platform: Platform = stack.platform
        self.queues = queues
        self.overdue = threading.Event()
        local = Local(self.platform, queues, list)
        self.worker = Worker(local, stack.log, overdue=self.overdue.set, spread=lambda: 0.0, functions=functions)

    def lines(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.stack.lines if line["message"] == message]


@pytest.fixture
def rig(
    tmp_path: Path, make_stack: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Rig]]:
    with ExitStack() as ends:

        def build(handle: Callable[..., Outcome], *functions: Function, **changes: Any) -> Rig:
            monkeypatch.setattr(dispatch, "handler_of", lambda function: handle)
            queues = open_queues(f"sqlite://{tmp_path}/queues.db", queue_names())
            stack = make_stack(
                real_time=True, **{"lease_s": LEASE_S, "reconcile_every_s": 0, "monitor_every_s": 0, **changes}
            )
            msgspec.structs.force_setattr(stack.platform, "queues", queues)
            made = Rig(stack, queues, functions or (BY_NAME["validate"],))

            def end() -> None:
                made.worker.stop()
                assert made.worker.join(WAIT_S)
                queues["validate"]._file.close()

            ends.callback(end)
            made.worker.start()
            return made

        yield build


def test_a_message_is_acknowledged_when_its_events_are_sent(rig: Callable[..., Rig]) -> None:
    seen: list[Event] = []
    made = rig(lambda event, platform: seen.append(event) or Outcome())
    made.queues["validate"].send(encode(upload()))
    until(lambda: bool(made.lines("handled")))
    assert seen == [upload()]
    assert made.queues["validate"].depth() == (0, 0.0)
    line = made.lines("handled")[0]
    assert (line["function"], line["event"], line["usecase"], line["received"]) == (
        "validate",
        upload().id,
        "flights",
        1,
    )
    assert line["duration_ms"] >= 0
    assert "note" not in line


def test_a_handler_that_takes_longer_than_its_lease_is_not_run_twice(rig: Callable[..., Rig]) -> None:
    running, most = [0], [0]
    calls: list[str] = []

    def handle(event: Event, platform: Platform) -> Outcome:
        calls.append(event.id)
        running[0] += 1
        most[0] = max(most[0], running[0])
        let_time_pass(2.5 * LEASE_S)
        running[0] -= 1
        return Outcome()

    made = rig(handle)
    made.queues["validate"].send(encode(upload()))
    until(lambda: bool(made.lines("handled")))
    assert (len(calls), most[0]) == (1, 1)
    assert not made.lines("lease expired")


def test_a_transient_error_is_retried(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.runtimes.local.worker.FIRST_RETRY_S", 0.01)
    errors: Iterator[Exception | None] = iter([Unavailable("no"), Throttled("slowly", retry_after_s=0.02), None])

    def handle(event: Event, platform: Platform) -> Outcome:
        error = next(errors)
        if error is not None:
            raise error
        return Outcome()

    made = rig(handle)
    made.queues["validate"].send(encode(upload()))
    until(lambda: bool(made.lines("handled")))
    assert [line["error"] for line in made.lines("failed")] == ["Unavailable", "Throttled"]
    assert [line["transient"] for line in made.lines("failed")] == [True, True]
    assert made.lines("handled")[0]["received"] == 3


@pytest.mark.parametrize("body", [b"no event", encode(upload())])
def test_a_message_that_always_fails_becomes_a_dead_letter(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setattr("functions.runtimes.local.worker.FIRST_RETRY_S", 0.01)

    def handle(event: Event, platform: Platform) -> Outcome:
        raise InvalidInput("never", field="key")

    made = rig(handle)
    made.queues["validate"].send(body)
    until(lambda: made.queues["validate"].depth()[0] == 0)
    assert [letter.body for letter in made.queues["validate"].dead_letters()] == [body]
    assert len(made.lines("failed")) == MAX_RECEIVES
    assert "no event" not in json.dumps(made.stack.lines)


def test_foreign_exceptions_are_logged_without_their_message(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.runtimes.local.worker.FIRST_RETRY_S", 100.0)

    def handle(event: Event, platform: Platform) -> Outcome:
        raise ValueError("row 7 holds hunter2")

    made = rig(handle)
    made.queues["validate"].send(encode(upload()))
    until(lambda: bool(made.lines("failed")))
    assert "hunter2" not in str(made.stack.lines)
    assert any("handle" in place for place in made.lines("failed")[0]["at"])


def test_two_messages_at_once_where_the_topology_says_two(rig: Callable[..., Rig]) -> None:
    both = threading.Barrier(2, timeout=WAIT_S)

    def handle(event: Event, platform: Platform) -> Outcome:
        both.wait()
        return Outcome()

    assert BY_NAME["validate"].concurrency == 2
    made = rig(handle)
    made.queues["validate"].send_many([encode(upload(1)), encode(upload(2))])
    until(lambda: len(made.lines("handled")) == 2)


def test_a_handler_past_its_time_limit_ends_the_worker(rig: Callable[..., Rig]) -> None:
    go = threading.Event()
    hasty = Function(name="validate", unit="data", about="", subscribes=(UploadReceived.TYPE,), timeout_s=0)

    def handle(event: Event, platform: Platform) -> Outcome:
        assert go.wait(WAIT_S)
        return Outcome()

    made = rig(handle, hasty)
    made.queues["validate"].send(encode(upload()))
    assert made.overdue.wait(WAIT_S)
    go.set()


def test_a_stopping_worker_finishes_its_message_and_receives_no_more(rig: Callable[..., Rig]) -> None:
    begun, go = threading.Event(), threading.Event()

    def handle(event: Event, platform: Platform) -> Outcome:
        begun.set()
        assert go.wait(WAIT_S)
        return Outcome()

    single = Function(name="validate", unit="data", about="", subscribes=(UploadReceived.TYPE,))
    made = rig(handle, single)
    made.queues["validate"].send(encode(upload(1)))
    assert begun.wait(WAIT_S)
    made.queues["validate"].send(encode(upload(2)))
    made.worker.stop()
    assert not made.worker.join(2 * LEASE_S)  # longer than a lease, which is renewed all the same
    go.set()
    assert made.worker.join(WAIT_S)
    assert len(made.lines("handled")) == 1
    assert made.queues["validate"].depth()[0] == 1


def test_a_handlers_events_are_recorded_and_sent(rig: Callable[..., Rig]) -> None:
    def handle(event: Event, platform: Platform) -> Outcome:
        if event.type == ScheduleFired.TYPE:
            found = UploadReceived(key="uploads/flights/u/a.csv", etag="e")
            return Outcome([Emit(found, "flights", "upload x", 0.0)])
        received.append(payload(event, UploadReceived).key)
        return Outcome()

    received: list[str] = []
    made = rig(handle, BY_NAME["reconcile"], BY_NAME["validate"], reconcile_every_s=0.05)
    until(lambda: bool(received))
    assert received[0] == "uploads/flights/u/a.csv"
    recorded = [info.key for info in made.platform.system.list("events/flights/")]
    assert len(recorded) == 1  # however often reconcile found it


def test_a_function_that_is_behind_is_not_ticked_again(rig: Callable[..., Rig]) -> None:
    made = rig(lambda event, platform: Outcome())
    queue = made.queues["reconcile"]  # no worker receives from it here
    assert tick("reconcile", queue, queue, 1000.0)
    assert not tick("reconcile", queue, queue, 1005.0)
    (message,) = queue.receive(1, 30.0)
    assert not tick("reconcile", queue, queue, 1010.0)
    event = Event.decode(message.body)
    assert payload(event, ScheduleFired).function == "reconcile"
    assert event.time == "1970-01-01T00:16:40.000Z"
    queue.ack(message.receipt_handle)
    assert tick("reconcile", queue, queue, 1015.0)


def test_retry_pauses_grow_are_spread_and_follow_the_provider() -> None:
    busy = Unavailable("busy")
    assert [retry_after_s(busy, count, 1.0) for count in range(1, 6)] == [1.0, 4.0, 16.0, 64.0, 256.0]
    assert retry_after_s(busy, 50, 1.0) == LONGEST_RETRY_S
    assert retry_after_s(busy, 1, 0.0) == 0.5
    assert retry_after_s(Throttled("", retry_after_s=90.0), 1, 0.0) == 90.0
    assert retry_after_s(InvalidInput("never"), 4, 1.0) == 1.0
