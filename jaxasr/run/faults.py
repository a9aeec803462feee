"""Faults of machines and networks after the first step: errors that another start of the same command may not meet."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from jaxasr.scale import Watchdog

_WOULD_RECUR = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # of XLA
# XLA's codes for errors of the runtime; JAX raises some of them as ValueError, as those of Gloo
_OF_RUNTIME = re.compile(r"(UNKNOWN|UNAVAILABLE|INTERNAL|ABORTED|CANCELLED|DEADLINE_EXCEEDED|DATA_LOSS): ")


class FaultAfterSteps(RuntimeError):  # noqa: N818 - the error is its cause
    """A fault of a start that had finished steps: the same command resumes, and gets further."""

    exit_status = os.EX_TEMPFAIL

    def __init__(self, cause: Exception, step: int):
        super().__init__(f"{cause}\nthis start had finished steps, the last was {step:,}: the same command resumes")


@contextlib.contextmanager
def faults_after_steps() -> Iterator[None]:
    """Raises FaultAfterSteps for an error that may pass, if this start of the run has finished a step.

    A reset connection, a lost device, an unreachable file system may pass. A missing file, a full disk, too little memory
    and every error before the first step would recur.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if Watchdog.last_beat == 0 or _would_recur(error):
            raise
        raise FaultAfterSteps(error, Watchdog.last_beat) from error


def _would_recur(error: Exception) -> bool:
    if isinstance(error, OSError):
        return isinstance(error, _WOULD_RECUR) or error.errno in _FULL_DISK
    if isinstance(error, ValueError):
        return not _OF_RUNTIME.match(str(error))
    return isinstance(error, NotImplementedError | RecursionError) or _OUT_OF_MEMORY in str(error)
