"""A live run on Azure: Blob and Queue storage of one account, and a Key Vault, with the adapters' own credentials.

TIDEGATE_LIVE_BLOBS and TIDEGATE_LIVE_QUEUES are endpoints to use instead of Azure's.
"""

import base64
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueServiceClient

from adapters.azure.queue import MAX_RECEIVES
from adapters.azure.sdk import account_url, identity, queue_credential
from adapters.azure.store import MAX_SEGMENTS
from adapters.urls import open_queues, open_secrets, open_store
from tests.conformance.rigs import QueueRig, SecretsRig, StoreRig
from tests.live.account import GatheringQueue, Leases, LiveRun
from tests.waiting import let_time_pass

NEEDS = {
    "": {"TIDEGATE_LIVE_ACCOUNT": "the storage account of the resources"},
    "secrets": {"TIDEGATE_LIVE_VAULT": "the Key Vault of the secrets"},
}
EXCLUDED = {"list_fetches_pages_as_needed": "counts requests on the wire, which is encrypted here"}


class Azure:
    """The account and the vault that the environment names."""

    def __init__(self, live_run: LiveRun) -> None:
        self._live_run = live_run
        self._account = live_run.environ["TIDEGATE_LIVE_ACCOUNT"]
        self._vault = live_run.environ.get("TIDEGATE_LIVE_VAULT", "")
        blobs, queues = (live_run.environ.get(f"TIDEGATE_LIVE_{kind}", "") for kind in ("BLOBS", "QUEUES"))
        self._at_blobs, self._at_queues = (f"endpoint={each}" if each else "" for each in (blobs, queues))
        credential = queue_credential(self._account)
        self._blobs = BlobServiceClient(account_url("blob", self._account, blobs), credential=credential)
        self._queues = QueueServiceClient(account_url("queue", self._account, queues), credential=credential)

    @contextmanager
    def store(self) -> Iterator[StoreRig]:
        name = f"{self._live_run.run_prefix}-{uuid.uuid4().hex[:8]}"
        container: ContainerClient = self._blobs.create_container(name)

        def read(key: str) -> bytes | None:
            with suppress(ResourceNotFoundError):
                return bytes(container.download_blob(key).readall())
            return None

        def opened() -> Any:
            return open_store(f"az://{name}?account={self._account}&{self._at_blobs}".rstrip("&"))

        try:
            yield StoreRig(
                provider="azure",
                store=opened(),
                another=opened,
                read_raw=read,
                keys_raw=lambda: sorted(str(key) for key in container.list_blob_names()),
                now=time.time,
                fetches=lambda: 0,
                objects_for_many_pages=0,
                presigns=True,
                folder_can_be_object=True,
                max_segment_bytes=900,
                max_segments=MAX_SEGMENTS,
            )
        finally:
            container.delete_container()

    @contextmanager
    def queue(self) -> Iterator[QueueRig]:
        prefix, leases = f"{self._live_run.run_prefix}-{uuid.uuid4().hex[:8]}-", Leases()
        with ExitStack() as ending:
            for name in ("queue", "queue-poison"):
                ending.callback(self._queues.create_queue(prefix + name).delete_queue)
            client = self._queues.get_queue_client(f"{prefix}queue")

            def opened() -> Any:
                url = f"azq://{self._account}/{prefix}?{self._at_queues}".rstrip("?")
                return GatheringQueue(open_queues(url, ["queue"])["queue"], leases, poll_s=0.0)

            def send_later(body: bytes) -> None:
                timer = threading.Timer(0.3, client.send_message, (base64.b64encode(body).decode(),))
                ending.callback(timer.join)
                timer.start()

            def bodies() -> list[bytes]:
                leases.wait_for_end()  # a peek does not show messages in flight
                return [base64.b64decode(each.content) for each in client.peek_messages(32)]

            yield QueueRig(
                provider="azure",
                queue=opened(),
                another=opened,
                bodies_raw=bodies,
                wait=let_time_pass,
                now=time.time,
                send_later=send_later,
                visibility_s=self._live_run.lease_s,
                max_receives=MAX_RECEIVES,
                quiet_s=self._live_run.lease_s * 1.2,
                reports_age=False,
                dead_letters_keep_id=False,
            )

    @contextmanager
    def secrets(self) -> Iterator[SecretsRig]:
        client, prefix = self._secrets(), f"{self._live_run.run_prefix}-{uuid.uuid4().hex[:8]}-"
        made: set[str] = set()

        def put(name: str, value: bytes) -> None:
            client.set_secret(prefix + name, "base64:" + base64.b64encode(value).decode())
            made.add(name)

        try:
            yield SecretsRig("azure", open_secrets(f"keyvault://{self._vault}/{prefix}"), put)
        finally:
            for name in made:
                self._remove_secret(client, prefix + name)

    def existing(self, beginning: str) -> Iterator[tuple[str, Callable[[], object]]]:
        for container in self._blobs.list_containers(name_starts_with=beginning):
            name = str(container.name)
            yield f"container {name}", lambda name=name: self._blobs.delete_container(name)  # type: ignore[misc]
        for queue in self._queues.list_queues(name_starts_with=beginning):
            name = str(queue.name)
            yield f"queue {name}", lambda name=name: self._queues.delete_queue(name)  # type: ignore[misc]
        if "secrets" not in self._live_run.ports:
            return
        client = self._secrets()
        for secret in client.list_properties_of_secrets():
            name = str(secret.name)
            if name.startswith(beginning):
                yield f"secret {name}", lambda name=name: self._remove_secret(client, name)  # type: ignore[misc]

    def _secrets(self) -> Any:
        from azure.keyvault.secrets import SecretClient

        return SecretClient(f"https://{self._vault}.vault.azure.net", credential=identity())

    def _remove_secret(self, client: Any, name: str) -> None:
        client.begin_delete_secret(name).wait()
        client.purge_deleted_secret(name)
