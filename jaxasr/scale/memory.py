"""Freed memory stays with the process.

XLA takes and frees buffers of megabytes at every step. glibc's malloc gives such blocks back to the kernel, which clears and
maps new pages for the next step: a third of a training step on a CPU went into page faults.
"""

import ctypes
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8  # of mallopt(3)
_NEVER = -1


def keep_freed_memory() -> bool:
    """Tells malloc to keep what is freed, for the rest of the process; False where there is no glibc.

    Call it before the first array is made. Large blocks then come from the heap and not from maps of their own, and the
    heap, which grows by 256 MiB at a time (pages never touched cost nothing), is never given back. All threads share it:
    an arena of a thread's own, such as XLA's threads would get, holds no block above 64 MiB and maps it all the same.
    """
    if not is_glibc():
        return False
    libc = ctypes.CDLL(None)
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, 256 * 2**20))
    taken = [libc.mallopt(name, value) for name, value in settings]  # each of them, whatever the others said
    return all(taken)


def is_glibc() -> bool:
    """Whether this process runs on glibc, whose malloc can be told."""
    return platform.libc_ver()[0] == "glibc"
