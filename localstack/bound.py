"""Become a command whose life is bound to that of who starts it: python -I -S bound.py PARENT COMMAND...

Where the thread that started us ends, be it killed, the kernel kills the command; PARENT is its process, which may be
gone by now. The process is the same, and so are its exit code and its signals. Linux only: see keeper.py.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Run the command in this process's place."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the bond was made
        os._exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
