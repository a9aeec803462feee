"""A setting of glibc's malloc that keeps freed memory in the process, for training on CPUs.

XLA allocates and frees buffers of megabytes at every step. By default glibc's malloc returns such blocks to the kernel, and
the kernel clears and maps new pages for the next step. A third of a training step on a CPU was spent on page faults.
"""

import ctypes
import platform

# Parameters of mallopt(3).
_TRIM_THRESHOLD = -1
_TOP_PAD = -2
_MMAP_MAX = -4
_ARENA_MAX = -8

_NEVER = -1


def keep_freed_memory() -> bool:
    """Sets malloc to keep freed memory for the rest of the process. Returns False if there is no glibc or a setting fails.

    Call it before the first array is made. Large blocks then come from the heap and not from their own maps. The heap grows
    by 256 MiB at a time (untouched pages cost nothing) and never shrinks. All threads share the main arena, because the
    arena of a single thread holds no block above 64 MiB, so XLA's threads would map larger blocks again.
    """
    if not is_glibc():
        return False
    libc = ctypes.CDLL(None)
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, 256 * 2**20))
    results = [libc.mallopt(name, value) for name, value in settings]  # a list, so a failure does not skip the others
    return all(results)


def is_glibc() -> bool:
    """Returns True if this process runs on glibc."""
    return platform.libc_ver()[0] == "glibc"
