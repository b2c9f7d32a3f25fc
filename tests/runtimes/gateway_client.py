"""A local gateway in this process, and a client of it that sends bytes."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.runtimes.local.application import Gateway
from functions.runtimes.local.gateway import bound_socket, server_of
from shared.platform import Outcome
from shared.serving.http import Call, Response, json_response

WAIT_S = 20.0
"""How long a test waits for what must come; never how long it takes."""
INFER = "/v2/models/flights/infer"
UPLOAD = "/v1/usecases/flights/uploads/a.csv"


class Client:
    """One connection, spoken to in bytes."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=WAIT_S)
        self._file = self.socket.makefile("rb")

    def send(self, data: str | bytes) -> None:
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status_line = self._file.readline().decode()
        assert status_line.startswith("HTTP/1.1 "), repr(status_line)
        headers: dict[str, str] = {}
        while (line := self._file.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return int(status_line.split()[1]), headers, self._file.read(int(headers["content-length"]))

    def closed(self) -> bool:
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._file.close()
        self.socket.close()


class Served:
    """A gateway in this process, on a thread."""

    def __init__(self, stack: Any, pair: tuple[Path, Path] | None = None) -> None:
        self.stack = stack
        self.bound = bound_socket("127.0.0.1", 0)
        self.address: tuple[str, int] = self.bound.getsockname()
        self.gateway = Gateway(stack.service, stack.platform)
        listening = threading.Event()
        self.server = server_of(self.gateway, stack.platform.settings, listening.set, pair)
        self.thread = threading.Thread(target=self.server.run, args=([self.bound],), daemon=True)
        self.thread.start()
        assert listening.wait(WAIT_S)
        self._clients: list[Client] = []

    def connect(self) -> Client:
        client = Client(self.address)
        self._clients.append(client)
        return client

    def ask(self, method: str, path: str, token: str = "", body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        client = self.connect()
        client.send(request(method, path, token, len(body)))
        client.send(body)
        return client.answer()

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self.server.should_exit = True
        self.thread.join(WAIT_S)
        self.gateway.close()
        assert not self.thread.is_alive()


def request(method: str, path: str, token: str = "", length: int | None = None, *more: str) -> str:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *more]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += [f"Content-Length: {length}"] if length is not None else []
    return "\r\n".join(lines) + "\r\n\r\n"


def handled_by(monkeypatch: pytest.MonkeyPatch, handle: Callable[[Call], Response]) -> None:
    monkeypatch.setattr(
        "functions.runtimes.dispatch.handler_of",
        lambda function: lambda call, platform: Outcome(response=handle(call)),
    )


def echo(call: Call) -> Response:
    return json_response(200, {"bytes": len(call.request.body), "query": dict(call.request.query)})
