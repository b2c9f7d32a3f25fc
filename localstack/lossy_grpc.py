"""gRPC for the lossy proxy: it separates calls by HTTP/2 frames, so that each call can have its own fault.

It parses only what the faults need: a frame's end, type and stream, and whether it ends the stream. Headers stay
compressed; a prepared refusal is written without compression, which does not affect the compression state.

Source: RFC 9113 section 4.1 (frames), section 3.4 (preface); RFC 7541 section 6.2.2 (headers that change no table);
gRPC over HTTP/2, "Trailers-Only" responses.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from localstack.lossy_proxy import Exchange, Fate, LossyProxy, close

_CHUNK_BYTES = 1 << 16
_PREFACE_BYTES = 24
_HEAD_BYTES = 9
_DATA, _HEADERS = 0, 1
_END_STREAM, _END_HEADERS = 0x1, 0x4
_STATUS_200 = b"\x88"
_LATE_S = 5.0
_KEPT = ("reply", "late")


class Frame(NamedTuple):
    """One HTTP/2 frame: its bytes, type and stream, and whether it ends the stream."""

    data: bytes
    kind: int
    stream: int
    last: bool


def refusal(status: int, message: str) -> bytes:
    """Return a response for LossyProxy.reply: gRPC headers with this status and no body.

    >>> refusal(8, "no").endswith(b"\\x00\\x0cgrpc-message\\x02no")
    True
    """
    fields = (("content-type", "application/grpc"), ("grpc-status", str(status)), ("grpc-message", message))
    return _STATUS_200 + b"".join(_field(name) + _field(value)[1:] for name, value in fields)


class GrpcExchange(Exchange):
    """One connection with sequential calls. Concurrent calls of one client are not supported."""

    def __init__(self, proxy: LossyProxy, client: socket.socket, server: socket.socket) -> None:
        super().__init__(proxy, client, server)
        self._call = 0
        self._kept: list[bytes] = []
        self._done = threading.Event()
        self._detached = False

    def relay_requests(self) -> None:
        """Pass on the client's frames until it ends or a call is lost."""
        with suppress(OSError):
            preface = b""
            while len(preface) < _PREFACE_BYTES and (data := self.client.recv(_PREFACE_BYTES - len(preface))):
                preface += data
            self.server.sendall(preface)
            for frame in _frames(self.client):
                if not self._asks(frame):
                    break
        if self._detached:
            close(self.client)
        else:
            self.end()

    def relay_answers(self) -> None:
        """Pass on the server's frames, except those of a response that must be lost."""
        with suppress(OSError):
            for frame in _frames(self.server):
                if not self._answers(frame):
                    break
        self.end()

    def _asks(self, frame: Frame) -> bool:
        """Pass a frame on; return whether the connection goes on."""
        if frame.kind == _HEADERS and frame.stream > self._call:
            self._call = frame.stream
            self._fate = self.proxy.next_fate(frame.data)
            self._kept = []
            self._done.clear()
        loss, amount = self._fate
        if frame.stream != self._call or frame.kind not in (_DATA, _HEADERS):
            self.server.sendall(frame.data)
            return True
        if loss == "request":
            return False
        if loss == "upload" and frame.last:
            self.server.sendall(frame.data[: int(len(frame.data) * amount)])
            time.sleep(self.proxy.settle_s)
            return False
        if loss in _KEPT:
            self._kept.append(frame.data)
            return not frame.last or self._kept_back(loss)
        if loss == "slow" and frame.last:
            time.sleep(amount)
        self.server.sendall(frame.data)
        if loss == "slow" and frame.last:
            self._done.wait(_LATE_S)
        return True

    def _kept_back(self, loss: str) -> bool:
        if loss == "reply":
            head = _END_HEADERS | _END_STREAM
            self.client.sendall(_framed(_HEADERS, head, self._call, self.proxy.canned))
            self.drain()
        else:
            self._detached = True
            self.proxy.hold(self._bring)
        return False

    def _bring(self) -> None:
        """Send the delayed call on its own connection, whose client is gone."""
        self.server.sendall(b"".join(self._kept))
        self._done.wait(_LATE_S)
        close(self.server)

    def _answers(self, frame: Frame) -> bool:
        """Pass a frame on; return whether the connection goes on."""
        ours = frame.stream == self._call and frame.kind in (_DATA, _HEADERS)
        loss, amount = self._fate if ours else Fate("none")
        if ours and frame.last:
            self._done.set()
        if self._detached:
            return True
        if loss == "answer":
            return not frame.last
        if loss == "part" and (frame.last or frame.kind == _DATA):
            self.client.sendall(frame.data[: int(len(frame.data) * amount)])
            return False
        self.client.sendall(frame.data)
        return True


def _frames(connection: socket.socket) -> Iterator[Frame]:
    held = b""
    while data := connection.recv(_CHUNK_BYTES):
        held += data
        while len(held) >= _HEAD_BYTES and len(held) >= (size := _HEAD_BYTES + int.from_bytes(held[:3], "big")):
            whole, held = held[:size], held[size:]
            ends = whole[3] in (_DATA, _HEADERS) and bool(whole[4] & _END_STREAM)
            yield Frame(whole, whole[3], int.from_bytes(whole[5:9], "big") & 0x7FFFFFFF, ends)


def _framed(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _field(text: str) -> bytes:
    """Return a literal without indexing: a zero, and the text with its length."""
    return b"\x00" + bytes((len(text),)) + text.encode()
