"""Deadlines on what clients send, so that a slow or silent connection does not take a place for ever.

uvicorn closes idle connections, but it waits without limit for the rest of a request's headers or body, and reads
headers of any size. This adds those limits to its protocol class. After a first grace a body must arrive at MIN_RATE. A
client that is refused before its body is read has LINGER_S to stop sending, so that it reads the refusal instead of a
connection reset.

The deadlines of HTTPS begin after the TLS handshake, whose own deadline the server sets (gateway.py).
"""

import asyncio
from typing import Any, ClassVar

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.errors import DeadlineExceeded, InvalidInput, TidegateError, Unavailable
from shared.serving.http import Response
from shared.serving.problems import problem

MIN_RATE = 16 * 1024
"""The lowest average rate of a body after the grace, in bytes per second."""
LINGER_S = 2.0
FLUSH_S = 30.0
"""How long a client may take to read a response."""
MAX_HEAD_BYTES = 64 * 1024


class Deadlines(msgspec.Struct, frozen=True):
    """The deadlines of a request's headers and of a body's first bytes, in s; the maximum number of connections."""

    head_s: float
    body_s: float
    connections: int


def guarded(deadlines: Deadlines) -> type[HttpToolsProtocol]:
    """Return the protocol class with these deadlines, for uvicorn's `http`."""
    return type("Guarded", (_Guarded,), {"deadlines": deadlines})


class _Guarded(HttpToolsProtocol):
    """One connection. `_phase` is what it waits for: "head", "body", "linger" (the end of sending), or "idle"."""

    deadlines: ClassVar[Deadlines]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._phase = "head"
        self._head_bytes = 0
        self._body_bytes = 0
        self._body_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._flush_timer: asyncio.TimerHandle | None = None
        self._last = False
        if len(self.connections) > self.deadlines.connections:
            self._end(Unavailable("Too many connections are open; try again.", retry_after_s=1))
        else:
            self._arm(self.deadlines.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._phase == "idle":
            self._begin_head()
        super().data_received(data)
        if self._phase == "head":
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                error = InvalidInput(
                    f"The request's head has more than {MAX_HEAD_BYTES} bytes; send fewer or shorter headers.",
                    field="headers",
                )
                self._end(error, 431)

    def send_400_response(self, msg: str) -> None:
        self._end(InvalidInput("This is not a well-formed HTTP/1.1 request.", field="head"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._phase != "head":
            self._begin_head()

    def on_headers_complete(self) -> None:
        self._phase = "body"
        self._body_bytes = 0
        self._body_since = self.loop.time()
        self._arm(self.deadlines.body_s)
        super().on_headers_complete()
        if not self.cycle.keep_alive:
            # uvicorn would close as soon as it has answered, and a client that still sends would see a reset.
            self._last = True
            self.cycle.keep_alive = True

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        lingered = self._phase == "linger"
        self._phase = "idle"
        self._disarm()
        super().on_message_complete()
        if lingered and self._last:
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._phase == "body":
            self._phase = "linger"
            self._arm(LINGER_S)
        elif self._last:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._flush_timer = self.loop.call_later(FLUSH_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._flush_timer = self.loop.call_later(FLUSH_S, self.transport.abort)

    def _begin_head(self) -> None:
        self._phase = "head"
        self._head_bytes = 0
        self._arm(self.deadlines.head_s)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        """Enforce the deadline, unless the delay is ours: reading was paused, or the last response is not finished."""
        self._timer = None
        if self.transport.is_closing():
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if self._phase == "head":
            if answering:
                self._arm(self.deadlines.head_s)
            else:
                self._end(DeadlineExceeded("The request's head did not come in time."), 408)
        elif self._phase == "body":
            allowed = self.deadlines.body_s + self._body_bytes / MIN_RATE
            left = self._body_since + allowed - self.loop.time()
            if self.flow.read_paused:
                self._arm(self.deadlines.body_s)
            elif left > 0:
                self._arm(left)
            else:
                self._end(DeadlineExceeded("The request's body did not come in time."), 408)
        else:
            self.transport.close()

    def _end(self, error: TidegateError, status: int | None = None) -> None:
        """Answer with the error, if no response has begun, and close, at the latest after LINGER_S."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_raw(problem(error, ""), status))
        self.transport.close()
        self._disarm()
        self._flush_timer = self.loop.call_later(LINGER_S, self.transport.abort)


def _raw(response: Response, status: int | None) -> bytes:
    document: dict[str, Any] = msgspec.json.decode(response.body)
    document["status"] = status or response.status
    body = msgspec.json.encode(document)
    lines = [f"HTTP/1.1 {document['status']} {document['title']}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    lines += [f"content-length: {len(body)}", "connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
