"""Rigs of Azure: each adapter on its emulator, with the vendor's SDKs as the back door.

Blobs are read through azure-storage-blob, queues by peeks. Every test has a container and queues of its own.
"""

import base64
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import (
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    generate_container_sas,
)
from azure.storage.queue import QueueClient

from adapters import obstore_store
from adapters.azure import limits, metrics, secrets
from adapters.azure import store as blobs
from adapters.azure.metrics import AzureMetrics
from adapters.azure.queue import AzureQueue
from localstack.collector import collector
from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, Running
from localstack.lossy_proxy import lossy_proxy
from shared.ports import MetricPoint
from tests.conformance.key_vault import vault_server
from tests.conformance.rigs import DEPLOYED, LimitsRig, MetricsRig, QueueRig, SecretsRig, StoreRig
from tests.waiting import let_time_pass, until

Fixture = Callable[[str], Any]
"""Returns a fixture by name. The emulator behind it starts with the first call."""
PAGE = 25
TIMEOUT_S = 30.0
RECEIVES = 3
_LISTS = b"comp=list"


@contextmanager
def credentials() -> Iterator[None]:
    """Set the environment variable of the emulator's account key, and remove all other credentials."""
    others = [name for name in os.environ if name.startswith(("AZURE_", "IDENTITY_", "MSI_"))]
    with patch.dict(os.environ):
        for name in others:
            del os.environ[name]
        os.environ["AZURE_STORAGE_ACCOUNT_KEY"] = AZURE_KEY
        yield


class Container:
    """A fresh container, accessed through azure-storage-blob."""

    def __init__(self, running: Running) -> None:
        self.name = f"c-{uuid.uuid4().hex}"
        account = BlobServiceClient(f"{running.url}/{AZURE_ACCOUNT}", credential=AZURE_KEY)
        self.client: ContainerClient = account.create_container(self.name)

    def read(self, key: str) -> bytes | None:
        try:
            return bytes(self.client.download_blob(key).readall())
        except ResourceNotFoundError:
            return None

    def write(self, key: str, body: bytes) -> None:
        self.client.upload_blob(key, body, overwrite=True)

    def remove(self, key: str) -> None:
        self.client.delete_blob(key)

    def keys(self) -> list[str]:
        return sorted(str(name) for name in self.client.list_blob_names())

    def now(self) -> float:
        found: list[datetime] = []
        self.client.get_container_properties(raw_response_hook=lambda answer: found.append(_date_of(answer)))
        return found[0].timestamp()

    def signature(self) -> str:
        """Return a SAS that may list."""
        return generate_container_sas(
            AZURE_ACCOUNT,
            self.name,
            account_key=AZURE_KEY,
            permission=ContainerSasPermissions(list=True),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )


def in_small_pages(signature: str) -> Callable[[bytes], bytes]:
    """Return a function that changes a listing request to pages of PAGE names, authorised by a SAS.

    Azure returns 5,000 names a page, and obstore has no setting for fewer. The account key's signature covers the
    query, so that a changed query needs the SAS.
    """

    def rewritten(data: bytes) -> bytes:
        line, _, rest = data.partition(b"\r\n")
        if not line.startswith(b"GET ") or _LISTS not in line:
            return data
        method, target, version = line.split(b" ")
        line = b" ".join((method, target + f"&maxresults={PAGE}&{signature}".encode(), version))
        kept = [each for each in rest.split(b"\r\n") if not each.lower().startswith(b"authorization:")]
        return b"\r\n".join((line, *kept))

    return rewritten


def blob_store(fixture: Fixture) -> Iterator[StoreRig]:
    running: Running = fixture("azure_emulator")
    container = Container(running)
    small = in_small_pages(container.signature())
    with (
        credentials(),
        lossy_proxy(running.host_port, marker=_LISTS, rewrite=small) as proxy,
        patch.object(obstore_store, "_PAGE", PAGE),
    ):

        def opened(host_port: str = running.host_port) -> Any:
            return blobs.from_url(f"az://{container.name}?account={AZURE_ACCOUNT}&endpoint=http://{host_port}")

        yield StoreRig(
            provider="azure",
            store=opened(proxy.host_port),
            another=opened,
            read_raw=container.read,
            keys_raw=container.keys,
            now=container.now,
            fetches=lambda: proxy.attempts,
            objects_for_many_pages=3 * PAGE,
            presigns=True,
            folder_can_be_object=True,
            max_segment_bytes=900,
            max_segments=blobs.MAX_SEGMENTS,
        )


class QueuePair:
    """A fresh queue and its poison queue, read by peeks."""

    def __init__(self, running: Running, *, poison: bool = True) -> None:
        self.name = f"t-{uuid.uuid4().hex}"
        account = f"{running.queue_url}/{AZURE_ACCOUNT}"
        self.client = QueueClient(account, self.name, credential=AZURE_KEY)
        self.client.create_queue()
        self.poison = QueueClient(account, f"{self.name}-poison", credential=AZURE_KEY)
        if poison:
            self.poison.create_queue()

    def bodies(self) -> list[bytes]:
        """Return the bodies of all messages. A peek does not show messages in flight, so that it waits for them."""
        found: list[bytes] = []

        def complete() -> bool:
            found[:] = [base64.b64decode(each.content) for each in self.client.peek_messages(32)]
            return len(found) == self.client.get_queue_properties().approximate_message_count

        until(complete, TIMEOUT_S)
        return found

    def poisoned(self) -> list[bytes]:
        return [base64.b64decode(each.content) for each in self.poison.peek_messages(32)]


def storage_queue(fixture: Fixture) -> Iterator[QueueRig]:
    running: Running = fixture("azure_emulator")
    with credentials(), ExitStack() as closing:
        pair = QueuePair(running)

        def opened() -> AzureQueue:
            return AzureQueue(AZURE_ACCOUNT, pair.name, endpoint=running.queue_url, max_receives=RECEIVES)

        def send_later(body: bytes) -> None:
            timer = threading.Timer(0.3, pair.client.send_message, (base64.b64encode(body).decode(),))
            closing.callback(timer.join)
            timer.start()

        yield QueueRig(
            provider="azure",
            queue=opened(),
            another=opened,
            bodies_raw=pair.bodies,
            wait=let_time_pass,
            now=time.time,
            send_later=send_later,
            visibility_s=2.0,
            max_receives=RECEIVES,
            quiet_s=2.5,
            reports_age=False,
            dead_letters_keep_id=False,
        )


def key_vault(fixture: Fixture) -> Iterator[SecretsRig]:
    with vault_server() as vault:
        yield SecretsRig("azure", secrets.from_url(f"keyvault://lake/t-?endpoint={vault.url}"), vault.put)


def azure_monitor(fixture: Fixture) -> Iterator[MetricsRig]:
    with collector() as arrived, ExitStack() as closing:

        def opened() -> AzureMetrics:
            made = metrics.from_url(f"azuremonitor://collector?endpoint={arrived.url}")
            closing.callback(made.close)
            return made

        sending = opened()

        def collected(name: str) -> list[MetricPoint]:
            assert sending.flush()
            return [
                MetricPoint(each.name, each.kind, each.value, each.at, each.labels) for each in arrived.latest(name)
            ]

        yield MetricsRig(
            "azure",
            sending,
            opened,
            let_time_pass,
            time.time,
            lambda: arrived.refuse(400),
            collected,
            keeps_negative_observations=False,
        )


def function_app(fixture: Fixture) -> Iterator[LimitsRig]:
    opened = limits.from_url("functionapp://lake", DEPLOYED)
    yield LimitsRig("azure", opened, lambda: opened, changes=False)


def _date_of(answer: Any) -> datetime:
    return datetime.strptime(answer.http_response.headers["Date"], "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC)
