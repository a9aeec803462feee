"""Tests in separate processes that the second use of a block costs no page fault after `keep_freed_memory`."""

import subprocess
import sys

import pytest

from jaxasr.scale import memory
from tests.processes import PROCESS_S

FAULTS = """
import ctypes, resource, sys, threading
from jaxasr.scale.memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else None
libc, megabytes = ctypes.CDLL(None), 96
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def use():
    block = libc.malloc(megabytes << 20)
    ctypes.memset(block, 1, megabytes << 20)
    libc.free(block)
def measure():  # in a thread that is not the main thread, like XLA's threads
    use()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        use()
    print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=measure)
thread.start()
thread.join()
"""


def faults(how):
    command = [sys.executable, "-c", FAULTS, how]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_S, check=True)
    kept, count = ended.stdout.split()
    return kept, int(count)


@pytest.mark.skipif(not memory.is_glibc(), reason="only glibc's malloc can be told (mallopt(3))")
def test_a_block_used_again_is_not_faulted_in_again():
    kept, count = faults("kept")
    assert kept == "True"
    assert 4 * count < faults("given back")[1]


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(memory, "is_glibc", lambda: False)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("a C library was opened"))
    assert memory.keep_freed_memory() is False
