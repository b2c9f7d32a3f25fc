"""Rigs of Google Cloud: each adapter on its emulator, with plain HTTP as the back door.

Objects are read through Cloud Storage's JSON API, and topics through the Pub/Sub emulator's REST API.
"""

import base64
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from email.utils import parsedate_to_datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import requests

from adapters.gcp import limits, objects, sdk
from adapters.gcp.metrics import from_url as cloud_metrics
from adapters.gcp.queue import PubSubQueue
from adapters.gcp.secrets import SecretManagerSecrets
from adapters.gcp.store import GcsStore
from adapters.gcp.topics import Topics
from localstack.collector import collector
from localstack.emulators import Running
from localstack.secret_manager import secret_manager as secret_manager_of
from shared.ports import MetricPoint
from tests.conformance.rigs import DEPLOYED, LimitsRig, MetricsRig, QueueRig, SecretsRig, StoreRig

Fixture = Callable[[str], Any]
"""Returns a fixture by name. The emulator behind it starts with the first call."""
TIMEOUT_S = 30.0
PROJECT = "conformance"
MAX_DELIVERIES = 5
"""The least that the service allows."""


class Counted:
    """An HTTP session that counts its requests."""

    def __init__(self, endpoint: str) -> None:
        self._session = sdk.session(endpoint)
        self.credentials = self._session.credentials
        self.requests = 0

    def request(self, *given: Any, **named: Any) -> Any:
        self.requests += 1
        return self._session.request(*given, **named)


class BackDoor:
    """A fresh bucket, read by plain HTTP."""

    def __init__(self, running: Running) -> None:
        self.name = f"b-{uuid.uuid4().hex}"
        self.url = f"{running.url}/storage/v1/b/{self.name}/o"
        made = requests.post(f"{running.url}/storage/v1/b", json={"name": self.name}, timeout=TIMEOUT_S)
        made.raise_for_status()

    def read(self, key: str) -> bytes | None:
        answer = requests.get(f"{self.url}/{quote(key, safe='')}", params={"alt": "media"}, timeout=TIMEOUT_S)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.content

    def write(self, key: str, body: bytes) -> None:
        url = self.url.replace("/storage/", "/upload/storage/")
        query = {"uploadType": "media", "name": key}
        requests.post(url, params=query, data=body, timeout=TIMEOUT_S).raise_for_status()

    def remove(self, key: str) -> None:
        requests.delete(f"{self.url}/{quote(key, safe='')}", timeout=TIMEOUT_S).raise_for_status()

    def keys(self) -> list[str]:
        keys: list[str] = []
        token = ""
        while True:
            page = requests.get(self.url, params={"pageToken": token} if token else {}, timeout=TIMEOUT_S).json()
            keys += [str(each["name"]) for each in page.get("items", [])]
            token = page.get("nextPageToken", "")
            if not token:
                return keys

    def now(self) -> float:
        answer = requests.get(self.url, timeout=TIMEOUT_S)
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()


def gcs_store(fixture: Fixture) -> Iterator[StoreRig]:
    running: Running = fixture("gcs_emulator")
    back = BackDoor(running)
    counted = Counted(running.url)
    with patch.object(objects, "PAGE", 25):
        yield StoreRig(
            provider="gcp",
            store=GcsStore(back.name, endpoint=running.url, http=counted),
            another=lambda: GcsStore(back.name, endpoint=running.url),
            read_raw=back.read,
            keys_raw=back.keys,
            now=back.now,
            fetches=lambda: counted.requests,
            objects_for_many_pages=60,
            presigns=False,  # an emulator's credentials cannot sign
            folder_can_be_object=True,
            max_segment_bytes=900,
        )


class EmulatedTopics:
    """A fresh queue's topics and subscriptions, created and read over the emulator's REST API."""

    def __init__(self, running: Running, *, dead_letters: bool = True) -> None:
        self.running = running
        self.prefix = f"t-{uuid.uuid4().hex}-"
        policy = {"deadLetterTopic": self._name("topics", "queue-dead"), "maxDeliveryAttempts": MAX_DELIVERIES}
        self._put("topics", "queue", {})
        self._put("topics", "queue-dead", {})
        self._put("subscriptions", "queue", {"deadLetterPolicy": policy} if dead_letters else {})
        self._put("subscriptions", "queue-dead", {})

    def bodies(self) -> list[bytes]:
        url = f"{self.running.queue_url}/emulator/held/{PROJECT}/{self.prefix}queue"
        return [base64.b64decode(body) for body in requests.get(url, timeout=TIMEOUT_S).json()]

    def advance(self, seconds: float) -> None:
        url = f"{self.running.queue_url}/emulator/advance"
        requests.post(url, params={"seconds": str(seconds)}, timeout=TIMEOUT_S).raise_for_status()

    def opened(self) -> PubSubQueue:
        return PubSubQueue(Topics(PROJECT, self.prefix, self.running.url), "queue")

    def _name(self, kind: str, name: str) -> str:
        return f"projects/{PROJECT}/{kind}/{self.prefix}{name}"

    def _put(self, kind: str, name: str, settings: dict[str, Any]) -> None:
        body = {"name": self._name(kind, name), **settings}
        if kind == "subscriptions":
            body |= {"topic": self._name("topics", name), "ackDeadlineSeconds": 10}
        url = f"{self.running.queue_url}/v1/{self._name(kind, name)}"
        requests.put(url, json=body, timeout=TIMEOUT_S).raise_for_status()


def pubsub_queue(fixture: Fixture) -> Iterator[QueueRig]:
    topics = EmulatedTopics(fixture("pubsub_emulator"))
    with ExitStack() as closing:

        def send_later(body: bytes) -> None:
            timer = threading.Timer(0.05, topics.opened().send, (body,))
            closing.callback(timer.join)
            timer.start()

        yield QueueRig(
            provider="gcp",
            queue=topics.opened(),
            another=topics.opened,
            bodies_raw=topics.bodies,
            wait=topics.advance,
            now=time.time,
            send_later=send_later,
            max_receives=MAX_DELIVERIES,
            delays=False,
            reports_expired_leases=False,
            counts=False,
            reports_age=False,
            dead_letters_keep_id=False,
        )


def otlp_metrics(fixture: Fixture) -> Iterator[MetricsRig]:
    with collector() as kept:
        metrics = cloud_metrics(f"cloudmonitoring://?endpoint={kept.url}")

        def collected(name: str) -> list[MetricPoint]:
            assert metrics.flush()
            return [MetricPoint(p.name, p.kind, p.value, p.at, p.labels) for p in kept.latest(name)]

        with closing(metrics):
            yield MetricsRig(
                provider="gcp",
                metrics=metrics,
                another=lambda: metrics,
                wait=lambda seconds: None,
                now=time.time,
                break_storage=lambda: kept.refuse(400),
                collected=collected,
                keeps_negative_observations=False,
            )


def fixed_limits(fixture: Fixture) -> Iterator[LimitsRig]:
    opened = limits.from_url("cloudfunctions://project", DEPLOYED)
    yield LimitsRig("gcp", opened, lambda: opened, changes=False)


def secret_manager(fixture: Fixture) -> Iterator[SecretsRig]:
    """Secrets from a server that follows Secret Manager's API description; by documentation only."""
    with secret_manager_of(PROJECT) as server:

        def put(name: str, value: bytes) -> None:
            server.put(f"team-{name}", value)

        yield SecretsRig("gcp", SecretManagerSecrets(PROJECT, "team-", server.url), put)
