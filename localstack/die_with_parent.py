"""Run a command that the kernel kills when its parent ends: python -I -S die_with_parent.py PARENT COMMAND...

The kernel kills the command when the thread that started it ends, for whatever reason. PARENT is the id of that
thread's process, which may have ended already. The command replaces this process, with its exit code and signals.
Linux only: see keeper.py.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Replace this process by the command."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before the signal was set
        os._exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
