"""The platform: all that a handler may touch, handed to it by the runtime that calls it."""

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol

import msgspec

from shared.errors import IntegrityError
from shared.events import Event, Payload
from shared.pipeline.records import ModelInterface, SampleRows
from shared.ports import Clock, Ids, Jobs, Limits, Metrics, ObjectStore, Queue, Secrets
from shared.serving.http import Response
from shared.settings import Settings


class ModelCheck(Protocol):
    """Load an untrusted model where it can do no harm, and run it on rows whose answers are known."""

    def __call__(
        self, model: bytes, interface: ModelInterface, sample: SampleRows, *, memory_mb: int, timeout_s: float
    ) -> "CheckOutcome":
        """Return what came of it; a model that misbehaves is an outcome, not an error."""
        ...


class CheckOutcome(Protocol):
    """`ok`, or the `reason` why not."""

    @property
    def ok(self) -> bool:
        """Whether the model loaded and agreed."""
        ...

    @property
    def reason(self) -> str:
        """Why not, for people; empty when ok."""
        ...


class Platform(msgspec.Struct, frozen=True):
    """The ports of one call, already narrowed to what the function was granted.

    `instance` names this very execution (the job's id, the worker): a claim's holder. `settled` tells whether an object
    of the landing store is whole: on disk a copy by hand may be under way; other stores show whole objects only.
    `time_left_s` tells how long this call may still take, where its platform sets a limit; `in_job`, that it runs as a
    job, with what was asked for it. `cache` may hold what can be read again at any time; nothing else lives between
    calls.
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
    settled: Callable[[str], bool] = lambda key: True
    time_left_s: Callable[[], float] = lambda: math.inf
    in_job: bool = False
    cache: MutableMapping[str, Any] = msgspec.field(default_factory=dict)


class Emit(msgspec.Struct, frozen=True):
    """An event that a handler wants to follow.

    `usecase`: where it differs from the cause's. `origin` and `at` (epoch s): where the handler found an occurrence
    by itself (reconcile finds an upload), so that finding it again gives the same event.
    """

    data: Payload
    usecase: str = ""
    origin: str = ""
    at: float = 0.0


class Outcome(msgspec.Struct, frozen=True):
    """What a handler returns: the events that follow, and the answer where somebody waits for one."""

    emits: Sequence[Emit] = ()
    response: Response | None = None


def unexpected(event: Event, function: str) -> IntegrityError:
    """Return the error for an event that the topology never routes to this function."""
    return IntegrityError(f"{function} is not subscribed to {event.type[:80]!r}", resource=event.id)
