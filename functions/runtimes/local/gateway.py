"""The local gateway: serves one home over HTTP, by uvicorn with our own deadlines on connections (guard.py).

`python -m functions.runtimes.local.gateway --home H`; `tidegate serve` starts it and keeps it running.
"""

import argparse
import asyncio
import contextlib
import datetime
import ipaddress
import math
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import uvicorn

from functions.runtimes.http import Service
from functions.runtimes.local import tls
from functions.runtimes.local.application import Gateway
from functions.runtimes.local.guard import LINGER_S, Deadlines, guarded
from functions.runtimes.local.home import Home, open_home
from functions.runtimes.local.log_file import FileLog
from functions.runtimes.local.platform import compose
from functions.runtimes.local.process import Running, announce, only_one, stop_signal, withdraw, write_failure
from functions.runtimes.log import Log, described
from functions.runtimes.placement import placed_here
from functions.runtimes.telemetry import Telemetry
from shared.errors import ConfigurationError, TidegateError
from shared.settings import Settings

MAX_CONNECTIONS = 512
FLUSH_EVERY_S = 1.0


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers: it stops once `stop` is set.

    Args: listening: called when it listens. handshake_s: the deadline of a TLS handshake.
    """

    def __init__(
        self, config: uvicorn.Config, listening: Callable[[], None], handshake_s: float, stop: threading.Event
    ) -> None:
        super().__init__(config)
        self._listening = listening
        self._handshake_s = handshake_s
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers: `stop_signal` has installed the process's."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop; uvicorn calls this ten times a second."""
        return await super().on_tick(counter) or self._stop.is_set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on these sockets as uvicorn does, which has no setting for the TLS deadlines, and call `listening`."""
        config = self.config
        made: Callable[..., asyncio.Protocol] = config.http_protocol_class
        protocol = partial(made, config=config, server_state=self.server_state, app_state=self.lifespan.state)
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                protocol,
                sock=sock,
                ssl=config.ssl,
                backlog=config.backlog,
                ssl_handshake_timeout=self._handshake_s if config.ssl else None,
                ssl_shutdown_timeout=LINGER_S if config.ssl else None,
            )
            for sock in sockets or ()
        ]
        self.started = True
        self._listening()


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to the address and does not listen yet. Raises: ConfigurationError: it is taken."""
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


def address_of(bound: socket.socket, scheme: str = "http") -> str:
    """Return the URL of a bound socket for clients on this host."""
    host, port = bound.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if bound.family == socket.AF_INET6 else "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def serve(home: Home, bound: socket.socket, log: Log, parent: int | None = None) -> None:
    """Serve the home on a bound socket until SIGTERM or SIGINT, or until `parent` is gone.

    Call it from the main thread of a process of its own.
    """
    settings = home.settings
    pair = tls.checked(home) if tls.uses_tls(home) else None
    address = address_of(bound, "https" if pair else "http")
    if pair is None and not ipaddress.ip_address(bound.getsockname()[0]).is_loopback:
        remedy = (
            "give the stack `tidegate:tls: true` (of a home without a stack: tls_certificate and tls_key in its "
            "settings.json), put a TLS proxy in front, or listen on 127.0.0.1"
        )
        log(f"tokens travel unencrypted: {remedy}", address=address)
    if pair is not None:
        warn_of_expiry(pair, log)
    platform = compose(home, f"gateway-{os.getpid()}")
    telemetry = Telemetry(platform.metrics, "gateway")
    serves = frozenset(function.name for function in placed_here(settings))
    service = Service(platform, telemetry, address=address, log=log, serves=serves)
    service.warm()
    gateway = Gateway(service, platform)
    stop, ended = stop_signal(parent), threading.Event()
    server = server_of(
        gateway,
        settings,
        lambda: announce(home, "gateway", Running(os.getpid(), platform.clock.now(), address)),
        pair,
        stop=stop,
    )

    def flush_until_ended() -> None:
        while not ended.wait(FLUSH_EVERY_S):
            telemetry.flush()

    threading.Thread(target=flush_until_ended, name="telemetry", daemon=True).start()
    log("serving", address=address)
    try:
        server.run(sockets=[bound])
    finally:
        ended.set()
        gateway.close()
        telemetry.flush()
        withdraw(home, "gateway")
    log("stopped", address=address)


def server_of(
    gateway: Gateway,
    settings: Settings,
    listening: Callable[[], None],
    pair: tuple[Path, Path] | None = None,
    *,
    stop: threading.Event | None = None,
) -> Server:
    """Return the server that answers with `gateway`, not started yet.

    Args: listening: called when it listens. pair: files of a certificate and its key, None for plain HTTP. stop: ends
        the server once it is set.
    """
    deadlines = Deadlines(settings.header_timeout_s, settings.header_timeout_s, connection_limit())
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
        ssl_certfile=pair[0] if pair else None,
        ssl_keyfile=pair[1] if pair else None,
        timeout_keep_alive=math.ceil(settings.header_timeout_s),
        timeout_graceful_shutdown=math.ceil(settings.stop_timeout_s),
    )
    return Server(config, listening, settings.header_timeout_s, stop or threading.Event())


def warn_of_expiry(files: tuple[Path, Path], log: Log) -> None:
    """Log a warning if the certificate in these files expires soon, or has expired."""
    pair = tls.pair_at(*files)
    if pair is not None and pair.ends_soon(datetime.datetime.now(datetime.UTC)):
        remedy = "run `tidegate up`" if pair.made_here else "replace the certificate and its key"
        log(f"the certificate expires soon, or has expired: {remedy}", ends=pair.ends.isoformat())


def connection_limit() -> int:
    """Return how many connections may be open: at most half of the files that this process may open."""
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
        with only_one(home, "gateway", wait_s=home.settings.stop_timeout_s + 2.0):
            if given.socket is not None:
                bound = socket.socket(fileno=given.socket)
            else:
                port = home.settings.port if given.port is None else given.port
                bound = bound_socket(home.settings.host, port)
            serve(home, bound, log, given.parent)
    except TidegateError as error:
        write_failure(home, "gateway", error)
        log("cannot serve", **described(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # Threads of handlers that did not end in time must not keep the process.
    sys.stderr.flush()
    os._exit(code)
