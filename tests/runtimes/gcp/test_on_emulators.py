"""The whole way on emulated Google Cloud: an object or an upload, Pub/Sub, the function, a receipt in the bucket."""

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from functions.runtimes.gcp.events import Ignored, Written, parse_request
from functions.runtimes.landing import landing_of
from localstack import emulators
from localstack.emulators import Running
from localstack.pubsub_push import envelope, push
from shared.ports import ObjectStore
from shared.settings import Settings, Stores
from shared.topology import MAX_RECEIVES, queue_names
from tests.runtimes.clouds import GOOD, TIMEOUT_S, bearer, environ, on_disk, receipts, sign_off
from tests.runtimes.gcp.serving import Served, served
from tests.simulation.material import USECASE
from tests.waiting import until

LANDING, SEEN = "landing", "landing-seen"
BUCKETS = ("landing", "system", "capture")
PROJECT = "projects/test"


class Project:
    """Buckets and topics of a stack of its own; each topic has a subscription and dead letters of its name."""

    def __init__(self, broker: Running) -> None:
        self.broker = broker
        self.prefix = f"t{uuid.uuid4().hex[:8]}-"
        for name in (*queue_names(), LANDING):
            self._topic(f"{name}-dead")
            self._subscription(f"{name}-dead", f"{name}-dead")
            self._topic(name)
            dead = {"deadLetterTopic": self.path("topics", f"{name}-dead"), "maxDeliveryAttempts": MAX_RECEIVES}
            self._subscription(name, name, deadLetterPolicy=dead)
        self._subscription(SEEN, LANDING)  # what comes over the wire, for the tests to see
        self.storage: Running
        self.settings: Settings
        self.system: ObjectStore

    def path(self, kind: str, name: str) -> str:
        return f"{PROJECT}/{kind}/{self.prefix}{name}"

    def put(self, name: str, body: bytes, bucket: str = "landing") -> None:
        """Write an object by plain HTTP, as an outsider's tool does."""
        url = f"{self.storage.url}/upload/storage/v1/b/{self.prefix}{bucket}/o"
        asked = {"uploadType": "media", "name": name}
        requests.post(url, params=asked, data=body, timeout=TIMEOUT_S).raise_for_status()

    def publish(self, topic: str, *messages: dict[str, Any]) -> None:
        self._post(self.path("topics", topic) + ":publish", {"messages": list(messages)})

    def pull(self, subscription: str) -> list[dict[str, Any]]:
        asked = {"maxMessages": 100, "returnImmediately": True}
        answer = self._post(self.path("subscriptions", subscription) + ":pull", asked)
        received: list[dict[str, Any]] = answer.get("receivedMessages", [])
        return received

    def _topic(self, name: str) -> None:
        self._put(self.path("topics", name), {})

    def _subscription(self, name: str, topic: str, **more: Any) -> None:
        path = self.path("subscriptions", name)
        self._put(path, {"name": path, "topic": self.path("topics", topic), "ackDeadlineSeconds": 60, **more})

    def _put(self, path: str, body: dict[str, Any]) -> None:
        requests.put(f"{self.broker.queue_url}/v1/{path}", json=body, timeout=TIMEOUT_S).raise_for_status()

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = requests.post(f"{self.broker.queue_url}/v1/{path}", json=body, timeout=TIMEOUT_S)
        answer.raise_for_status()
        said: dict[str, Any] = answer.json()
        return said


@pytest.fixture(scope="module")
def project(
    emulators_folder: Path, pubsub_emulator: Running, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    made = Project(pubsub_emulator)
    topic = made.prefix + LANDING
    with emulators.gcs(emulators_folder, events=pubsub_emulator, project="test", topic=topic) as storage:
        made.storage = storage
        for name in BUCKETS:
            bucket = {"name": made.prefix + name}
            requests.post(f"{storage.url}/storage/v1/b", json=bucket, timeout=TIMEOUT_S).raise_for_status()
        made.settings = on_disk(
            tmp_path_factory.mktemp("gcp"),
            stores=Stores(**{name: f"gs://{made.prefix}{name}/in?endpoint={storage.url}" for name in BUCKETS}),
            queues=f"pubsub://test/{made.prefix}?endpoint={pubsub_emulator.url}",
        )
        made.system = sign_off(made.settings)
        yield made


@pytest.fixture(scope="module")
def validate(project: Project) -> Iterator[Served]:
    with served("event", environ("validate", project.settings)) as running:
        yield running


@pytest.mark.parametrize("as_cloudevent", [False, True], ids=["push", "eventarc"])
def test_an_object_of_a_storage_event_becomes_a_dataset(
    project: Project, validate: Served, as_cloudevent: bool
) -> None:
    before = set(receipts(project.system))
    key = f"drops/{USECASE}/a file+{as_cloudevent}=@(b).csv"
    project.put(f"in/{key}", GOOD)
    project.put("beside/the/prefix.csv", GOOD)
    project.put(f"in/{key}", GOOD, "capture")
    where, topic = project.path("subscriptions", LANDING), project.path("topics", LANDING)
    with push(project.broker, where, validate.url, as_cloudevent=as_cloudevent, topic=topic) as pushed:
        until(lambda: any(state(project, new)["source_key"] == key for new in set(receipts(project.system)) - before))
    assert pushed.counts["released"] == 0
    (document,) = [
        each for each in (state(project, new) for new in receipts(project.system)) if each["source_key"] == key
    ]
    assert document["state"] == "accepted"
    assert project.pull("trigger")


def test_a_storage_event_as_sent_is_parsed(project: Project) -> None:
    key = f"drops/{USECASE}/seen ä+%2e.csv"
    project.put(f"in/{key}", b"x")
    project.put(f"in/{key}", b"x", "capture")
    landing = landing_of(project.settings.stores.landing)
    meant = []

    def came() -> bool:
        for received in project.pull(SEEN):
            headers, body = envelope(received, project.path("subscriptions", SEEN))
            meant.append(parse_request({name.lower(): value for name, value in headers.items()}, body, landing))
        return Written(key) in meant

    until(came)
    assert meant.count(Written(key)) == 1
    assert Ignored() in meant  # our own writes to the system bucket give events too, which are ignored


def test_an_upload_over_https_is_validated_from_its_topic(project: Project, validate: Served) -> None:
    token = bearer(project.settings, f"{USECASE}:upload", f"{USECASE}:read")
    with (
        served("http", environ("uploads", project.settings)) as uploads,
        push(project.broker, project.path("subscriptions", "validate"), validate.url),
    ):
        answer = uploads.ask("PUT", f"/v1/usecases/{USECASE}/uploads/january%20a.csv", GOOD, token)
        assert answer.status == 202, answer.body
        until(lambda: uploads.ask("GET", answer.json()["href"], headers=token).status == 200)
        assert uploads.ask("GET", answer.json()["href"], headers=token).json()["state"] == "accepted"


def test_a_poison_message_is_dead_lettered_and_delays_no_other(project: Project, validate: Served) -> None:
    key = f"drops/{USECASE}/good.csv"
    project.put(f"in/{key}", GOOD + b"\n")
    notified = {"eventType": "OBJECT_FINALIZE", "bucketId": project.prefix + "landing", "objectId": f"in/{key}"}
    malformed = len(validate.lines("malformed event"))
    poison = {"data": base64.b64encode(b"{}").decode(), "attributes": {"bucketId": "b", "eventType": "OBJECT_FINALIZE"}}
    good = [{"attributes": notified} for _ in range(9)]
    dead: list[dict[str, Any]] = []

    def given_up() -> bool:
        dead.extend(project.pull("validate-dead"))
        return bool(dead)

    project.publish("validate", *good[:5], poison, *good[5:])
    with push(project.broker, project.path("subscriptions", "validate"), validate.url) as pushed:
        until(lambda: pushed.counts["acknowledged"] == len(good))
        until(given_up)
    assert pushed.counts == {"acknowledged": len(good), "released": MAX_RECEIVES}
    assert [each["message"]["data"] for each in dead] == [poison["data"]]
    assert len(validate.lines("malformed event")) == malformed + MAX_RECEIVES
    assert [each["source_key"] for each in (state(project, new) for new in receipts(project.system))].count(key) == 1


def state(project: Project, receipt: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(project.system.get(receipt).body)
    return document
