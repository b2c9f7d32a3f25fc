"""Runs one command and stops all of its processes with us: python -I -S keeper.py FOLDER COMMAND...

Our parent holds the other end of our standard input. When it closes, or on SIGTERM, the command gets SIGTERM and later
SIGKILL. All processes that it started are killed too, and FOLDER, its private one, is removed. If the command ends by
itself, FOLDER stays for its output. On Linux we are the subreaper of all processes below us, so that each is found; if
we are killed, the command is killed too (not on other systems).
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

GRACE_S = 3.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"


def main(folder: str, command: list[str]) -> int:
    """Run the command until it ends or our standard input closes; return its exit code, 128 + n for signal n."""
    wakeup, wake_up = os.pipe()
    os.set_blocking(wake_up, False)

    def wake(number: int, _: object) -> None:
        with suppress(BlockingIOError):
            os.write(wake_up, bytes([number]))

    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, wake)
    dies_with_us = _linux_bonds()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=dies_with_us, process_group=0)
    while process.poll() is None:
        ready, _, _ = select.select([sys.stdin, wakeup], [], [])
        if sys.stdin in ready or os.read(wakeup, 1)[0] != signal.SIGCHLD:
            _end(process)
            _end_the_rest(process.pid)
            shutil.rmtree(folder, ignore_errors=True)
    _end_the_rest(process.pid)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _linux_bonds() -> Callable[[], None] | None:
    """Become the subreaper of processes below us; return what a child runs so that it dies with us."""
    if not _LINUX:
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    keeper = os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:  # the parent ended before the signal was set
            os._exit(1)

    return bind


def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, wait, send SIGKILL."""
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_the_rest(group: int) -> None:
    """Kill the command's remaining processes: on Linux all below us, elsewhere its process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    until = time.monotonic() + GRACE_S
    while _LINUX and time.monotonic() < until:
        below = list(_descendants(os.getpid()))
        for pid in below:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not below:
            return
        time.sleep(0.01)


def _descendants(pid: int) -> Iterator[int]:
    """Yield the processes below one, zombies included."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:
                parent = stat.read().rpartition(b")")[2].split()[1]
                children.setdefault(int(parent), []).append(int(name))
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            waiting.append(child)
            yield child


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
