"""Freed memory stays with the process.

XLA takes and frees buffers of megabytes at every step. glibc's malloc gives such blocks back to the kernel, which clears and
maps new pages for the next step: a third of a training step on a CPU went into page faults.
"""

import ctypes
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of mallopt(3)
_NEVER_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tells malloc to keep what is freed, for the rest of the process; False where there is no glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER_BYTES), (_TOP_PAD, 256 * 2**20))
    return all(libc.mallopt(name, value) for name, value in settings)
