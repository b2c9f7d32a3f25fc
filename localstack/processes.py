"""Servers as child processes, each in a private folder, with a wait until they answer, ended by process id.

Each runs under its own keeper (keeper.py), which stops it when the process that started it ends or is killed.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from localstack.keeper import GRACE_S
from shared.errors import Unavailable

START_TIMEOUT_S = 30.0
_LOG_TAIL = 2000
_KEEPER = Path(__file__).with_name("keeper.py")


class NotStarted(Unavailable):
    """A server ended before it answered, or did not answer in time. The message ends with its output."""


@dataclass(frozen=True)
class Process:
    """A running server. SIGTERM to `pid` ends it and its children. `folder` is private and removed at the end."""

    keeper: subprocess.Popen[bytes]
    folder: Path

    @property
    def pid(self) -> int:
        """The keeper of the server."""
        return self.keeper.pid

    @property
    def log(self) -> Path:
        """The file with the server's stdout and stderr."""
        return self.folder / "log"

    def ended(self) -> bool:
        """Return whether the server has ended."""
        return self.keeper.poll() is not None

    def output(self) -> str:
        """Return what the server wrote so far, stdout and stderr."""
        return self.log.read_text(errors="replace")


@contextmanager
def process(
    command: Sequence[str | Path],
    ready: Callable[[], bool],
    *,
    settings: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> Iterator[Process]:
    """Run a server and yield it once `ready` is true.

    Args: settings: its variables, in addition to PATH and its own HOME and TMPDIR. cwd: its working folder, by default
        its private one.
    Raises: NotStarted.
    """
    folder = Path(tempfile.mkdtemp(prefix="tidegate-"))
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        **(settings or {}),
    }
    keeper: subprocess.Popen[bytes] | None = None
    try:
        with (folder / "log").open("wb") as output:
            keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_KEEPER), str(folder), *map(str, command)],
                env=environment,
                cwd=cwd or folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running = Process(keeper, folder)
        _wait(running, ready, timeout_s, Path(command[0]).name)
        yield running
    finally:
        if keeper is not None:
            _end(keeper)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Return whether a server answers, with any status."""
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def listens(port: int) -> bool:
    """Return whether something listens on the loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(server: Process, ready: Callable[[], bool], timeout_s: float, program: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        ended = server.keeper.poll()
        if ended is not None or time.monotonic() > deadline:
            how = f"did not answer within {timeout_s:g} s" if ended is None else f"ended with exit code {ended}"
            said = server.output()[-_LOG_TAIL:].strip() if server.log.exists() else ""
            raise NotStarted(f"{program} {how}; it wrote: {said or 'nothing'}", resource=program)
        time.sleep(0.02)


def _end(keeper: subprocess.Popen[bytes]) -> None:
    """Ask the keeper to end the server; else kill the keeper, which kills the server."""
    assert keeper.stdin is not None
    keeper.stdin.close()
    try:
        keeper.wait(2 * GRACE_S + 1)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()
