"""A TCP proxy on loopback that loses requests or responses on purpose, as a network can lose a conditional write's.

A lost request does not reach the server, or only in part. A lost response was sent after the server did the work, and
may arrive in part. In both cases the client's connection closes, and it cannot tell which happened. The proxy can also
answer by itself (a throttle, for example), delay a request, or hold it back until its sender has timed out.
lossy_grpc.py does the same for gRPC.
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, NamedTuple

Loss = Literal["none", "request", "upload", "part", "answer", "reply", "slow", "late"]
"""What is lost: the request; all of it but its beginning; the end of the response; the whole response. "reply": the
proxy answers. "slow": the request is delayed. "late": it reaches the server on `deliver`, after its sender is gone."""
_CHUNK_BYTES = 1 << 16
_SETTLE_S = 0.1
_LATE_S = 5.0
_WRITES = (b"PUT ", b"POST ")
_READS = (b"GET ", b"HEAD ", b"DELETE ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"


class Fate(NamedTuple):
    """A request's fault. `amount`: for "upload" and "part", the share that arrives, 0 to 1; for "slow", seconds."""

    loss: Loss
    amount: float = 0.5


class LossyProxy:
    """Relays to `upstream`. After `lose(what, times)` the next `times` writes lose their request or response.

    `attempts` counts the client's writes since then, lost or not, and so its retries. A write is a PUT or POST or, with
    a `marker`, any bytes that contain it: a gRPC body is not compressed. `rewrite` may change each piece of a request.
    If `decide` is set, it chooses the fault of every request (not only of writes) from its first bytes.

    Args: exchange: the protocol of the connections; lossy_grpc's needs no marker. settle_s: how long the server has an
        incomplete request before its connection is closed, and the proxy a response.
    """

    def __init__(
        self,
        upstream: str,
        *,
        marker: bytes = b"",
        rewrite: Callable[[bytes], bytes] = lambda data: data,
        exchange: "type[Exchange] | None" = None,
        settle_s: float = _SETTLE_S,
    ) -> None:
        host, _, port = upstream.partition(":")
        self.upstream = (host, int(port))
        self._marker = marker
        self._all = False
        self._exchange = exchange or Exchange
        self.settle_s = settle_s
        self.rewrite = rewrite
        self.decide: Callable[[bytes], Fate] | None = None
        self.canned = b""
        self._lock = threading.Lock()
        self._loss: Loss = "none"
        self._times = 0
        self._closed = False
        self._sockets: list[socket.socket] = []
        self._held: list[Callable[[], None]] = []
        self.attempts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host_port = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, what: Loss, times: int, *, reads: bool = False) -> None:
        """Lose the requests or responses of the next `times` writes, and count attempts from zero.

        With `reads`, any HTTP request counts, not only writes.
        """
        with self._lock:
            self._loss, self._times, self.attempts, self._all = what, times, 0, reads

    def reply(self, answer: bytes, times: int, *, reads: bool = False) -> None:
        """Answer the next `times` writes (with `reads`, any requests) with these bytes, and close the connection."""
        self.canned = answer
        self.lose("reply", times, reads=reads)

    def deliver(self) -> int:
        """Send the delayed requests to the server; return their number."""
        with self._lock:
            held, self._held = self._held, []
        for bring in held:
            with suppress(OSError):
                bring()
        return len(held)

    def hang_up(self) -> None:
        """Close every connection, as the end of the client's process does; accept new ones."""
        with self._lock:
            open_now, self._sockets = self._sockets, []
        for each in open_now:
            close(each)

    def close(self) -> None:
        """Stop listening and close every connection."""
        self._closed = True
        close(self._listener)
        self.hang_up()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self.upstream)
            except OSError:
                return
            for each in (client, server):  # otherwise the second half of a request waits 40 ms for the ACK of the first
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets += [client, server]
            exchange = self._exchange(self, client, server)
            threading.Thread(target=exchange.relay_requests, daemon=True).start()
            threading.Thread(target=exchange.relay_answers, daemon=True).start()

    def is_write(self, data: bytes, *, first: bool) -> bool:
        """Return whether a write begins with `data`. Args: first: it follows a response."""
        if self._marker:
            return self._marker in data
        every = self._all or self.decide is not None
        return first and data.startswith(_WRITES + _READS if every else _WRITES)

    def next_fate(self, data: bytes) -> Fate:
        """Return the fault of the request that begins with `data`."""
        with self._lock:
            self.attempts += 1
            decide = self.decide
            if decide is None:
                if self._times == 0:
                    return Fate("none")
                self._times -= 1
                return Fate(self._loss)
        return decide(data)

    def hold(self, bring: Callable[[], None]) -> None:
        """Keep the call that sends a request to the server until `deliver`."""
        with self._lock:
            self._held.append(bring)


class Exchange:
    """One connection. Clients here never pipeline: the first bytes after a response begin the next request."""

    def __init__(self, proxy: LossyProxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self.server = server
        self._between = True
        self._fate = Fate("none")
        self._answered = threading.Event()

    def relay_requests(self) -> None:
        """Pass on what the client sends until it ends or something is lost."""
        with suppress(OSError):
            while data := self.client.recv(_CHUNK_BYTES):
                if self.proxy.is_write(data, first=self._between):
                    self._fate = self.proxy.next_fate(data)
                    if not self._begun(data):
                        break
                    if self._fate.loss == "slow":
                        self._wait_with(data)
                        continue
                self._between = False
                self.server.sendall(self.proxy.rewrite(data))
        self.end()

    def relay_answers(self) -> None:
        """Pass on what the server answers, except what must be lost."""
        with suppress(OSError):
            while data := self.server.recv(_CHUNK_BYTES):
                if data.startswith(b"HTTP/1.1 100 "):
                    self.client.sendall(data)
                    continue
                loss, amount = self._fate
                if loss == "part":
                    self.client.sendall(data[: int(len(data) * amount)])
                if loss in ("part", "answer"):
                    # Over gRPC the first bytes back may only be flow control: wait until the server has done the work.
                    time.sleep(self.proxy.settle_s)
                    break
                self._between = True
                self._answered.set()
                self.client.sendall(data)
        self.end()

    def _begun(self, data: bytes) -> bool:
        """Begin a request's fault; return whether it goes to the server."""
        loss, amount = self._fate
        if loss == "reply":
            self.client.sendall(self.proxy.canned)
            self.drain()
        elif loss == "upload":
            self.server.sendall(data[: int(len(data) * amount)])
            time.sleep(self.proxy.settle_s)
        elif loss == "late":
            whole, upstream = self._whole(data), self.proxy.upstream
            self.proxy.hold(lambda: _asked(upstream, whole))
        return loss not in ("request", "reply", "upload", "late")

    def _wait_with(self, data: bytes) -> None:
        """Delay a request, and send it to the server even if its sender is gone."""
        whole = self._whole(data)
        self._answered.clear()
        self._between = False
        time.sleep(self._fate.amount)
        self.server.sendall(self.proxy.rewrite(whole))
        self._answered.wait(_LATE_S)

    def _whole(self, data: bytes) -> bytes:
        """Return the whole request that begins with `data`; its headers have its length."""
        while _END_OF_HEAD not in data:
            data += self._more()
        head = data.index(_END_OF_HEAD)
        declared = _LENGTH.search(data[: head + 2])
        length = head + len(_END_OF_HEAD) + (int(declared[1]) if declared else 0)
        while len(data) < length:
            data += self._more()
        return data

    def _more(self) -> bytes:
        data = self.client.recv(_CHUNK_BYTES)
        if not data:
            raise ConnectionError("the client disconnected before its request was complete")
        return data

    def drain(self) -> None:
        """Read what the client still sends: closing earlier would lose the response."""
        self.client.shutdown(socket.SHUT_WR)
        self.client.settimeout(_SETTLE_S * 10)
        while self.client.recv(_CHUNK_BYTES):
            pass

    def end(self) -> None:
        """Close both sides."""
        close(self.client)
        close(self.server)


@contextmanager
def lossy_proxy(
    upstream: str,
    *,
    marker: bytes = b"",
    rewrite: Callable[[bytes], bytes] = lambda data: data,
    exchange: type[Exchange] | None = None,
    settle_s: float = _SETTLE_S,
) -> Iterator[LossyProxy]:
    """Run a proxy in front of `upstream` ("host:port"); it loses nothing until `lose`."""
    proxy = LossyProxy(upstream, marker=marker, rewrite=rewrite, exchange=exchange, settle_s=settle_s)
    try:
        yield proxy
    finally:
        proxy.close()


def close(each: socket.socket) -> None:
    """Close a socket for both directions, at once."""
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


def _asked(upstream: tuple[str, int], request: bytes) -> None:
    """Send a request on a connection of its own; return when its response begins, which is dropped."""
    with socket.create_connection(upstream, _LATE_S) as server:
        server.sendall(request)
        server.recv(1)
