"""The host: runs the functions of one deployment on a cloud. A process has one, made at its first call.

A provider's module translates its platform's call (an S3 event inside an SQS record, an HTTP trigger, a push envelope)
and calls one method of the host: a message of a function's queue, an object in the landing store, a tick of a schedule,
or a request. A port operation never gets more time than the platform's limit leaves.
"""

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from functions.runtimes.compose import compose
from functions.runtimes.dispatch import deliver, event_of_message
from functions.runtimes.environment import functions_of, settings_of
from functions.runtimes.log import StreamLog, described
from shared import layout
from shared.documents import digest_of_parts
from shared.errors import ConfigurationError
from shared.events import NO_USECASE, Event, ScheduleFired, UploadReceived, first_event
from shared.platform import Platform
from shared.serving.http import Request, Response
from shared.topology import Function, function_named

if TYPE_CHECKING:
    from functions.runtimes.http import Service

FLUSH_S = 4.0
"""With less time left than this, metrics are sent with a later call: sending may take 3 s (adapters.otlp)."""
MARGIN_S = 0.5
"""The part of a call's time that is reserved for its answer."""
_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)


@runtime_checkable
class _Flushed(Protocol):
    """Metrics that are collected, and sent together by `flush`."""

    def flush(self) -> bool:
        """Send what was recorded; return whether it arrived."""
        ...


class Host:
    """The functions of one deployment in one process. Safe to share between threads.

    Args: environ: the process's environment (functions.runtimes.environment). address: the URL of the stack for
        clients; a platform that learns it from a request sets it before the first request is answered.
    Raises: ConfigurationError: the environment is invalid; it names the variable and the remedy.
    """

    def __init__(self, environ: Mapping[str, str], *, instance: str = "", address: str = "") -> None:
        self.functions: tuple[Function, ...] = functions_of(environ)
        self.log = StreamLog("-".join(function.name for function in self.functions), time.time)
        self.address = address
        instance = instance or f"{self.functions[0].name}-{os.urandom(8).hex()}"
        composed = compose(settings_of(environ), instance, time_left_s=time_left_s)
        self.platform: Platform = composed.platform

    @cached_property
    def service(self) -> "Service":
        """The HTTP service: the routes of this deployment's functions, and those that need no token."""
        # Imported with the first request: the data unit has no libraries for tokens and signatures.
        from functions.runtimes.http import Service
        from functions.runtimes.telemetry import Telemetry

        telemetry = Telemetry(self.platform.metrics, self.functions[0].name, batched=False)
        serves = frozenset(function.name for function in self.functions)
        return Service(self.platform, telemetry, address=self.address, log=self.log, serves=serves)

    def answer(self, request: Request, left_s: float = math.inf) -> Response:
        """Return the response to a request. Raises nothing. Args: left_s: seconds until the platform's time limit."""
        with self._call(left_s):
            return self.service.answer(request)

    def receive(self, function: str, message: bytes, left_s: float = math.inf) -> None:
        """Handle a message of a function's queue. When this returns, it may be acknowledged.

        Raises: what the handler or a port raises; then the message must be delivered again.
        """
        with self._call(left_s), self._logged(function):
            self._deliver(function, event_of_message(function, message, self.platform))

    def object_written(self, function: str, key: str, left_s: float = math.inf) -> None:
        """Handle a provider's event about an object that was written to the landing store, as UploadReceived.

        Only the key of the provider's event is used. The etag is read from the store, because providers differ in the
        etags and in the order of their events (docs/decisions/0001). The event is ignored if the key is neither an
        upload nor a drop, or the object is gone. Raises: as `receive`.
        """
        with self._call(left_s), self._logged(function):
            names = layout.UPLOADS.parse(key) or layout.DROPS.parse(key)
            info = self.platform.landing.head(key) if names is not None else None
            if names is None or info is None:
                self.log("object ignored", function=function, known=names is not None)
                return
            event = first_event(
                UploadReceived(key=key, etag=info.etag),
                usecase=names["usecase"],
                source="/storage/landing",
                origin=f"upload {digest_of_parts(key, info.etag)}",
                at=info.modified,
            )
            self._deliver(function, event)

    def tick(self, function: str, occurrence: str, at: float, left_s: float = math.inf) -> None:
        """Handle a tick of a function's schedule. Args: occurrence: names the tick, also when repeated; at: epoch s.

        Raises: as `receive`.
        """
        with self._call(left_s), self._logged(function):
            event = first_event(
                ScheduleFired(function=function), usecase=NO_USECASE, source="/schedule", origin=occurrence, at=at
            )
            self._deliver(function, event)

    def only_function(self) -> str:
        """Return the function of a deployment that has one. Raises: ConfigurationError: it has several."""
        if len(self.functions) != 1:
            raise ConfigurationError("this deployment has several functions: the call must name one")
        return self.functions[0].name

    def _deliver(self, function: str, event: Event) -> None:
        began = self.platform.clock.monotonic()
        deliver(function_named(function).name, event, self.platform)
        duration_ms = round((self.platform.clock.monotonic() - began) * 1000, 1)
        self.log("handled", function=function, event=event.id, type=event.type, duration_ms=duration_ms)

    @contextmanager
    def _call(self, left_s: float) -> Iterator[None]:
        """Limit the time of a call, and send its metrics at the end, because the platform may freeze the process then.

        If too little time is left, they are sent with a later call's.
        """
        with _within(left_s):
            try:
                yield
            finally:
                metrics = self.platform.metrics
                if isinstance(metrics, _Flushed) and time_left_s() > FLUSH_S:
                    metrics.flush()

    @contextmanager
    def _logged(self, function: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.log("failed", function=function, **described(error))
            raise


def time_left_s() -> float:
    """Return the seconds that the present call has left, infinite if the platform sets no limit."""
    return max(0.0, _ends_at.get() - time.monotonic())


@contextmanager
def _within(left_s: float) -> Iterator[None]:
    token = _ends_at.set(time.monotonic() + left_s - MARGIN_S)
    try:
        yield
    finally:
        _ends_at.reset(token)
