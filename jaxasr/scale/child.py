"""Child processes that end with the process that starts them, also if that is killed by SIGKILL.

The kernel sends the signal (prctl(2), PR_SET_PDEATHSIG). It is kept over execve, so the command needs no code for it. Loader
workers of the command end with the command (data/prefetch.py).
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def bound_command(command: Sequence[str]) -> list[str]:
    """Returns a command line that runs `command` until it ends or this process does.

    The thread that starts it must not end before this process: the kernel watches that thread.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main(parent: int, command: list[str]) -> None:
    """Binds this process to its parent and replaces it by the command. On other systems than Linux it is not bound."""
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL)):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() == parent:  # else it ended before it was watched
        os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
