"""Rigs of the memory and local adapters: a fresh adapter, a back door, a clock, and its declared capabilities.

A cloud has a module of rigs of its own (aws_rigs.py, azure_rigs.py, gcp_rigs.py).
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from adapters.local import store as local_store
from adapters.local.limits import LocalLimits
from adapters.local.metrics import LocalMetrics
from adapters.local.queue import LocalQueue
from adapters.local.queue_file import QueueFile
from adapters.local.secrets import LocalSecrets
from adapters.local.store import LocalStore
from adapters.local.tree import key_names
from adapters.memory.clock import MemoryClock
from adapters.memory.faults import FaultPlan, Rates
from adapters.memory.limits import MemoryLimits
from adapters.memory.metrics import MemoryMetrics
from adapters.memory.queue import MemoryQueue
from adapters.memory.secrets import MemorySecrets
from adapters.memory.store import MemoryStore
from shared.ports import FunctionLimits, Limits, MetricPoint, Metrics, ObjectStore, Secrets

MAX_RECEIVES = 3
DEPLOYED = {"infer": FunctionLimits(512, 10), "monitor": FunctionLimits(1024, 1)}


@dataclass
class StoreRig:
    """An object store to test.

    `another` returns one more handle on the same objects, as another process would have it. `read_raw` and `keys_raw`
    look at the objects without the adapter. `fetches` counts the requests so far. `presigns` and `folder_can_be_object`
    are capabilities.
    """

    provider: str
    store: ObjectStore
    another: Callable[[], ObjectStore]
    read_raw: Callable[[str], bytes | None]
    keys_raw: Callable[[], list[str]]
    now: Callable[[], float]
    fetches: Callable[[], int]
    objects_for_many_pages: int
    """The number of objects, in folders of a few, that need more than one page of a listing."""
    presigns: bool
    folder_can_be_object: bool
    max_segment_bytes: int
    max_segments: int = 900


@dataclass
class QueueRig:
    """A queue to test.

    Args:
        bodies_raw: returns the bodies in the queue, in flight or not, without the adapter.
        wait: lets seconds pass for the queue.
        send_later: sends a message while a receive waits for it.
        visibility_s: the lease that checks use.
        wait_s: the `wait_s` of a receive that waits for `send_later`.
        lag_s: the seconds by which `depth` may lag.
        quiet_s: how long a dead letter must not be received again; 0 means nine leases.
        delays: a message can be delayed; otherwise that is Unsupported.
        reports_age: `depth` returns the age of the oldest message; otherwise None.
        dead_letters_keep_id: dead letters keep id and receive count, are listed oldest first, and keep their id when
            they are redriven.
        reports_expired_leases: `ack` and `change_visibility` report an expired lease; otherwise they may accept it.
        counts: `depth` returns a number; otherwise it is Unsupported.
        early: the part of a lease after which checks expect it to last still; more than half.
    """

    provider: str
    queue: Any  # Queue and QueueConsumer at once
    another: Callable[[], Any]
    bodies_raw: Callable[[], list[bytes]]
    wait: Callable[[float], None]
    now: Callable[[], float]
    send_later: Callable[[bytes], None]
    visibility_s: float = 30.0
    wait_s: float = 5.0
    lag_s: float = 0.0
    max_receives: int = MAX_RECEIVES
    quiet_s: float = 0.0
    delays: bool = True
    reports_age: bool = True
    dead_letters_keep_id: bool = True
    reports_expired_leases: bool = True
    counts: bool = True
    early: float = 0.8


@dataclass
class MetricsRig:
    """Metrics to test.

    `break_storage` makes every write fail from now on. `collected`: where `query` is Unsupported, returns what was sent
    under a name: the total of each set of labels. `keeps_negative_observations`: OpenTelemetry drops observations below
    zero, the others keep them.
    """

    provider: str
    metrics: Metrics
    another: Callable[[], Metrics]
    wait: Callable[[float], None]
    now: Callable[[], float]
    break_storage: Callable[[], None]
    collected: Callable[[str], list[MetricPoint]] | None = None
    keeps_negative_observations: bool = True


@dataclass
class LimitsRig:
    """Limits to test; they begin as DEPLOYED. `changes`: they can be read and changed, else both are Unsupported."""

    provider: str
    limits: Limits
    another: Callable[[], Limits]
    changes: bool = True


@dataclass
class SecretsRig:
    """Secrets to test. `put` sets a secret as an administrator does, without the adapter."""

    provider: str
    secrets: Secrets
    put: Callable[[str, bytes], None]


class OffsetClock:
    """A clock that a test advances instead of waiting."""

    def __init__(self) -> None:
        self._clock = MemoryClock()
        self.advance = self._clock.advance

    def now(self) -> float:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()


def memory_store(folder: Path) -> Iterator[StoreRig]:
    clock = MemoryClock()
    plan = FaultPlan(clock)
    store = MemoryStore(clock, plan)
    yield StoreRig(
        provider="memory",
        store=store,
        another=lambda: store,
        read_raw=lambda key: store._objects[key].body if key in store._objects else None,
        keys_raw=lambda: sorted(store._objects),
        now=clock.now,
        fetches=lambda: plan.operations,
        objects_for_many_pages=2500,
        presigns=False,
        folder_can_be_object=True,
        max_segment_bytes=900,
    )


def local_store_rig(folder: Path) -> Iterator[StoreRig]:
    root = folder / "store"
    read_folders: list[str] = []

    def counted(fd: int, key: str, deadline: Any) -> list[str]:
        read_folders.append(key)
        return key_names(fd, key, deadline)

    def read(key: str) -> bytes | None:
        path = root / key
        return path.read_bytes() if path.is_file() else None

    def keys() -> list[str]:
        paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return sorted(str(path) for path in paths if path.parts[0] != local_store.TEMPORARY)

    with patch.object(local_store, "key_names", counted):
        yield StoreRig(
            provider="local",
            store=LocalStore(root),
            another=lambda: LocalStore(root),
            read_raw=read,
            keys_raw=keys,
            now=lambda: os.stat(folder).st_mtime,
            fetches=lambda: len(read_folders),
            objects_for_many_pages=60,
            presigns=False,
            folder_can_be_object=False,
            max_segment_bytes=255,
        )


def memory_queue(folder: Path) -> Iterator[QueueRig]:
    clock = MemoryClock()
    queue = MemoryQueue("queue", clock, max_receives=MAX_RECEIVES, max_body_bytes=2000)
    yield QueueRig(
        provider="memory",
        queue=queue,
        another=lambda: queue,
        bodies_raw=lambda: [held.body for held in queue._messages.values()],
        wait=clock.advance,
        now=clock.now,
        send_later=lambda body: queue.send(body, delay_s=2.0),
    )


def local_queue(folder: Path) -> Iterator[QueueRig]:
    clock = OffsetClock()
    path = folder / "queues.db"
    with ExitStack() as closing:

        def opened() -> LocalQueue:
            file = QueueFile(path)
            closing.callback(file.close)
            return LocalQueue(file, "queue", clock=clock, max_receives=MAX_RECEIVES, max_body_bytes=2000)

        def bodies() -> list[bytes]:
            if not path.exists():
                return []
            connection = sqlite3.connect(path)
            try:
                return [body for (body,) in connection.execute("SELECT body FROM messages")]
            finally:
                connection.close()

        def send_later(body: bytes) -> None:
            timer = threading.Timer(0.05, opened().send, (body,))
            closing.callback(timer.join)
            timer.start()

        yield QueueRig(
            provider="local",
            queue=opened(),
            another=opened,
            bodies_raw=bodies,
            wait=clock.advance,
            now=clock.now,
            send_later=send_later,
        )


def memory_metrics(folder: Path) -> Iterator[MetricsRig]:
    clock = MemoryClock()
    plan = FaultPlan(MemoryClock())
    metrics = MemoryMetrics(clock, plan)

    def break_storage() -> None:
        plan._rates = Rates(unavailable=1.0)
        plan.begin()

    yield MetricsRig("memory", metrics, lambda: metrics, clock.advance, clock.now, break_storage)


def local_metrics(folder: Path) -> Iterator[MetricsRig]:
    clock = OffsetClock()
    root = folder / "metrics"
    with ExitStack() as closing:

        def opened() -> LocalMetrics:
            metrics = LocalMetrics(root, clock)
            closing.callback(metrics.close)
            return metrics

        metrics = opened()

        def break_storage() -> None:
            metrics.close()
            if root.exists():
                root.rename(folder / "moved")
            root.write_bytes(b"no folder")

        yield MetricsRig("local", metrics, opened, clock.advance, clock.now, break_storage)


def memory_limits(folder: Path) -> Iterator[LimitsRig]:
    limits = MemoryLimits(DEPLOYED)
    yield LimitsRig("memory", limits, lambda: limits)


def local_limits(folder: Path) -> Iterator[LimitsRig]:
    root = folder / "limits"
    yield LimitsRig("local", LocalLimits(root, DEPLOYED), lambda: LocalLimits(root, DEPLOYED))


def memory_secrets(folder: Path) -> Iterator[SecretsRig]:
    secrets = MemorySecrets()
    yield SecretsRig("memory", secrets, secrets.put)


def local_secrets(folder: Path) -> Iterator[SecretsRig]:
    root = folder / "secrets"
    root.mkdir(mode=0o700)

    def put(name: str, value: bytes) -> None:
        path = root / name
        path.write_bytes(value)
        path.chmod(0o600)

    yield SecretsRig("local", LocalSecrets(root), put)
