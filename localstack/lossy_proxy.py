"""A TCP proxy on loopback that loses requests or answers on purpose: what a network does to a conditional write.

A request lost never reaches the server, or only a part of it does; an answer lost was sent after the server did the
work, and perhaps a part of it arrives. Either way the client sees its connection closed, and cannot tell which. A proxy
can also answer by itself (a throttle, say), so that the server never hears of it; let a request wait; or hold it back
until after its sender has given it up. lossy_grpc.py knows the same of gRPC.
"""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, NamedTuple

Loss = Literal["none", "request", "upload", "part", "answer", "reply", "slow", "late"]
"""The request; all of it but its beginning; the end of the answer; all of the answer. "reply": the proxy answers.
"slow": the request waits. "late": it comes to the server when the proxy is told to `deliver`, its sender long gone."""
_CHUNK_BYTES = 1 << 16
_SETTLE_S = 0.1
_LATE_S = 5.0
_WRITES = (b"PUT ", b"POST ")
_READS = (b"GET ", b"HEAD ", b"DELETE ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"


class Fate(NamedTuple):
    """What happens to a request. `amount`: of "upload" and "part", how much arrives (0 to 1); of "slow", seconds."""

    loss: Loss
    amount: float = 0.5


class LossyProxy:
    """Relays to `upstream`; after `lose(what, times)` the next `times` writes lose their request or their answer.

    `attempts` counts the writes that the client sent since then, lost or not: the client's own retries show in it.
    A write is an HTTP request by PUT or POST or, with a `marker`, any bytes that hold it: gRPC's frames cannot be told
    apart from outside, but a body stands in them as it is. `rewrite` may change each piece of a request on its way.
    Where `decide` is set, it gives the fate of every request (not only of writes) from the request's first bytes.

    Args: exchange: how the connections speak; lossy_grpc's knows calls without a marker. settle_s: how long a request
        cut short lies with the server before the connection is closed, and an answer with the proxy.
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
        """Lose the next `times` writes' requests or answers, and count attempts from zero.

        With `reads`, every HTTP request is meant, whatever its method.
        """
        with self._lock:
            self._loss, self._times, self.attempts, self._all = what, times, 0, reads

    def reply(self, answer: bytes, times: int, *, reads: bool = False) -> None:
        """Answer the next `times` writes (with `reads`, requests) with these bytes, and end the connection."""
        self.canned = answer
        self.lose("reply", times, reads=reads)

    def deliver(self) -> int:
        """Bring the requests that were held back to the server, and return how many they were."""
        with self._lock:
            held, self._held = self._held, []
        for bring in held:
            with suppress(OSError):
                bring()
        return len(held)

    def hang_up(self) -> None:
        """Close every connection, as the death of the client's process does; new ones are taken."""
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
            for each in (client, server):  # else the second half of a request waits 40 ms for the first one's ACK
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets += [client, server]
            exchange = self._exchange(self, client, server)
            threading.Thread(target=exchange.relay_requests, daemon=True).start()
            threading.Thread(target=exchange.relay_answers, daemon=True).start()

    def is_write(self, data: bytes, *, first: bool) -> bool:
        """Return whether a write begins with `data`; `first` says that it follows an answer."""
        if self._marker:
            return self._marker in data
        every = self._all or self.decide is not None
        return first and data.startswith(_WRITES + _READS if every else _WRITES)

    def next_fate(self, data: bytes) -> Fate:
        """Return what happens to the request that begins with `data`."""
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
        """Keep what brings a request to the server until `deliver`."""
        with self._lock:
            self._held.append(bring)


class Exchange:
    """One connection. Clients here never pipeline: the first bytes after an answer begin the next request."""

    def __init__(self, proxy: LossyProxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self.server = server
        self._between = True
        self._fate = Fate("none")
        self._answered = threading.Event()

    def relay_requests(self) -> None:
        """Pass on what the client sends, until it ends or something is lost."""
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
        """Pass on what the server answers, but what is to be lost."""
        with suppress(OSError):
            while data := self.server.recv(_CHUNK_BYTES):
                if data.startswith(b"HTTP/1.1 100 "):
                    self.client.sendall(data)
                    continue
                loss, amount = self._fate
                if loss == "part":
                    self.client.sendall(data[: int(len(data) * amount)])
                if loss in ("part", "answer"):
                    # Over gRPC the first bytes back may only be flow control: let the server do the work first.
                    time.sleep(self.proxy.settle_s)
                    break
                self._between = True
                self._answered.set()
                self.client.sendall(data)
        self.end()

    def _begun(self, data: bytes) -> bool:
        """Let the fate of a request begin; return whether it goes to the server."""
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
        """Let a request wait, and see that the server does it: its sender may be gone by then."""
        whole = self._whole(data)
        self._answered.clear()
        self._between = False
        time.sleep(self._fate.amount)
        self.server.sendall(self.proxy.rewrite(whole))
        self._answered.wait(_LATE_S)

    def _whole(self, data: bytes) -> bytes:
        """Return all of the request that begins with `data`; its length stands in its head."""
        while _END_OF_HEAD not in data:
            data += self._more()
        head = data.index(_END_OF_HEAD)
        told = _LENGTH.search(data[: head + 2])
        length = head + len(_END_OF_HEAD) + (int(told[1]) if told else 0)
        while len(data) < length:
            data += self._more()
        return data

    def _more(self) -> bytes:
        data = self.client.recv(_CHUNK_BYTES)
        if not data:
            raise ConnectionError("the client went before its request was whole")
        return data

    def drain(self) -> None:
        """Read what the client still sends: closed before, the answer would be lost with it."""
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
    """Run a proxy before `upstream` ("host:port"); it loses nothing until it is told to."""
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
    """Send a request by itself; return when its answer begins, which nobody hears."""
    with socket.create_connection(upstream, _LATE_S) as server:
        server.sendall(request)
        server.recv(1)
