"""The ports: small synchronous Protocols for what Tidegate needs of a provider. adapters/ implements them per provider.

Each docstring is the contract: atomicity, ordering, consistency, idempotency and errors. The conformance suite
(tests/conformance) has a check for each sentence, and a deliberately broken adapter that the check must reject. Every
operation takes `timeout_s`. Past it, the operation raises DeadlineExceeded, or OutcomeUnknown for a write that may have
happened. All operations may also raise Throttled, Unavailable and PermissionDenied. Adapters are safe to share between
threads.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

PORTS_VERSION = 1
"""The version of these ports. It is raised when existing adapters would no longer work.

Adapters of other distributions name the version that they were made for (adapters/urls.py).
"""
DEFAULT_TIMEOUT_S = 30.0
MAX_KEY_BYTES = 900
"""The longest key, in UTF-8 bytes. S3, Azure and GCS allow 1,024; the rest is for a prefix."""


class ObjectInfo(msgspec.Struct, frozen=True):
    """An object's metadata, which a store returns without the body.

    `etag` changes whenever the content does. It is opaque, and may change when the content does not. `modified` is the
    store's own time of the last write, in seconds since the epoch. It informs, and never decides order.
    """

    key: str
    size_bytes: int
    etag: str
    modified: float


class Object(msgspec.Struct, frozen=True):
    """An object's body, and the etag of the write that the body comes from."""

    body: bytes
    etag: str


class Created(msgspec.Struct, frozen=True):
    """`put_new` created the object; `etag` is the new object's."""

    etag: str


class Exists(msgspec.Struct, frozen=True):
    """`put_new` changed nothing: the key has an object, perhaps our own from a write whose answer was lost."""


class ObjectStore(Protocol):
    """One logical store: a bucket, a container or a folder.

    A key is 1 to 900 bytes of UTF-8 without NUL, backslash or control characters. It neither starts nor ends with "/",
    and has no empty, "." or ".." segment. Any other key raises InvalidInput, before any effect. A store may refuse a
    key that is the folder of another ("a" beside "a/b"), with Unsupported or InvalidInput.
    """

    def get(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Object:
        """Return the whole object: body and etag of one single write, never a mixture.

        Consistency: sees every write that was acknowledged before the call began.
        Raises: NotFound.
        """
        ...

    def get_range(self, key: str, start: int, length: int, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return `length` bytes from `start`: fewer at the end of the object, none past it.

        Raises: NotFound; InvalidInput: start or length is negative.
        """
        ...

    def head(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ObjectInfo | None:
        """Return the object's metadata, or None where there is no object; as consistent as `get`."""
        ...

    def put_new(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Created | Exists:
        """Create the object if the key is absent. All coordination between writers rests on this operation.

        Atomic: of any number of racing callers exactly one gets Created. The object is that caller's body, whole and
        durable. No reader ever sees a part of it. The other callers get Exists, and change nothing.
        An adapter whose transport repeats requests may return Exists against its own write. Callers settle that by
        reading the object back, as shared.registry.blob.create does.
        Raises: OutcomeUnknown: the answer was lost; the object may or may not have been created.
        """
        ...

    def put(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Write the object whether or not it exists, and return its etag. For hints and derived views only.

        Atomic for readers. Of racing writers the last one wins. Repeating it is harmless.
        """
        ...

    def list(self, prefix: str = "", after: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with `prefix` and is greater than `after`, in order of UTF-8 bytes.

        `prefix` is a plain string prefix, not a folder. Objects that were acknowledged before the call are included.
        Objects that are written or deleted during it may or may not be. Pages are fetched as they are needed.
        """
        ...

    def delete(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Remove the object. Removing an absent object is no error. After it, `put_new` creates again."""
        ...

    def presign(
        self, key: str, method: Literal["GET", "PUT"], expires_s: int, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str:
        """Return a URL that lets its holder read or write this one object until it expires.

        Raises: Unsupported: the provider has no signed URLs (memory, local).
        """
        ...


class Message(msgspec.Struct, frozen=True):
    """A message in flight: one whose lease lasts.

    `receipt_handle` proves the lease; `ack` and `change_visibility` take it. `receive_count` counts receives from 1.
    `sent_at` is in epoch seconds.
    """

    id: str
    body: bytes
    receipt_handle: str
    receive_count: int
    sent_at: float


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that exceeded the queue's `max_receives`. It stays until `redrive` puts it back."""

    id: str
    body: bytes
    receive_count: int
    sent_at: float


class Queue(Protocol):
    """The sending end of one named queue: delivery is at least once, in no promised order.

    A body is 1 byte to `max_body_bytes`. A larger one raises PayloadTooLarge: send a claim check instead.
    """

    max_body_bytes: int

    def send(self, body: bytes, *, delay_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Return when the message is durable. The message is invisible for at least `delay_s` (0 to 900).

        Not idempotent: what is sent twice is received twice. Receivers de-duplicate by the event's id.
        Raises: OutcomeUnknown: it may have been sent. PayloadTooLarge. InvalidInput: empty body or bad delay.
        Unsupported: a delay above 0 where the provider has none (Pub/Sub).
        """
        ...

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send each body. After an error any number of them may have been sent. If one is too large, none is sent."""
        ...


class QueueConsumer(Protocol):
    """The receiving end of one named queue: for workers on premises, and for redrive on every provider."""

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Return up to `max_messages` (1 to 10) messages and start a lease of `visibility_s` for each.

        A message is in flight while its lease lasts: no other receiver sees it. After that it is visible again.
        Waits up to `wait_s` for a first message; an empty list when there is none. A message whose receive count would
        exceed the queue's `max_receives` becomes a dead letter instead of being received again.
        """
        ...

    def ack(self, receipt_handle: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Remove the message for good. False if another receiver has the message, or it no longer exists.

        Some providers accept every receipt handle (Pub/Sub): True is no proof that nobody else has the message.
        """
        ...

    def change_visibility(
        self, receipt_handle: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Let the lease end `visibility_s` from now. With 0 the message is visible at once.

        Returns: the receipt handle that proves the lease from now on, since Azure invalidates the old one. None where
            `ack` returns False.
        """
        ...

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Yield the dead letters. On clouds, listing may hide them from others for a while; order is not promised."""
        ...

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Put one dead letter back in the queue, with its receive count at zero. Raises: NotFound.

        Not atomic on clouds: the message may get a new id, and is in both places if the process dies in between.
        """
        ...

    def depth(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[int, float | None]:
        """Return how many messages are in the queue, and the age of the oldest one in seconds.

        Messages in flight are counted, dead letters are not. May lag on clouds; (0, 0.0) when empty. The age is None
        where only the provider's monitoring knows it.
        """
        ...


class JobSpec(msgspec.Struct, frozen=True):
    """A task to run to its end: which function, with which event, and the resources that it needs.

    `name` is [a-z0-9][a-z0-9-]{0,62}. It labels the run in logs and is no identity.
    """

    name: str
    function: str
    event: bytes
    cpu: float = 1.0
    memory_mb: int = 2048
    timeout_s: int = 3600
    accelerator: str = ""


class JobStatus(msgspec.Struct, frozen=True):
    """The state of a job. `exit_code` is set once the job ended by itself. `reason` says why it failed, for people."""

    state: Literal["pending", "running", "succeeded", "failed", "cancelled"]
    exit_code: int | None = None
    reason: str = ""


class Jobs(Protocol):
    """Long tasks outside any function's time limit. A job runs at least once: its work must be idempotent."""

    def submit(self, spec: JobSpec, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Return the new job's id once the job is certain to start, even if this process dies now.

        Raises: OutcomeUnknown: a job may have been started. Unsupported: no such accelerator. InvalidInput.
        """
        ...

    def status(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> JobStatus:
        """Return the current state. Terminal states never change. Raises: NotFound."""
        ...

    def cancel(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Ask the job to stop. It becomes cancelled unless it has ended. Repeating is harmless. Raises: NotFound."""
        ...

    def logs(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Return what the job has written so far, stdout and stderr in order of writing. Raises: NotFound."""
        ...


class MetricPoint(msgspec.Struct, frozen=True):
    """One measurement as it was recorded; `at` is in epoch seconds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    value: float
    at: float
    labels: Mapping[str, str]


class Metrics(Protocol):
    """Measurements of the platform itself. Recording never fails its caller. A crash may lose points."""

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
        """Return the points of [start, end) whose labels include `labels`, by time. Other processes' points may lag."""
        ...


class FunctionLimits(msgspec.Struct, frozen=True):
    """What a function may use: memory in MiB, and the number of concurrent calls."""

    memory_mb: int
    concurrency: int


class Limits(Protocol):
    """A deployed function's memory and concurrency."""

    def read(self, function: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> FunctionLimits:
        """Return the limits in force. Raises: NotFound: no such function is deployed."""
        ...

    def set(self, function: str, limits: FunctionLimits, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Change the limits. A `read` that begins after the return sees them. Repeating is harmless.

        Raises: NotFound; InvalidInput: not positive.
        """
        ...


class Secrets(Protocol):
    """Named secrets, which the platform only reads. A name is [a-z][a-z0-9-]{0,62}."""

    def get(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return the secret's newest value. Raises: NotFound, with how to create the secret; InvalidInput: bad name."""
        ...


class Clock(Protocol):
    """The time, passed in as an argument so that everything replays."""

    def now(self) -> float:
        """Return seconds since the epoch; may step backwards on a real machine."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards, from an arbitrary start: for durations."""
        ...


class Ids(Protocol):
    """Random names, passed in as an argument so that everything replays."""

    def new(self) -> str:
        """Return 32 lower-case hexadecimal digits that no other call, on any machine, returns."""
        ...
