"""The ports: what Tidegate stands on, as small synchronous Protocols; adapters/ implements them once per provider.

Each docstring is the contract: atomicity, ordering, consistency, idempotency, errors. Each of its clauses has a test
in the conformance suite (tests/conformance) and a deliberately broken adapter that the suite rejects. Every
operation takes `timeout_s`: past it, DeadlineExceeded (for a write that may have happened, OutcomeUnknown).
All operations may also raise Throttled, Unavailable and PermissionDenied. Adapters are safe to share between threads.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

PORTS_VERSION = 1
"""Raised when an adapter that was made for these ports would no longer do; adapters of others name theirs."""
DEFAULT_TIMEOUT_S = 30.0
MAX_KEY_BYTES = 900
"""Longest key, in UTF-8 bytes: S3, Azure and GCS allow 1,024; a disk folder's name adds to it."""


class ObjectInfo(msgspec.Struct, frozen=True):
    """What a store knows of an object without reading it.

    `etag` changes whenever the content does; it is opaque and may change without it. `modified` is the store's own
    time of the last write, seconds since the epoch: for information, never for order.
    """

    key: str
    size_bytes: int
    etag: str
    modified: float


class Object(msgspec.Struct, frozen=True):
    """An object's bytes with the etag that they were read under."""

    body: bytes
    etag: str


class Created(msgspec.Struct, frozen=True):
    """`put_new` made the object; `etag` is its own."""

    etag: str


class Exists(msgspec.Struct, frozen=True):
    """`put_new` changed nothing: an object with this key was there (perhaps our own, from a lost answer)."""


class ObjectStore(Protocol):
    """One logical store: a bucket, a container, a folder.

    A key is 1 to 900 bytes of UTF-8 without NUL, backslash or control characters, neither starting nor ending with
    "/", and without empty, "." or ".." segments; anything else is InvalidInput, before any effect. A key that is
    another's folder ("a" beside "a/b") need not be possible: Unsupported or InvalidInput where it is not.
    """

    def get(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Object:
        """Return the whole object: bytes and etag of one single write, never a mixture.

        Consistency: sees every write acknowledged before the call began.
        Raises: NotFound.
        """
        ...

    def get_range(self, key: str, start: int, length: int, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return `length` bytes from `start` (fewer at the end, none past it).

        Raises: NotFound; InvalidInput: start or length is negative.
        """
        ...

    def head(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ObjectInfo | None:
        """Return what is known of the object, or None where there is none; as consistent as `get`."""
        ...

    def put_new(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Created | Exists:
        """Create the object if the key is absent: the one primitive of coordination.

        Atomic: of any number of racing callers exactly one gets Created, the object is that caller's body, whole
        and durable, and no reader ever sees a part of it. Exists changes nothing.
        An adapter whose transport re-sends may get Exists against its own write: callers settle by reading back
        (shared.registry.blob.create does).
        Raises: OutcomeUnknown: the answer was lost, the object may or may not be there.
        """
        ...

    def put(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Write the object whether or not it exists, and return its etag. For hints and derived views only.

        Atomic for readers; of racing writers the last one stands. Repeating it is harmless.
        """
        ...

    def list(self, prefix: str = "", after: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with `prefix` and is greater than `after`, in order of UTF-8 bytes.

        `prefix` is a plain string prefix, not a folder. Objects acknowledged before the call are in; those written
        or deleted during it may or may not be. Pages are fetched as they are needed.
        """
        ...

    def delete(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Remove the object; removing what is not there is no error. After it, `put_new` creates again."""
        ...

    def presign(
        self, key: str, method: Literal["GET", "PUT"], expires_s: int, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str:
        """Return a URL that lets its holder read or write just this object until it expires.

        Raises: Unsupported: the provider has no such thing (memory, local).
        """
        ...


class Message(msgspec.Struct, frozen=True):
    """A message on lease: `receipt` proves the lease, `receive_count` counts leases from 1, `sent_at` in epoch seconds."""

    id: str
    body: bytes
    receipt_handle: str
    receive_count: int
    sent_at: float


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that was received too often; it waits for a person (`redrive`)."""

    id: str
    body: bytes
    receive_count: int
    sent_at: float


class Queue(Protocol):
    """The sending end of one named queue: at least once, in no promised order.

    A body is 1 byte to `max_body_bytes`; larger ones are PayloadTooLarge: send a claim check instead.
    """

    max_body_bytes: int

    def send(self, body: bytes, *, delay_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Return when the message is durable. It is invisible for at least `delay_s` (0 to 900).

        Not idempotent: sent twice, received twice; receivers de-duplicate by the event's id.
        Raises: OutcomeUnknown: it may have been sent. PayloadTooLarge. InvalidInput: empty body or bad delay.
        Unsupported: a delay above 0 where the provider has none (Pub/Sub).
        """
        ...

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send each; on an error any number of them may have been sent. One that is too large: nothing is sent."""
        ...


class QueueConsumer(Protocol):
    """The receiving end: workers on premises, and redrive everywhere."""

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Borrow up to `max_messages` (1 to 10); they are invisible to others for `visibility_s`, then come back.

        Waits up to `wait_s` for a first one; an empty list when there is none. A message whose receive count would
        exceed the queue's `max_receives` becomes a dead letter instead of being lent again.
        """
        ...

    def ack(self, receipt_handle: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Remove the message for good. False where the lease had lapsed and the message was lent again or is gone.

        Some providers cannot tell (Pub/Sub says yes to all): True is no proof that nobody else has the message.
        """
        ...

    def change_visibility(
        self, receipt_handle: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Let the lease end `visibility_s` from now (0 gives the message back at once).

        Returns the receipt handle that proves the lease from now on (Azure voids the old one), None where `ack` gives False.
        """
        ...

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Yield the dead letters. On clouds, looking may hide them from others for a while; order is not promised."""
        ...

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Put one dead letter back in the queue, its receive count at zero. Raises: NotFound.

        Not atomic on clouds: the message may get a new id, and be in both places when its mover dies in between.
        """
        ...

    def depth(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[int, float | None]:
        """Return how many messages are in the queue (lent ones included, dead letters not) and the oldest one's age, s.

        May lag on clouds; (0, 0.0) when empty. The age is None where only the provider's monitoring knows it.
        """
        ...


class JobSpec(msgspec.Struct, frozen=True):
    """A task to run to its end: which function, with which event, and what it needs.

    `name` is [a-z0-9][a-z0-9-]{0,62}: it tells runs apart in logs and is no identity.
    """

    name: str
    function: str
    event: bytes
    cpu: float = 1.0
    memory_mb: int = 2048
    timeout_s: int = 3600
    accelerator: str = ""


class JobStatus(msgspec.Struct, frozen=True):
    """Where a job is. `exit_code` is set once it ended by itself; `reason` says why it failed, for people."""

    state: Literal["pending", "running", "succeeded", "failed", "cancelled"]
    exit_code: int | None = None
    reason: str = ""


class Jobs(Protocol):
    """Long tasks outside any function's time limit. At least once: what a job does must stand being done twice."""

    def submit(self, spec: JobSpec, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Return the new job's id once it will certainly be started, even if this process dies now.

        Raises: OutcomeUnknown: a job may have been started. Unsupported: no such accelerator. InvalidInput.
        """
        ...

    def status(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> JobStatus:
        """Return the state now. Terminal states never change. Raises: NotFound."""
        ...

    def cancel(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Ask it to stop; it becomes cancelled unless it had ended. Repeating is harmless. Raises: NotFound."""
        ...

    def logs(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Return what it has written so far, stdout and stderr as they came. Raises: NotFound."""
        ...


class MetricPoint(msgspec.Struct, frozen=True):
    """One measurement as it was recorded; `at` in epoch seconds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    value: float
    at: float
    labels: Mapping[str, str]


class Metrics(Protocol):
    """Measurements of the platform itself. Recording never fails its caller and may lose points on a crash."""

    def counter(self, name: str, value: float = 1.0, labels: Mapping[str, str] | None = None) -> None:
        """Add `value` >= 0 to a count. Raises: InvalidInput: a negative or non-finite value."""
        ...

    def gauge(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Record a level. Raises: InvalidInput: a non-finite value."""
        ...

    def histogram(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Record one observation (a latency in ms, a size). Raises: InvalidInput: a non-finite value."""
        ...

    def query(self, name: str, start: float, end: float, labels: Mapping[str, str] | None = None) -> list[MetricPoint]:
        """Return the points of [start, end), by time, whose labels include `labels`; other processes' with some lag."""
        ...


class FunctionLimits(msgspec.Struct, frozen=True):
    """What a function may use: memory in MiB, and how many calls at a time."""

    memory_mb: int
    concurrency: int


class Limits(Protocol):
    """A deployed function's memory and concurrency."""

    def read(self, function: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> FunctionLimits:
        """Return the limits in force. Raises: NotFound: no such function is deployed."""
        ...

    def set(self, function: str, limits: FunctionLimits, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Change them; a `read` that begins after the return sees them. Repeating is harmless.

        Raises: NotFound; InvalidInput: not positive.
        """
        ...


class Secrets(Protocol):
    """Named secrets; the platform only reads them. A name is [a-z][a-z0-9-]{0,62}."""

    def get(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return the secret's newest value. Raises: NotFound (names it and how to make it); InvalidInput: bad name."""
        ...


class Clock(Protocol):
    """Time comes in by argument, so that everything replays."""

    def now(self) -> float:
        """Return seconds since the epoch; may step backwards on a real machine."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards, from an arbitrary start: for durations."""
        ...


class Ids(Protocol):
    """Random names come in by argument, so that everything replays."""

    def new(self) -> str:
        """Return 32 lower-case hexadecimal digits that no other call, on any machine, returns."""
        ...
