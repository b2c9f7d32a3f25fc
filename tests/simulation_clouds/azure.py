"""Blob Storage and Storage Queues under a simulation: a container and queues of their own for each world."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from azure.storage.queue import QueueClient, QueueServiceClient

from adapters.azure import queue
from adapters.urls import open_queues
from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, Running
from localstack.lossy_proxy import Exchange
from shared.topology import queue_names
from tests.conformance.azure_rigs import Container, credentials
from tests.refusals import xml
from tests.simulation_clouds.clouds import (
    WAIT_S,
    Fresh,
    Opened,
    Refusals,
    Refused,
    open_stores,
    proxies,
)
from tests.waiting import let_time_pass

STORAGE: Refusals = {
    "throttled": xml("429 Too Many Requests", "TooManyRequests"),
    "busy": xml("503 Busy", "ServerBusy"),
}


class Azure:
    """One world's container and queues on the emulator."""

    def __init__(self, running: Running, refused: Refused) -> None:
        self.refused = refused
        self._running = running
        self._container = Container(running)
        self._prefix = f"w-{uuid.uuid4().hex[:12]}-"
        service = QueueServiceClient(f"{running.queue_url}/{AZURE_ACCOUNT}", credential=AZURE_KEY)
        names = [*queue_names(), *(name + queue.POISON for name in queue_names())]
        self._queues: dict[str, QueueClient] = {name: service.create_queue(self._prefix + name) for name in names}

    def opened(self, *, direct: bool) -> Opened:
        """Return new adapters."""
        running = self._running
        behind = (running.host_port, running.queue_host_port)
        blobs, queues = behind if direct else [proxy.host_port for proxy in self.refused]
        account = f"account={AZURE_ACCOUNT}"
        stores = open_stores(f"az://{self._container.name}/STORE?{account}&endpoint=http://{blobs}")
        return Opened(
            stores, open_queues(f"azq://{AZURE_ACCOUNT}/{self._prefix}?endpoint=http://{queues}", queue_names())
        )

    def held(self, name: str) -> int:
        """Return the number of messages, those in flight included."""
        return self._queues[name].get_queue_properties().approximate_message_count or 0

    def has_visible(self, name: str) -> bool:
        """Return whether any is visible: a peek shows no others."""
        return bool(self._queues[name].peek_messages(1))

    def dead(self, name: str) -> list[str]:
        """Return ids by a peek into the poison queue."""
        return [str(each.id) for each in self._queues[name + queue.POISON].peek_messages(queue.MAX_PEEK)]

    def wait(self) -> None:
        """Let the time pass that the emulator measures."""
        let_time_pass(WAIT_S)


@contextmanager
def azure(running: Running) -> Iterator[Fresh]:
    """Give what makes a cloud for each world."""
    before = ((running.host_port, STORAGE, Exchange), (running.queue_host_port, STORAGE, Exchange))
    with credentials(), proxies(*before) as refused, patch.object(queue, "LISTING_LEASE_S", 1):
        yield lambda: Azure(running, refused)
