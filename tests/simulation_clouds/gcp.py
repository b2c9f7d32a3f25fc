"""Cloud Storage and Pub/Sub under a simulation: a bucket and topics of their own for each world.

Pub/Sub's emulator has a clock that can be moved on: no lease is waited for.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import requests

from adapters.gcp import queue
from adapters.urls import open_queues
from localstack.emulators import Running
from localstack.lossy_grpc import GrpcExchange
from localstack.lossy_grpc import refusal as grpc_refusal
from localstack.lossy_proxy import Exchange
from shared.topology import MAX_RECEIVES, queue_names
from tests.conformance.gcp_rigs import TIMEOUT_S, BackDoor
from tests.refusals import google
from tests.simulation_clouds.clouds import (
    Fresh,
    Opened,
    Refusals,
    Refused,
    open_stores,
    proxies,
)

PROJECT = "simulation"
STORAGE: Refusals = {
    "throttled": google("429 Too Many Requests"),
    "busy": google("503 Service Unavailable"),
}
PUBSUB: Refusals = {"throttled": grpc_refusal(8, "too many"), "busy": grpc_refusal(14, "not now")}
LEASE_S = 10
"""The acknowledgement deadline of a pull, until the adapter changes it: the service's shortest."""
_MIN_WAIT_S = 0.1


class Gcp:
    """One world's bucket, topics and subscriptions on the emulators."""

    def __init__(self, storage: Running, pubsub: Running, refused: Refused) -> None:
        self.refused = refused
        self._storage = storage
        self._pubsub = pubsub
        self._bucket = BackDoor(storage)
        self._prefix = f"w-{uuid.uuid4().hex[:12]}-"
        for name in queue_names():
            self._make("topics", f"{name}-dead")
            self._make("topics", name)
            dead = self._name("topics", f"{name}-dead")
            policy = {"deadLetterTopic": dead, "maxDeliveryAttempts": MAX_RECEIVES}
            self._make("subscriptions", name, deadLetterPolicy=policy)
            self._make("subscriptions", f"{name}-dead")

    def opened(self, *, direct: bool) -> Opened:
        """Return new adapters."""
        behind = (self._storage.host_port, self._pubsub.host_port)
        storage, pubsub = behind if direct else [proxy.host_port for proxy in self.refused]
        stores = open_stores(f"gs://{self._bucket.name}/STORE?endpoint=http://{storage}")
        return Opened(stores, open_queues(f"pubsub://{PROJECT}/{self._prefix}?endpoint=http://{pubsub}", queue_names()))

    def held(self, name: str) -> int:
        """Return the number of messages, those in flight included."""
        url = f"{self._pubsub.queue_url}/emulator/held/{PROJECT}/{self._prefix}{name}"
        return len(requests.get(url, timeout=TIMEOUT_S).json())

    def has_visible(self, name: str) -> bool:
        """Return whether there are any, and make those in flight visible."""
        if not self.held(name):
            return False
        self.wait()
        return True

    def dead(self, name: str) -> list[str]:
        """Return ids by looking at the letters direct: the emulator's window shows no ids."""
        if not self.held(f"{name}-dead"):
            return []
        return [letter.id for letter in self.opened(direct=True).queues[name].dead_letters()]

    def wait(self) -> None:
        """Move the emulator's clock past every lease."""
        url = f"{self._pubsub.queue_url}/emulator/advance"
        seconds = str(queue.LISTING_LEASE_S + LEASE_S)
        requests.post(url, params={"seconds": seconds}, timeout=TIMEOUT_S).raise_for_status()

    def _name(self, kind: str, name: str) -> str:
        return f"projects/{PROJECT}/{kind}/{self._prefix}{name}"

    def _make(self, kind: str, name: str, **settings: Any) -> None:
        body = {"name": self._name(kind, name), **settings}
        if kind == "subscriptions":
            body |= {"topic": self._name("topics", name), "ackDeadlineSeconds": LEASE_S}
        url = f"{self._pubsub.queue_url}/v1/{self._name(kind, name)}"
        requests.put(url, json=body, timeout=TIMEOUT_S).raise_for_status()


@contextmanager
def gcp(storage: Running, pubsub: Running) -> Iterator[Fresh]:
    """Give what makes a cloud for each world."""
    before = ((storage.host_port, STORAGE, Exchange), (pubsub.host_port, PUBSUB, GrpcExchange))
    with proxies(*before) as refused, patch.object(queue, "MIN_WAIT_S", _MIN_WAIT_S):
        yield lambda: Gcp(storage, pubsub, refused)
