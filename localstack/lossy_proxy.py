"""A TCP proxy on loopback that loses requests or answers on purpose: what a network does to a conditional write.

A request lost never reaches the server; an answer lost was sent after the server did the work. Either way the client
sees its connection closed without an answer, and cannot tell which.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Loss = Literal["none", "request", "answer"]
_CHUNK_BYTES = 1 << 16
_SETTLE_S = 0.1
_WRITES = (b"PUT ", b"POST ")


class LossyProxy:
    """Relays to `upstream`; after `lose(what, times)` the next `times` writes lose their request or their answer.

    `attempts` counts the writes that the client sent since then, lost or not: the client's own retries show in it.
    A write is an HTTP request by PUT or POST or, with a `marker`, any bytes that hold it: gRPC's frames cannot be told
    apart from outside, but a body stands in them as it is.
    """

    def __init__(self, upstream: str, *, marker: bytes = b"") -> None:
        host, _, port = upstream.partition(":")
        self._upstream = (host, int(port))
        self._marker = marker
        self._lock = threading.Lock()
        self._loss: Loss = "none"
        self._times = 0
        self._closed = False
        self._sockets: list[socket.socket] = []
        self.attempts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host_port = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, what: Loss, times: int) -> None:
        """Lose the next `times` writes' requests or answers, and count attempts from zero."""
        with self._lock:
            self._loss, self._times, self.attempts = what, times, 0

    def close(self) -> None:
        """Stop listening and close every connection."""
        self._closed = True
        for each in [self._listener, *self._sockets]:
            _close(each)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._upstream)
            except OSError:
                return
            self._sockets += [client, server]
            exchange = _Exchange(self, client, server)
            threading.Thread(target=exchange.relay_requests, daemon=True).start()
            threading.Thread(target=exchange.relay_answers, daemon=True).start()

    def is_write(self, data: bytes, *, first: bool) -> bool:
        """Return whether a write begins with `data`; `first` says that it follows an answer."""
        return self._marker in data if self._marker else first and data.startswith(_WRITES)

    def next_loss(self) -> Loss:
        """Return what happens to the write that has just begun."""
        with self._lock:
            self.attempts += 1
            if self._times == 0:
                return "none"
            self._times -= 1
            return self._loss


class _Exchange:
    """One connection. Clients here never pipeline: the first bytes after an answer begin the next request."""

    def __init__(self, proxy: LossyProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._between = True
        self._lose_answer = False

    def relay_requests(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(_CHUNK_BYTES):
                if self._proxy.is_write(data, first=self._between):
                    loss = self._proxy.next_loss()
                    if loss == "request":
                        break
                    self._lose_answer = loss == "answer"
                self._between = False
                self._server.sendall(data)
        self._end()

    def relay_answers(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(_CHUNK_BYTES):
                if data.startswith(b"HTTP/1.1 100 "):
                    self._client.sendall(data)
                    continue
                if self._lose_answer:
                    # Over gRPC the first bytes back may only be flow control: let the server do the work first.
                    time.sleep(_SETTLE_S)
                    break
                self._between = True
                self._client.sendall(data)
        self._end()

    def _end(self) -> None:
        _close(self._client)
        _close(self._server)


@contextmanager
def lossy_proxy(upstream: str, *, marker: bytes = b"") -> Iterator[LossyProxy]:
    """Run a proxy before `upstream` ("host:port"); it loses nothing until it is told to."""
    proxy = LossyProxy(upstream, marker=marker)
    try:
        yield proxy
    finally:
        proxy.close()


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
