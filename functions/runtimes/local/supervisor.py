"""The supervisor: it serves one home, starting the gateway and the worker and starting them again when they die.

It holds the listening socket, so that clients that connect while the gateway is being started again wait instead of
being refused, and the home's lock, so that there is one of it. Its children end when it does, even by kill -9: each
watches its parent.

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
    forget_failure,
    on_stop,
    only_one,
    tell_failure,
    told_failure,
    when_orphaned,
    withdraw,
)
from functions.runtimes.log import Log, described
from shared.errors import ConfigurationError, TidegateError, Unavailable
from tidegate import own_process

CHILDREN: tuple[Role, ...] = ("gateway", "worker")
POLL_S = 0.05
FIRST_PAUSE_S = 0.1
STEADY_S = 30.0
"""A process that lived for so long had started well; the next pause is the first again."""
READY_WITHIN_S = 60.0
STOP_MARGIN_S = 5.0
"""Beyond the time that a process is given to finish, before it is killed."""


@dataclass
class Child:
    """One of the two processes: the present one, when it began (monotonic s), and how often it was started again."""

    role: Role
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    restarts: int = 0
    pause_s: float = FIRST_PAUSE_S
    resume_at: float = 0.0


def serve(
    home: Home, port: int | None = None, on_ready: Callable[[str], None] | None = None, *, parent: int | None = None
) -> None:
    """Serve the home until SIGTERM or SIGINT; from the main thread.

    Args: port: instead of the settings', 0 for any free one. on_ready: called once with the URL, when the gateway
        listens and the worker works. parent: process id; stop when it is no longer the parent.
    Raises: ConfigurationError: the home is served already, a key of it is lost, the port is not to be had. Unavailable:
        it was not ready in time, or the home cannot be written. What a process says that cannot start.
    """
    check_secrets(home)
    asked = threading.Event()
    on_stop(asked.set)
    if parent is not None:
        when_orphaned(parent, asked.set)
    log = FileLog(home.logs / "supervisor.log", "supervisor", time.time)
    with ExitStack() as held:
        try:
            held.enter_context(only_one(home, "supervisor", wait_s=0.0))
        except Unavailable as error:
            if error.provider:
                raise
            raise already_served(home) from error
        check_writable(home)
        _Supervisor(home, home.settings.port if port is None else port, log).run(asked, on_ready)


def already_served(home: Home) -> ConfigurationError:
    """Return the error for a home that another process serves; it names the URL."""
    serving = announced(home, "gateway")
    where = f"at {serving.url} (process {serving.pid})" if serving else "by a process that is about to be ready"
    return ConfigurationError(
        f"the home at {home.path} is served already {where}; use that one, stop it, or give another with --home"
    )


def not_ready(home: Home) -> Unavailable:
    """Return the error for a home whose processes do not become ready; it says what they say themselves."""
    told = [failure.message for role in CHILDREN if (failure := told_failure(home, role)) is not None]
    return Unavailable(f"not ready after {READY_WITHIN_S:g} s: {'; '.join((*told, f'see {home.logs}'))}")


class _Supervisor:
    def __init__(self, home: Home, port: int, log: Log) -> None:
        self._home = home
        self._port = port
        self._log = log
        self._children = [Child(role) for role in CHILDREN]
        self._listening: socket.socket | None = None

    def run(self, asked: threading.Event, on_ready: Callable[[str], None] | None) -> None:
        from functions.runtimes.local.gateway import bound_socket

        for role in CHILDREN:
            forget_failure(self._home, role)
        self._listening = _patiently(lambda: bound_socket(self._home.settings.host, self._port), asked)
        if self._listening is None:
            return
        with self._listening:
            began = time.monotonic()
            ready = False
            try:
                while not asked.is_set():
                    for child in self._children:
                        self._tend(child, ready)
                    if not ready and self._ready():
                        ready = True
                        self._say_ready(on_ready)
                    elif not ready and time.monotonic() - began > READY_WITHIN_S:
                        raise not_ready(self._home)
                    asked.wait(POLL_S)
            finally:
                self._stop()
                withdraw(self._home, "supervisor")

    def _tend(self, child: Child, ready: bool) -> None:
        """Start the child where it does not run, unless it is to rest first."""
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
            self._raise_if_hopeless(child, code)
        child.restarts += 1
        child.pause_s = (
            FIRST_PAUSE_S
            if now - child.began > STEADY_S
            else min(self._home.settings.restart_pause_s, child.pause_s * 2)
        )
        child.resume_at = now + child.pause_s * (0.5 + random.random() / 2)  # noqa: S311 - only spreads restarts
        self._log("died", role=child.role, code=code, restarts=child.restarts, pause_s=round(child.pause_s, 2))
        if ready:
            self._announce()

    def _raise_if_hopeless(self, child: Child, code: int) -> None:
        """Raise where the process said that it cannot start, for good: starting it again would not help."""
        told = told_failure(self._home, child.role)
        if told is not None and not told.transient:
            raise type(told)(f"the {child.role} cannot start: {told.message}", provider=told.provider)
        if told is None and code == ConfigurationError.exit_code:
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
                start_new_session=True,  # so that a terminal's ^C reaches us alone, and we stop them in order
            )
        child.began = time.monotonic()
        self._log("started", role=child.role, child=child.process.pid)

    def _ready(self) -> bool:
        for child in self._children:
            said = announced(self._home, child.role)
            if child.process is None or said is None or said.pid != child.process.pid:
                return False
        return True

    def _say_ready(self, on_ready: Callable[[str], None] | None) -> None:
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
        """Ask both to finish, the gateway first; kill what does not."""
        if self._listening is not None:
            self._listening.close()
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._home.settings.stop_s + STOP_MARGIN_S
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


def _patiently(bind: Callable[[], socket.socket], asked: threading.Event) -> socket.socket | None:
    """Return the bound socket; a gateway that has just lost its supervisor may hold the port a moment longer."""
    deadline = time.monotonic() + 3.0
    while not asked.is_set():
        try:
            return bind()
        except ConfigurationError:
            if time.monotonic() >= deadline:
                raise
        asked.wait(POLL_S)
    return None


@dataclass(frozen=True)
class Stack:
    """A served home. `stop` ends it; as a context manager it ends with the block."""

    home: Home
    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Stop gateway and worker, letting them finish what they have in hand. Again is harmless."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(self.home.settings.stop_s + 2 * STOP_MARGIN_S)
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
    """Serve the home in processes of their own, and return when it is ready. They end when this process does.

    Raises: what `serve` does. Unavailable: it was not ready in time, or the home cannot be written.
    """
    command = [*own_process.command("functions.runtimes.local.supervisor"), "--home", str(home.path)]
    command += ["--parent", str(os.getpid())]
    if port is not None:
        command += ["--port", str(port)]
    check_writable(home)
    forget_failure(home, "supervisor")
    with (home.logs / "supervisor.err").open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
        )
    deadline = time.monotonic() + READY_WITHIN_S + STOP_MARGIN_S
    try:
        while time.monotonic() < deadline:
            said = announced(home, "supervisor")
            if said is not None and said.pid == process.pid:
                return Stack(home, said.url, process)
            if process.poll() is not None:
                raise told_failure(home, "supervisor") or TidegateError(
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
    parser = argparse.ArgumentParser(prog="supervisor", description="Serve one home until asked to stop.")
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
        tell_failure(home, "supervisor", error)
        sys.stderr.write(f"{described(error)}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
