"""Faults of machines and networks after the first step: errors that another start of the same command may not meet."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from jaxasr.scale import Watchdog

_WOULD_RECUR = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # of XLA


class FaultAfterSteps(Exception):  # noqa: N818 - the error is its cause
    """A fault of a start that had finished steps: the same command resumes, and gets further."""

    def __init__(self, cause: Exception, step: int):
        super().__init__(f"{cause}\nthis start had finished steps, the last was {step:,}: the same command resumes")


@contextlib.contextmanager
def faults_after_steps(workdir: Path) -> Iterator[None]:
    """Raises FaultAfterSteps for an error that may pass, if this start of the run has finished a step.

    A reset connection, a lost device, an unreachable file system may pass. A missing file, a full disk, too little memory
    and every error before the first step would recur.

    Args:
        workdir: of the run.
    """
    before = Watchdog.size(workdir)
    try:
        yield
    except (OSError, RuntimeError) as error:
        step = Watchdog.last_step(workdir, beyond=before)
        if step == 0 or _would_recur(error):
            raise
        raise FaultAfterSteps(error, step) from error


def _would_recur(error: Exception) -> bool:
    if isinstance(error, OSError):
        return isinstance(error, _WOULD_RECUR) or error.errno in _FULL_DISK
    return isinstance(error, NotImplementedError | RecursionError) or _OUT_OF_MEMORY in str(error)
