"""The platform: everything that a handler may use. The runtime that calls the handler passes it in."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from shared.errors import IntegrityError
from shared.events import Event, Payload
from shared.pipeline.records import ModelInterface, SampleRows
from shared.ports import Clock, Ids, Jobs, Limits, Metrics, ObjectStore, Queue, Secrets
from shared.serving.http import Response
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.serving.sessions import ModelCache


class ModelCheck(Protocol):
    """Load an untrusted model in a limited process, and run it on rows whose scores are known."""

    def __call__(
        self, model: bytes, interface: ModelInterface, sample: SampleRows, *, memory_mb: int, timeout_s: float
    ) -> "CheckOutcome":
        """Return the outcome. A model that misbehaves is an outcome, not an error."""
        ...


class CheckOutcome(Protocol):
    """The result of a model check: `ok`, or the `reason` for the failure."""

    @property
    def ok(self) -> bool:
        """Whether the model loaded and gave the known scores."""
        ...

    @property
    def reason(self) -> str:
        """Why the check failed, for people; empty when ok."""
        ...


class ProcessCache:
    """What one process keeps between calls: only what it can read again from the stores at any time.

    `compose` makes one for each process, so it starts empty after a restart. Safe to share between threads.

    Args: release_ttl_s: how long a champion may serve before the releases ledger is read again.
    """

    def __init__(self, release_ttl_s: float) -> None:
        self._release_ttl_s = release_ttl_s
        self._guard = threading.Lock()
        self._models: ModelCache | None = None
        self.linked_releases: dict[str, int] = {}
        """Use case -> the newest release whose lineage edges this process has written. Used by reconcile only."""

    @property
    def models(self) -> "ModelCache":
        """The loaded models. Used by infer only; made on first use, because its libraries are slow to import."""
        with self._guard:
            if self._models is None:
                from shared.serving.sessions import ModelCache

                self._models = ModelCache(ttl_s=self._release_ttl_s)
            return self._models


class Platform(msgspec.Struct, frozen=True):
    """The ports of one call, narrowed to the function's grants.

    instance: the name of this execution (a job's id, a worker): the holder of the claims that it makes.
    cache: what this process keeps between calls. Nothing else is kept.
    settled: returns whether an object of the landing store is complete. On a disk somebody may still be copying the
        file; other stores only list complete objects.
    time_left_s: returns the seconds that this call has left, infinite where the platform sets no limit.
    in_job: whether this is a job, with the memory and time that were requested for it.
    """

    landing: ObjectStore
    system: ObjectStore
    capture: ObjectStore
    queues: Mapping[str, Queue]
    jobs: Jobs
    metrics: Metrics
    limits: Limits
    secrets: Secrets
    clock: Clock
    ids: Ids
    settings: Settings
    check_model: ModelCheck
    instance: str
    cache: ProcessCache
    settled: Callable[[str], bool] = lambda key: True
    time_left_s: Callable[[], float] = lambda: math.inf
    in_job: bool = False


class Emit(msgspec.Struct, frozen=True):
    """An event that a handler asks the runtime to send.

    usecase: if it is not that of the event which the handler received.
    origin, at (epoch s): set when the handler found the occurrence itself, as reconcile finds an upload. The event's
        id derives from them, so that finding the same occurrence again gives the same event.
    """

    data: Payload
    usecase: str = ""
    origin: str = ""
    at: float = 0.0


class Outcome(msgspec.Struct, frozen=True):
    """What a handler returns: the events to send, and the response if it answered a request."""

    emits: Sequence[Emit] = ()
    response: Response | None = None


def unexpected(event: Event, function: str) -> IntegrityError:
    """Return the error for an event that the topology does not route to this function."""
    return IntegrityError(f"{function} is not subscribed to {event.type[:80]!r}", resource=event.id)
