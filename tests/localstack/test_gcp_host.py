"""functions-framework in a process of its own, Pub/Sub's push before it, and Cloud Scheduler."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localstack import emulators
from localstack.clouds import create_topic
from localstack.gcp_host import GcpFunction, function
from localstack.processes import NotStarted
from localstack.pubsub_push import PUBLISHED, envelope, push
from localstack.scheduler import Job, scheduling
from tests.waiting import alive, below, until

SOURCE = """
import json, os
import flask, functions_framework

def note(document):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps(document) + "\\n")

@functions_framework.http
def receiver(request: flask.Request):
    headers = {name.lower(): value for name, value in request.headers.items()}
    note({"headers": headers, "body": request.get_data(as_text=True), "path": request.path})
    return ("", 500) if b"cG9pc29u" in request.get_data() else ("", 204)

@functions_framework.cloud_event
def event(received):
    note({"type": received["type"], "source": received["source"], "data": received.data})
"""
PROJECT = "projects/canary"
ATTEMPTS = 5


class Notes:
    """What the functions of this module wrote down since a test began."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = len(self._lines())

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._lines()[self._before :]]

    def _lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("functions")
    (made / "main.py").write_text(SOURCE)
    return made


@pytest.fixture
def notes(folder: Path) -> Notes:
    return Notes(folder / "notes")


@pytest.fixture(scope="module")
def receiver(folder: Path) -> Iterator[GcpFunction]:
    with function(folder / "main.py", "receiver", {"NOTES": str(folder / "notes")}) as running:
        yield running


class Counting:
    """What a function's host counted since a test began."""

    def __init__(self, running: GcpFunction) -> None:
        self._running = running
        self._before = running.invocations()

    def since(self) -> dict[str, int]:
        return {name: count - self._before[name] for name, count in self._running.invocations().items()}


@pytest.fixture
def counting(receiver: GcpFunction) -> Counting:
    return Counting(receiver)


class Topic:
    """A topic, a subscription with five delivery attempts, and a subscription to its dead letters."""

    def __init__(self, broker: emulators.Running, name: str) -> None:
        self.broker = broker
        self.topic, dead = f"{PROJECT}/topics/{name}", f"{PROJECT}/topics/{name}-dead"
        self.subscription, self.dead = f"{PROJECT}/subscriptions/{name}", f"{PROJECT}/subscriptions/{name}-dead"
        for each in (self.topic, dead):
            create_topic(broker, each)
        policy = {"deadLetterTopic": dead, "maxDeliveryAttempts": ATTEMPTS}
        for name, settings in (
            (self.subscription, {"topic": self.topic, "deadLetterPolicy": policy}),
            (self.dead, {"topic": dead}),
        ):
            self.call("PUT", name, {"name": name, **settings})

    def call(self, method: str, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"{self.broker.queue_url}/v1/{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def publish(self, data: bytes, **attributes: str) -> None:
        message = {"data": base64.b64encode(data).decode(), "attributes": attributes}
        self.call("POST", f"{self.topic}:publish", {"messages": [message]})

    def dead_letters(self) -> list[bytes]:
        answer = self.call("POST", f"{self.dead}:pull", {"maxMessages": 10, "returnImmediately": True})
        return [base64.b64decode(each["message"]["data"]) for each in answer.get("receivedMessages", [])]


def test_a_message_is_pushed_once_and_acknowledged(
    pubsub_emulator: emulators.Running, receiver: GcpFunction, notes: Notes, counting: Counting
) -> None:
    topic = Topic(pubsub_emulator, "once")
    topic.publish(b"hello", colour="blue")
    with push(pubsub_emulator, topic.subscription, receiver.url, timeout_s=10) as pushed:
        until(lambda: pushed.counts["acknowledged"] == 1)
    [received] = notes.read()
    document = json.loads(received["body"])
    assert received["headers"]["content-type"] == "application/json"
    assert document["subscription"] == topic.subscription
    assert base64.b64decode(document["message"]["data"]) == b"hello"
    assert document["message"]["attributes"] == {"colour": "blue"}
    assert document["message"]["messageId"] == document["message"]["message_id"] != ""
    assert document["message"]["publishTime"] == document["message"]["publish_time"] != ""
    until(lambda: counting.since() == {"succeeded": 1, "failed": 0})


def test_a_message_that_is_never_acknowledged_becomes_a_dead_letter(
    pubsub_emulator: emulators.Running, receiver: GcpFunction, notes: Notes, counting: Counting
) -> None:
    topic = Topic(pubsub_emulator, "dead")
    topic.publish(b"poison")
    topic.publish(b"good")
    letters: list[bytes] = []

    def came() -> bool:
        letters.extend(topic.dead_letters())
        return bool(letters)

    with push(pubsub_emulator, topic.subscription, receiver.url, timeout_s=10) as pushed:
        until(came)
        until(lambda: pushed.counts["acknowledged"] == 1)
    assert letters == [b"poison"]
    assert pushed.counts["released"] == ATTEMPTS
    attempts = [json.loads(each["body"]).get("deliveryAttempt") for each in notes.read()]
    assert sorted(attempt for attempt in attempts if attempt)[-1] == ATTEMPTS
    until(lambda: counting.since() == {"succeeded": 1, "failed": ATTEMPTS})


def test_a_function_that_is_down_gets_the_message_later(
    pubsub_emulator: emulators.Running, receiver: GcpFunction, notes: Notes
) -> None:
    topic = Topic(pubsub_emulator, "away")
    topic.publish(b"hello")
    down = f"http://127.0.0.1:{emulators.free_port()}"
    with push(pubsub_emulator, topic.subscription, down, timeout_s=10) as pushed:
        until(lambda: pushed.counts["released"] >= 1)
    with push(pubsub_emulator, topic.subscription, receiver.url, timeout_s=10) as pushed:
        until(lambda: pushed.counts["acknowledged"] == 1 or bool(topic.dead_letters()))


def test_a_cloudevent_is_one_to_the_framework(pubsub_emulator: emulators.Running, folder: Path, notes: Notes) -> None:
    topic = Topic(pubsub_emulator, "event")
    topic.publish(b"hello")
    environment = {"NOTES": str(notes.path)}
    with (
        function(folder / "main.py", "event", environment, signature_type="cloudevent") as running,
        push(pubsub_emulator, topic.subscription, running.url, as_cloudevent=True, topic=topic.topic) as pushed,
    ):
        until(lambda: pushed.counts["acknowledged"] == 1)
        pids = below(running.server.pid)
    assert len(pids) >= 2
    assert not any(map(alive, pids))
    [received] = notes.read()
    assert (received["type"], received["source"]) == (PUBLISHED, f"//pubsub.googleapis.com/{topic.topic}")
    assert base64.b64decode(received["data"]["message"]["data"]) == b"hello"


def test_an_envelope_without_an_attempt_has_none() -> None:
    headers, body = envelope({"ackId": "a", "message": {"messageId": "1", "data": "eA=="}}, "s")
    assert headers == {"Content-Type": "application/json"}
    assert json.loads(body) == {
        "message": {"messageId": "1", "message_id": "1", "publish_time": "", "data": "eA=="},
        "subscription": "s",
    }


def test_a_schedule_calls_as_cloud_scheduler_does(receiver: GcpFunction, notes: Notes) -> None:
    jobs = [Job("reconcile", f"{receiver.url}/reconcile"), Job("often", f"{receiver.url}/often", every_s=0.05)]
    with scheduling([*jobs, Job("gone", f"http://127.0.0.1:{emulators.free_port()}")]) as scheduler:
        assert scheduler.fire("reconcile", at=1_767_225_600.0)
        assert not scheduler.fire("gone")
        until(lambda: scheduler.counts["often", "succeeded"] >= 2)
    assert (scheduler.counts["reconcile", "succeeded"], scheduler.counts["gone", "failed"]) == (1, 1)
    [received] = [each for each in notes.read() if each["path"] == "/reconcile"]
    assert received["headers"]["x-cloudscheduler"] == "true"
    assert received["headers"]["x-cloudscheduler-jobname"] == "reconcile"
    assert received["headers"]["x-cloudscheduler-scheduletime"] == "2026-01-01T00:00:00Z"
    due = [each["headers"]["x-cloudscheduler-scheduletime"] for each in notes.read() if each["path"] == "/often"]
    assert len(set(due)) == len(due) >= 2


def test_a_function_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError('no good')")
    with pytest.raises(NotStarted, match="ValueError: no good"), function(tmp_path / "broken.py", "any", {}):
        pass
