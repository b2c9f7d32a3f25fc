"""Least privilege: a platform narrowed to what the topology grants one function.

On clouds the same grants are IAM statements too. Here each port operation is checked before it is done. No operation
gets a longer timeout than the call has left.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from shared.errors import PermissionDenied
from shared.layout import StoreName, family_of
from shared.platform import Platform
from shared.ports import (
    DEFAULT_TIMEOUT_S,
    Created,
    Exists,
    Jobs,
    JobSpec,
    JobStatus,
    MetricPoint,
    Metrics,
    Object,
    ObjectInfo,
    ObjectStore,
    Queue,
    Secrets,
)
from shared.topology import Access, Function, Grant, subscribers


def narrowed(platform: Platform, function: Function) -> Platform:
    """Return the platform with its stores, queues, jobs, secrets and metrics limited to the function's grants."""
    sends_to = {name for event_type in function.sends for name in subscribers(event_type)}
    return msgspec.structs.replace(
        platform,
        landing=GrantedStore(platform.landing, "landing", function, platform.time_left_s),
        system=GrantedStore(platform.system, "system", function, platform.time_left_s),
        capture=GrantedStore(platform.capture, "capture", function, platform.time_left_s),
        queues=GrantedQueues(platform.queues, sends_to, function.name, platform.time_left_s),
        jobs=GrantedJobs(platform.jobs, function, platform.time_left_s),
        secrets=GrantedSecrets(platform.secrets, function, platform.time_left_s),
        metrics=GrantedMetrics(platform.metrics, function),
    )


class GrantedStore:
    """An object store that allows what `function.grants` names, and raises PermissionDenied for the rest."""

    def __init__(
        self,
        store: ObjectStore,
        name: StoreName,
        function: Function,
        time_left_s: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._store = store
        self._name = name
        self._function = function
        self._time_left_s = time_left_s
        self._grants = tuple(grant for grant in function.grants if grant.store == name)

    def get(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Object:
        """As the store does, if the key may be read."""
        self._check(key, "read", "create")
        return self._store.get(key, timeout_s=self._within(timeout_s))

    def get_range(self, key: str, start: int, length: int, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """As the store does, if the key may be read."""
        self._check(key, "read", "create")
        return self._store.get_range(key, start, length, timeout_s=self._within(timeout_s))

    def head(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ObjectInfo | None:
        """As the store does, if the key may be read."""
        self._check(key, "read", "create")
        return self._store.head(key, timeout_s=self._within(timeout_s))

    def put_new(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Created | Exists:
        """As the store does, if the key may be created."""
        self._check(key, "create")
        return self._store.put_new(key, body, timeout_s=self._within(timeout_s))

    def put(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """As the store does, if the key may be created and is a hint. Nothing else is ever replaced."""
        grant = self._check(key, "create")
        if grant.family.kind != "hint":
            raise self._refusal("replace", key)
        return self._store.put(key, body, timeout_s=self._within(timeout_s))

    def list(self, prefix: str = "", after: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[ObjectInfo]:
        """As the store does, without the keys that may not be read. Refused if no key with the prefix may be read."""
        readable = [grant for grant in self._grants if grant.access == "read" and _overlaps(grant, prefix)]
        if not readable:
            raise self._refusal("list", prefix or "/")
        for info in self._store.list(prefix, after, timeout_s=self._within(timeout_s)):
            if any(grant.family.parse(info.key) is not None for grant in readable):
                yield info

    def delete(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Refused: no function deletes."""
        raise self._refusal("delete", key)

    def presign(
        self, key: str, method: Literal["GET", "PUT"], expires_s: int, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str:
        """As the store does, if the key may be read (GET) or created (PUT)."""
        self._check(key, "read" if method == "GET" else "create")
        return self._store.presign(key, method, expires_s, timeout_s=self._within(timeout_s))

    def _within(self, timeout_s: float) -> float:
        return min(timeout_s, self._time_left_s())

    def _check(self, key: str, *enough: Access) -> Grant:
        for grant in self._grants:
            if grant.access in enough and grant.family.parse(key) is not None:
                return grant
        raise self._refusal(enough[0], key)

    def _refusal(self, action: str, key: str) -> PermissionDenied:
        family = family_of(self._name, key)
        where = f"{self._name}/{family.name}" if family else f"{self._name} (a key of no family)"
        return PermissionDenied(
            f"function {self._function.name} may not {action} {where}; shared/topology.py grants it",
            operation=action,
            resource=key,
        )


class TimedQueue:
    """The sending end of a queue. No send takes longer than the call has left."""

    def __init__(self, queue: Queue, time_left_s: Callable[[], float]) -> None:
        self.max_body_bytes = queue.max_body_bytes
        self._queue = queue
        self._time_left_s = time_left_s

    def send(self, body: bytes, *, delay_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """As the queue does."""
        self._queue.send(body, delay_s=delay_s, timeout_s=min(timeout_s, self._time_left_s()))

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """As the queue does."""
        self._queue.send_many(bodies, timeout_s=min(timeout_s, self._time_left_s()))


class GrantedQueues(Mapping[str, Queue]):
    """The queues of the subscribers to the events that a function may send."""

    def __init__(
        self, queues: Mapping[str, Queue], allowed: set[str], function: str, time_left_s: Callable[[], float]
    ) -> None:
        self._queues = queues
        self._allowed = allowed
        self._function = function
        self._time_left_s = time_left_s

    def __getitem__(self, name: str) -> Queue:
        if name not in self._allowed:
            raise PermissionDenied(
                f"function {self._function} may not send to queue {name}", operation="send", resource=name
            )
        return TimedQueue(self._queues[name], self._time_left_s)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._allowed))

    def __len__(self) -> int:
        return len(self._allowed)


class GrantedMetrics:
    """Metrics that every function may record, and only some may query."""

    def __init__(self, metrics: Metrics, function: Function) -> None:
        self._metrics = metrics
        self._function = function

    def counter(self, name: str, value: float = 1.0, labels: Mapping[str, str] | None = None) -> None:
        """As metrics do."""
        self._metrics.counter(name, value, labels)

    def gauge(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """As metrics do."""
        self._metrics.gauge(name, value, labels)

    def histogram(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """As metrics do."""
        self._metrics.histogram(name, value, labels)

    def query(self, name: str, start: float, end: float, labels: Mapping[str, str] | None = None) -> list[MetricPoint]:
        """As metrics do, if this function may query them."""
        if not self._function.measures:
            raise PermissionDenied(
                f"function {self._function.name} may not query metrics; shared/topology.py grants it",
                operation="query",
                resource=name,
            )
        return self._metrics.query(name, start, end, labels)


class GrantedJobs:
    """Jobs limited to the functions that a function may submit."""

    def __init__(self, jobs: Jobs, function: Function, time_left_s: Callable[[], float] = lambda: math.inf) -> None:
        self._jobs = jobs
        self._function = function
        self._time_left_s = time_left_s

    def submit(self, spec: JobSpec, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """As jobs do, if this function may submit that one."""
        self._check(spec.function, "submit")
        return self._jobs.submit(spec, timeout_s=min(timeout_s, self._time_left_s()))

    def status(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> JobStatus:
        """As jobs do, if this function may submit any."""
        self._check(None, "status")
        return self._jobs.status(job_id, timeout_s=min(timeout_s, self._time_left_s()))

    def cancel(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """As jobs do, if this function may submit any."""
        self._check(None, "cancel")
        self._jobs.cancel(job_id, timeout_s=min(timeout_s, self._time_left_s()))

    def logs(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """As jobs do, if this function may submit any."""
        self._check(None, "logs")
        return self._jobs.logs(job_id, timeout_s=min(timeout_s, self._time_left_s()))

    def _check(self, submitted: str | None, operation: str) -> None:
        allowed = self._function.submits
        if not allowed or (submitted is not None and submitted not in allowed):
            raise PermissionDenied(
                f"function {self._function.name} may not {operation} jobs of {submitted or 'any function'}",
                operation=operation,
                resource=submitted or "",
            )


class GrantedSecrets:
    """The secrets that a function was granted by name."""

    def __init__(
        self, secrets: Secrets, function: Function, time_left_s: Callable[[], float] = lambda: math.inf
    ) -> None:
        self._secrets = secrets
        self._function = function
        self._time_left_s = time_left_s

    def get(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """As the secrets do, if the name was granted."""
        if name not in self._function.secrets:
            raise PermissionDenied(
                f"function {self._function.name} may not read secret {name}", operation="get", resource=name
            )
        return self._secrets.get(name, timeout_s=min(timeout_s, self._time_left_s()))


def _overlaps(grant: Grant, prefix: str) -> bool:
    fixed = grant.family.prefix()
    return fixed.startswith(prefix) or prefix.startswith(fixed)
