"""A live run on Google Cloud: Cloud Storage, Pub/Sub and Secret Manager, with the default chain's credentials.

Resources are created and inspected over plain REST. STORAGE_EMULATOR_HOST (an http:// address), PUBSUB_EMULATOR_HOST
(host:port, gRPC) and TIDEGATE_LIVE_PUBSUB_REST are endpoints to use instead of Google's.
"""

import base64
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import quote

from adapters.gcp import sdk
from adapters.urls import open_queues, open_secrets, open_store
from tests.conformance.rigs import QueueRig, SecretsRig, StoreRig
from tests.live.account import GatheringQueue, Leases, LiveRun
from tests.waiting import let_time_pass

NEEDS = {
    "": {"GOOGLE_CLOUD_PROJECT": "the project of the resources"},
    "store": {"TIDEGATE_LIVE_LOCATION": "the location of buckets, europe-west1 or EU"},
    "queue": {"TIDEGATE_LIVE_PROJECT_NUMBER": "the project's number, whose Pub/Sub service account moves dead letters"},
}
EXCLUDED = {
    "list_fetches_pages_as_needed": "counts requests on the wire, which is encrypted here",
    "threads_can_share_the_adapter": "writes one name 160 times at once; Cloud Storage takes about one write a second",
    "presign_returns_a_url_or_is_unsupported": "not all kinds of credentials can sign",
    "ack_of_an_expired_lease_returns_false": "its back door receives messages, which invalidates earlier handles",
}
DELIVERIES = 5
"""The least that the service allows."""
WAIT_S = 60.0
_DEAD_LETTER_ROLES = (
    ("topics", "queue-dead", "roles/pubsub.publisher"),
    ("subscriptions", "queue", "roles/pubsub.subscriber"),
)


class Gcp:
    """The project that the environment names."""

    def __init__(self, live_run: LiveRun) -> None:
        self._live_run = live_run
        self._project = live_run.environ["GOOGLE_CLOUD_PROJECT"]
        storage = live_run.environ.get("STORAGE_EMULATOR_HOST", "")
        grpc = live_run.environ.get("PUBSUB_EMULATOR_HOST", "")
        self._at_storage = f"?endpoint={storage}" if storage else ""
        self._at_pubsub = f"?endpoint=http://{grpc}" if grpc else ""
        self._storage = storage or "https://storage.googleapis.com"
        self._pubsub = live_run.environ.get("TIDEGATE_LIVE_PUBSUB_REST", "") or "https://pubsub.googleapis.com"
        self._http = sdk.new_session(sdk.credentials(storage), bool(storage))

    @contextmanager
    def store(self) -> Iterator[StoreRig]:
        bucket = f"{self._live_run.run_prefix}-{uuid.uuid4().hex[:8]}"
        made = {"name": bucket, "location": self._live_run.environ["TIDEGATE_LIVE_LOCATION"]}
        self._ask("POST", f"{self._storage}/storage/v1/b", json=made, params={"project": self._project})
        objects = f"{self._storage}/storage/v1/b/{bucket}/o"

        def read(key: str) -> bytes | None:
            answer = self._http.get(f"{objects}/{quote(key, safe='')}", params={"alt": "media"}, timeout=WAIT_S)
            return None if answer.status_code == 404 else bytes(answer.content)

        def opened() -> Any:
            return open_store(f"gs://{bucket}{self._at_storage}")

        try:
            yield StoreRig(
                provider="gcp",
                store=opened(),
                another=opened,
                read_raw=read,
                keys_raw=lambda: [each["name"] for each in self._pages(objects, "items")],
                now=time.time,
                fetches=lambda: 0,
                objects_for_many_pages=0,
                presigns=False,
                folder_can_be_object=True,
                max_segment_bytes=900,
            )
        finally:
            self._remove_bucket(bucket)

    @contextmanager
    def queue(self) -> Iterator[QueueRig]:
        prefix, leases = f"{self._live_run.run_prefix}-{uuid.uuid4().hex[:8]}-", Leases()
        with ExitStack() as ending:
            for name in ("queue-dead", "queue"):
                self._make(ending, "topics", prefix + name, {})
            dead = {"deadLetterTopic": self._path("topics", f"{prefix}queue-dead"), "maxDeliveryAttempts": DELIVERIES}
            for name, policy in (("queue-dead", {}), ("queue", {"deadLetterPolicy": dead})):
                given = {"topic": self._path("topics", prefix + name), "ackDeadlineSeconds": 10, **policy}
                self._make(ending, "subscriptions", prefix + name, given)
            if not self._at_pubsub:
                self._grant_dead_lettering(prefix)
            subscription = f"{self._pubsub}/v1/{self._path('subscriptions', f'{prefix}queue')}"

            def opened() -> Any:
                queues = open_queues(f"pubsub://{self._project}/{prefix}{self._at_pubsub}", ["queue"])
                return GatheringQueue(queues["queue"], leases, poll_s=1.0)

            def send_later(body: bytes) -> None:
                timer = threading.Timer(0.3, opened().send, (body,))
                ending.callback(timer.join)
                timer.start()

            def bodies() -> list[bytes]:
                leases.wait_for_end()
                found: dict[str, tuple[str, bytes]] = {}
                pull = {"maxMessages": 100, "returnImmediately": True}
                for _ in range(3):
                    while seen := self._ask("POST", f"{subscription}:pull", json=pull).get("receivedMessages", []):
                        for each in seen:
                            body = base64.b64decode(each["message"]["data"])
                            found[each["message"]["messageId"]] = (each["ackId"], body)
                if found:
                    given = {"ackIds": [ack_id for ack_id, _ in found.values()], "ackDeadlineSeconds": 0}
                    self._ask("POST", f"{subscription}:modifyAckDeadline", json=given)
                return [body for _, body in found.values()]

            yield QueueRig(
                provider="gcp",
                queue=opened(),
                another=opened,
                bodies_raw=bodies,
                wait=let_time_pass,
                now=time.time,
                send_later=send_later,
                visibility_s=max(10.0, self._live_run.lease_s),
                max_receives=DELIVERIES,
                quiet_s=max(10.0, self._live_run.lease_s) * 1.2,
                delays=False,
                reports_expired_leases=False,
                counts=False,
                reports_age=False,
                dead_letters_keep_id=False,
                early=0.55,
            )

    @contextmanager
    def secrets(self) -> Iterator[SecretsRig]:
        prefix = f"{self._live_run.run_prefix}-{uuid.uuid4().hex[:8]}-"
        made: set[str] = set()

        def put(name: str, value: bytes) -> None:
            if name not in made:
                kept = {"replication": {"automatic": {}}}
                self._ask("POST", self._secrets(), json=kept, params={"secretId": prefix + name})
                made.add(name)
            payload = {"payload": {"data": base64.b64encode(value).decode()}}
            self._ask("POST", f"{self._secrets()}/{prefix}{name}:addVersion", json=payload)

        try:
            yield SecretsRig("gcp", open_secrets(f"secretmanager://{self._project}/{prefix}"), put)
        finally:
            for name in made:
                self._ask("DELETE", f"{self._secrets()}/{prefix}{name}")

    def existing(self, beginning: str) -> Iterator[tuple[str, Callable[[], object]]]:
        if "store" in self._live_run.ports:
            query = {"project": self._project, "prefix": beginning}
            for each in self._pages(f"{self._storage}/storage/v1/b", "items", query):
                if each["name"].startswith(beginning):
                    yield f"bucket {each['name']}", lambda name=each["name"]: self._remove_bucket(name)  # type: ignore[misc]
        for port, kind, where in (
            ("queue", "subscriptions", f"{self._pubsub}/v1/projects/{self._project}/subscriptions"),
            ("queue", "topics", f"{self._pubsub}/v1/projects/{self._project}/topics"),
            ("secrets", "secrets", self._secrets()),
        ):
            for each in self._pages(where, kind) if port in self._live_run.ports else ():
                name = each["name"].rpartition("/")[2]
                if name.startswith(beginning):
                    yield f"{kind} {name}", lambda url=f"{where}/{name}": self._ask("DELETE", url)  # type: ignore[misc]

    def _grant_dead_lettering(self, prefix: str) -> None:
        number = self._live_run.environ["TIDEGATE_LIVE_PROJECT_NUMBER"]
        member = f"serviceAccount:service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com"
        for kind, name, role in _DEAD_LETTER_ROLES:
            policy = {"policy": {"bindings": [{"role": role, "members": [member]}]}}
            self._ask("POST", f"{self._pubsub}/v1/{self._path(kind, prefix + name)}:setIamPolicy", json=policy)

    def _make(self, ending: ExitStack, kind: str, name: str, given: dict[str, Any]) -> None:
        path = self._path(kind, name)
        self._ask("PUT", f"{self._pubsub}/v1/{path}", json={"name": path, **given})
        ending.callback(self._ask, "DELETE", f"{self._pubsub}/v1/{path}")

    def _remove_bucket(self, bucket: str) -> None:
        url = f"{self._storage}/storage/v1/b/{bucket}"
        for each in list(self._pages(f"{url}/o", "items")):
            self._ask("DELETE", f"{url}/o/{quote(each['name'], safe='')}")
        self._ask("DELETE", url)

    def _path(self, kind: str, name: str) -> str:
        return f"projects/{self._project}/{kind}/{name}"

    def _secrets(self) -> str:
        return f"https://secretmanager.googleapis.com/v1/projects/{self._project}/secrets"

    def _pages(self, url: str, kind: str, params: dict[str, str] | None = None) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            page = self._ask("GET", url, params={**(params or {}), **({"pageToken": token} if token else {})})
            yield from page.get(kind, [])
            token = page.get("nextPageToken", "")
            if not token:
                return

    def _ask(self, method: str, url: str, **given: Any) -> dict[str, Any]:
        answer = self._http.request(method, url, timeout=WAIT_S, **given)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json() if answer.content.strip() else {}
        return found
