"""The supervisor: serves one home. It starts the gateway and the worker, and restarts them when they die.

It holds the listening socket: clients that connect while the gateway restarts wait instead of being refused. It holds
the home's lock: a home has one supervisor. Its children end when it does, even by kill -9: each polls its parent's id.

`serve` runs it in the foreground (`tidegate serve`); `start` runs it as a child of a program that needs a stack.
"""

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from functions.runtimes.local.home import Home, check_secrets, open_home
from functions.runtimes.local.log_file import FileLog
from functions.runtimes.local.process import (
    Role,
    Running,
    announce,
    announced,
    check_writable,
    clear_failure,
    only_one,
    read_failure,
    stop_signal,
    withdraw,
    write_failure,
)
from functions.runtimes.log import Log, described
from shared.errors import ConfigurationError, TidegateError, Unavailable
from tidegate import own_process

CHILDREN: tuple[Role, ...] = ("gateway", "worker")
POLL_S = 0.05
FIRST_PAUSE_S = 0.1
STEADY_S = 30.0
"""A process that ran this long had started well: the pause before its next restart is the first one again."""
READY_WITHIN_S = 60.0
PORT_WITHIN_S = 3.0
STOP_MARGIN_S = 5.0
"""Added to `stop_timeout_s`, the time that a process has to finish, before it is killed."""


@dataclass
class Child:
    """The state of one of the two processes. Only the supervisor's main thread reads and changes it.

    process: the present one, None while it does not run. began, resume_at: monotonic s; the latter is the earliest
        time of the next restart. pause_s: the pause before it.
    """

    role: Role
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    restarts: int = 0
    pause_s: float = FIRST_PAUSE_S
    resume_at: float = 0.0


def serve(
    home: Home, port: int | None = None, on_ready: Callable[[str], None] | None = None, *, parent: int | None = None
) -> None:
    """Serve the home until SIGTERM or SIGINT, or until `parent` is gone. Call it from the main thread.

    Args: port: instead of the settings', 0 for any free one. on_ready: called once with the URL, when gateway and
        worker are ready. parent: a process id; stop when it is no longer the parent.
    Raises: ConfigurationError: the home is served already, a key of it is lost, or the port is in use. Unavailable: it
        was not ready in time, or the home cannot be written. The error of a process that cannot start.
    """
    check_secrets(home)
    stop = stop_signal(parent)
    log = FileLog(home.logs / "supervisor.log", "supervisor", time.time)
    with ExitStack() as held:
        try:
            held.enter_context(only_one(home, "supervisor", wait_s=0.0))
        except Unavailable as error:
            if error.provider:
                raise
            raise already_served(home) from error
        check_writable(home)
        _Supervisor(home, home.settings.port if port is None else port, log).run(stop, on_ready)


def already_served(home: Home) -> ConfigurationError:
    """Return the error for a home that another process serves; it names the URL."""
    serving = announced(home, "gateway")
    where = f"at {serving.url} (process {serving.pid})" if serving else "by a process that is starting"
    return ConfigurationError(
        f"the home at {home.path} is served already {where}; use that one, stop it, or give another with --home"
    )


def not_ready(home: Home) -> Unavailable:
    """Return the error for a home whose processes do not become ready; it quotes their own errors."""
    reasons = [failure.message for role in CHILDREN if (failure := read_failure(home, role)) is not None]
    return Unavailable(f"not ready after {READY_WITHIN_S:g} s: {'; '.join((*reasons, f'see {home.logs}'))}")


class _Supervisor:
    def __init__(self, home: Home, port: int, log: Log) -> None:
        self._home = home
        self._port = port
        self._log = log
        self._children = [Child(role) for role in CHILDREN]
        self._listening: socket.socket | None = None

    def run(self, stop: threading.Event, on_ready: Callable[[str], None] | None) -> None:
        """Keep both processes running until `stop` is set; then stop them."""
        from functions.runtimes.local.gateway import bound_socket

        for role in CHILDREN:
            clear_failure(self._home, role)
        self._listening = _bound_once_free(lambda: bound_socket(self._home.settings.host, self._port), stop)
        if self._listening is None:
            return
        with self._listening:
            began = time.monotonic()
            ready = False
            try:
                while not stop.is_set():
                    for child in self._children:
                        self._keep_running(child, ready)
                    if not ready and self._ready():
                        ready = True
                        self._report_ready(on_ready)
                    elif not ready and time.monotonic() - began > READY_WITHIN_S:
                        raise not_ready(self._home)
                    stop.wait(POLL_S)
            finally:
                self._stop()
                withdraw(self._home, "supervisor")

    def _keep_running(self, child: Child, ready: bool) -> None:
        """Start the child if it does not run and the pause before its restart is over."""
        now = time.monotonic()
        if child.process is None:
            if now >= child.resume_at:
                self._start(child)
            return
        code = child.process.poll()
        if code is None:
            return
        child.process = None
        if not ready:
            self._raise_if_permanent(child, code)
        child.restarts += 1
        child.pause_s = (
            FIRST_PAUSE_S
            if now - child.began > STEADY_S
            else min(self._home.settings.max_restart_delay_s, child.pause_s * 2)
        )
        child.resume_at = now + child.pause_s * (0.5 + random.random() / 2)  # noqa: S311 - only spreads restarts
        self._log("died", role=child.role, code=code, restarts=child.restarts, pause_s=round(child.pause_s, 2))
        if ready:
            self._announce()

    def _raise_if_permanent(self, child: Child, code: int) -> None:
        """Raise the error for which the process cannot start, if a restart would not help."""
        failure = read_failure(self._home, child.role)
        if failure is not None and not failure.transient:
            raise type(failure)(f"the {child.role} cannot start: {failure.message}", provider=failure.provider)
        if failure is None and code == ConfigurationError.exit_code:
            raise ConfigurationError(f"the {child.role} cannot start: see {self._home.logs / child.role}.err")

    def _start(self, child: Child) -> None:
        command = own_process.command(f"functions.runtimes.local.{child.role}")
        command += ["--home", str(self._home.path), "--parent", str(os.getpid())]
        passed: tuple[int, ...] = ()
        if child.role == "gateway" and self._listening is not None:
            passed = (self._listening.fileno(),)
            command += ["--socket", str(passed[0])]
        with (self._home.logs / f"{child.role}.err").open("wb") as errors:
            child.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=passed,
                start_new_session=True,  # a terminal's ^C then reaches only the supervisor, which stops them
            )
        child.began = time.monotonic()
        self._log("started", role=child.role, child=child.process.pid)

    def _ready(self) -> bool:
        for child in self._children:
            running = announced(self._home, child.role)
            if child.process is None or running is None or running.pid != child.process.pid:
                return False
        return True

    def _report_ready(self, on_ready: Callable[[str], None] | None) -> None:
        self._announce()
        serving = announced(self._home, "gateway")
        if on_ready is not None and serving is not None:
            on_ready(serving.url)

    def _announce(self) -> None:
        serving = announced(self._home, "gateway")
        restarts: dict[str, int] = {child.role: child.restarts for child in self._children}
        url = serving.url if serving else ""
        announce(self._home, "supervisor", Running(os.getpid(), time.time(), url, restarts))

    def _stop(self) -> None:
        """Ask both processes to finish, the gateway first; kill one that does not finish in time."""
        if self._listening is not None:
            self._listening.close()
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._home.settings.stop_timeout_s + STOP_MARGIN_S
        for child in self._children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._log("killed", role=child.role)
                child.process.kill()
                child.process.wait()
        self._log("stopped")


def _bound_once_free(bind: Callable[[], socket.socket], stop: threading.Event) -> socket.socket | None:
    """Return the bound socket, None if `stop` is set first.

    Tries for a few seconds: the gateway of a supervisor that was killed holds the port until it notices.
    """
    deadline = time.monotonic() + PORT_WITHIN_S
    while not stop.is_set():
        try:
            return bind()
        except ConfigurationError:
            if time.monotonic() >= deadline:
                raise
        stop.wait(POLL_S)
    return None


@dataclass(frozen=True)
class Stack:
    """A served home. `stop` ends it; used as a context manager, it ends with the block."""

    home: Home
    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Stop gateway and worker, which finish their requests and messages first. May be called again."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(self.home.settings.stop_timeout_s + 2 * STOP_MARGIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(home: Home, port: int | None = None) -> Stack:
    """Serve the home in other processes, which end when this one does. Returns when it is ready.

    Raises: what `serve` raises. Unavailable: it was not ready in time, or the home cannot be written.
    """
    command = [*own_process.command("functions.runtimes.local.supervisor"), "--home", str(home.path)]
    command += ["--parent", str(os.getpid())]
    if port is not None:
        command += ["--port", str(port)]
    check_writable(home)
    clear_failure(home, "supervisor")
    with (home.logs / "supervisor.err").open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
        )
    deadline = time.monotonic() + READY_WITHIN_S + STOP_MARGIN_S
    try:
        while time.monotonic() < deadline:
            running = announced(home, "supervisor")
            if running is not None and running.pid == process.pid:
                return Stack(home, running.url, process)
            if process.poll() is not None:
                raise read_failure(home, "supervisor") or TidegateError(
                    f"the stack ended before it was ready: see {home.logs}/supervisor.err"
                )
            time.sleep(POLL_S)
        raise not_ready(home)
    except BaseException:
        process.terminate()
        process.wait()
        raise


def main(arguments: Sequence[str]) -> int:
    """Serve a home; returns an exit code of shared.errors."""
    parser = argparse.ArgumentParser(prog="supervisor", description="Serve one home until SIGTERM or SIGINT.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--parent", type=int, help="process id: stop when it is no longer the parent")
    given = parser.parse_args(arguments)
    try:
        home = open_home(given.home)
    except TidegateError as error:
        sys.stderr.write(error.message + "\n")
        return error.exit_code
    try:
        serve(home, given.port, parent=given.parent)
    except TidegateError as error:
        write_failure(home, "supervisor", error)
        sys.stderr.write(f"{described(error)}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
