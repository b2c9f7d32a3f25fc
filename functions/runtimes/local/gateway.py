"""The local gateway: HTTP on a kept server (uvicorn), a plain ASGI application, bounded in everything.

A caller is let in or refused by the head of the request, before a byte of its body is kept. Handlers run on threads,
so many at a time per function as the topology says, so many more may wait, and the next is told to come back. What
is open to everybody has threads of its own: the service can say that it lives while it is overloaded.

`python -m functions.runtimes.local.gateway --home H` serves one home; `tidegate serve` starts it and keeps it alive.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import math
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import uvicorn

from functions.runtimes.http import Admitted, Service, check_size
from functions.runtimes.local.guard import Deadlines, guarded
from functions.runtimes.local.home import Home, open_home
from functions.runtimes.local.platform import compose
from functions.runtimes.local.process import Running, announce, failure_path, on_stop, only_one, when_orphaned, withdraw
from functions.runtimes.log import FileLog, Log, described
from functions.runtimes.telemetry import Telemetry
from shared.errors import ConfigurationError, DeadlineExceeded, InvalidInput, TidegateError, Unavailable
from shared.platform import Platform
from shared.serving.http import Request, Response
from shared.serving.routes import Route
from shared.settings import Settings
from shared.topology import BY_NAME

OPEN_THREADS = 2
WAITING = 4
"""How many requests may wait for each thread of a function."""
MAX_CONNECTIONS = 512
FLUSH_EVERY_S = 1.0
MAX_QUERY_FIELDS = 64

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Lane:
    """The threads of one function, and the places of those that wait for them."""

    def __init__(self, name: str, threads: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threading.Semaphore(threads * (1 + WAITING))

    async def run(self, work: Callable[[], Response]) -> Response:
        """Return what `work` returns, done on one of the threads.

        Raises: Unavailable: all places are taken. DeadlineExceeded: it takes too long; its thread and its place are
            free again only when it has ended.
        """
        if not self._places.acquire(blocking=False):
            raise Unavailable("Too many requests are waiting; try again.", retry_after_s=1)
        try:
            future = self._pool.submit(work)
        except BaseException:
            self._places.release()
            raise
        future.add_done_callback(lambda _: self._places.release())
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise DeadlineExceeded("It took too long; it may be done all the same.") from error

    def close(self) -> None:
        """Let nothing more begin."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Gateway:
    """The ASGI application. One event loop; the service's handlers run on its lanes."""

    def __init__(self, service: Service, platform: Platform) -> None:
        self._service = service
        self._platform = platform
        self._open = Lane("open", OPEN_THREADS, 10.0)
        self._lanes: dict[str, Lane] = {
            function.name: Lane(function.name, function.concurrency, function.timeout_s)
            for function in BY_NAME.values()
            if function.http
        }
        settings = platform.settings
        self._room = settings.max_upload_bytes + 32 * settings.max_request_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request, query, error = self._head(scope)
        admitted: Admitted | None = None
        try:
            if error is not None:
                raise error
            admitted = self._service.admit(request.method, request.path, request.headers)
            async with self._body(admitted.route, request, receive) as body:
                if body is None:
                    return
                whole = msgspec.structs.replace(request, query=_query(query), body=body)
                work = partial(self._service.complete, admitted, whole)
                response = await self._lane(admitted.route).run(work)
        except Exception as failure:
            response = self._service.refuse(failure, request, admitted)
        await _answer(response, send)

    def close(self) -> None:
        """Let nothing more begin."""
        for lane in (self._open, *self._lanes.values()):
            lane.close()

    def _lane(self, route: Route) -> Lane:
        return self._open if route.action is None else self._lanes.get(route.function, self._open)

    def _head(self, scope: Message) -> tuple[Request, bytes, TidegateError | None]:
        """Return the request without its body, its raw query, and what is wrong with its head, if anything."""
        headers: dict[str, str] = {}
        error: TidegateError | None = None
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            if name not in headers:
                headers[name] = value
            elif name in ("authorization", "host"):
                error = InvalidInput(f"The header {name} was sent twice; send it once.", field=name)
            else:
                headers[name] += ", " + value
        request = Request(
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            headers=headers,
            received_at=self._platform.clock.now(),
            id=self._platform.ids.new(),
        )
        return request, scope["query_string"], error

    @contextlib.asynccontextmanager
    async def _body(self, route: Route, request: Request, receive: Receive) -> AsyncIterator[bytes | None]:
        """Yield the whole body, None where the client went away; its room is given back at the end.

        Raises: PayloadTooLarge: it is, or says that it will be, over the limit. Unavailable: no room for it now.
        """
        limit = self._service.limit(route)
        said = request.headers.get("content-length", "")
        if said.isdigit():
            check_size(int(said), limit)
        taken = 0
        parts: list[bytes] = []
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    yield None
                    return
                part = message.get("body", b"")
                taken += len(part)
                self._room -= len(part)
                check_size(taken, limit)
                if self._room < 0:
                    raise Unavailable("Too much is being sent at the moment; try again.", retry_after_s=5)
                parts.append(part)
                if not message.get("more_body", False):
                    break
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
            yield body
        finally:
            self._room += taken


async def _answer(response: Response, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def _query(raw: bytes) -> dict[str, str]:
    if not raw:
        return {}
    try:
        return dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
    except ValueError as error:
        raise InvalidInput(
            f"The query cannot be read; send ASCII, percent-encoded, {MAX_QUERY_FIELDS} fields at most.", field="query"
        ) from error


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own; it says when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process: `on_stop` does what is needed."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._listening()


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address, yet to listen. Raises: ConfigurationError: it cannot be had."""
    bound: socket.socket | None = None
    try:
        bound = socket.socket(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0], socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        if bound is not None:
            bound.close()
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; free it, or give another with --port"
        ) from error
    return bound


def address_of(bound: socket.socket) -> str:
    """Return the URL that clients on this host reach a bound socket at."""
    host, port = bound.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if bound.family == socket.AF_INET6 else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(home: Home, bound: socket.socket, log: Log) -> None:
    """Serve the home on a bound socket until SIGTERM or SIGINT; from the main thread of a process of its own."""
    settings = home.settings
    address = address_of(bound)
    if not ipaddress.ip_address(bound.getsockname()[0]).is_loopback:
        log("tokens travel unencrypted: put a TLS proxy in front, or listen on 127.0.0.1", address=address)
    platform = compose(home, f"gateway-{os.getpid()}")
    telemetry = Telemetry(platform.metrics, "gateway")
    service = Service(platform, telemetry, address=address, log=log)
    service.warm()
    gateway = Gateway(service, platform)
    server = server_of(
        gateway, settings, lambda: announce(home, "gateway", Running(os.getpid(), platform.clock.now(), address))
    )
    stopped = threading.Event()

    def stop() -> None:
        server.should_exit = True

    def flush() -> None:
        while not stopped.wait(FLUSH_EVERY_S):
            telemetry.flush()

    on_stop(stop)
    threading.Thread(target=flush, name="telemetry", daemon=True).start()
    log("serving", address=address)
    try:
        server.run(sockets=[bound])
    finally:
        stopped.set()
        gateway.close()
        telemetry.flush()
        withdraw(home, "gateway")
    log("stopped", address=address)


def server_of(gateway: Gateway, settings: Settings, listening: Callable[[], None]) -> Server:
    """Return the server, yet to run, that answers with `gateway`; it calls `listening` when it does."""
    deadlines = Deadlines(settings.head_timeout_s, settings.head_timeout_s, connection_limit())
    config = uvicorn.Config(
        gateway,
        http=guarded(deadlines),
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=math.ceil(settings.head_timeout_s),
        timeout_graceful_shutdown=math.ceil(settings.stop_s),
    )
    return Server(config, listening)


def connection_limit() -> int:
    """Return how many connections may be open: half of the files that this process may open, at most."""
    return min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


def main(arguments: Sequence[str]) -> int:
    """Serve a home; returns an exit code of shared.errors."""
    parser = argparse.ArgumentParser(prog="gateway", description="Serve one home over HTTP.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, help="instead of the settings'; 0: any free one")
    parser.add_argument("--socket", type=int, help="file descriptor of a bound socket, from the supervisor")
    parser.add_argument("--parent", type=int, help="process id: stop when it is no longer the parent")
    given = parser.parse_args(arguments)
    try:
        home = open_home(given.home)
    except TidegateError as error:
        sys.stderr.write(error.message + "\n")
        return error.exit_code
    log = FileLog(home.logs / "gateway.log", "gateway", time.time)
    try:
        with only_one(home, "gateway", wait_s=home.settings.stop_s + 2.0):
            if given.socket is not None:
                bound = socket.socket(fileno=given.socket)
            else:
                port = home.settings.port if given.port is None else given.port
                bound = bound_socket(home.settings.host, port)
            if given.parent is not None:
                when_orphaned(given.parent, lambda: os.kill(os.getpid(), 15))
            serve(home, bound, log)
    except TidegateError as error:
        failure_path(home, "gateway").write_text(error.message)
        log("cannot serve", **described(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # A handler that hangs must not keep the process: what had to be finished is.
    sys.stderr.flush()
    os._exit(code)
