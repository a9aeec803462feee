"""Prefetching with Grain: calls a function of the step ahead of time, in threads or in worker processes.

Results come in the order of the steps and do not depend on the number of workers. Grain's own state is never saved,
because an iterator can start at any step.
"""

import multiprocessing
import os
import shutil
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import grain
import numpy as np
from absl import flags

T = TypeVar("T")

_NO_LIMIT = 1 << 62
_THREADS = min(4, os.cpu_count() or 1)  # used without workers; decoding releases Python's global lock
_RESULTS_AHEAD = 4  # maximum number of results that a worker computes before they are read
_GRACE_S = 20.0  # a worker runs on for so long after SIGTERM, so that its parent can finish the step and save
_SHARED_MEMORY = Path("/dev/shm")


class PrefetchIterator(Generic[T]):
    """An iterator over `call(step)` for the steps of a range, and a context manager that ends its workers.

    At most four results for each worker are computed ahead; without workers, at most five in all.
    """

    def __init__(self, call: Callable[[int], T], steps: range, *, workers: int = 0, result_bytes: int = 0):
        """Starts calling.

        Args:
          call: a pure function; picklable if there are workers. It must not return None.
          steps: consecutive steps.
          workers: number of processes; 0 uses threads of this process.
          result_bytes: upper bound on the size of a result.

        Raises:
          ValueError: there is too little shared memory for the workers' results.
        """
        self.waited_s = 0.0  # seconds that the consumer has waited
        self._remaining = len(steps)
        self._reader = _ReadAhead(iter(_dataset(call, steps, workers, result_bytes)))
        self._finalizer = weakref.finalize(self, self._reader.close)

    def __iter__(self) -> "PrefetchIterator[T]":
        return self

    def __next__(self) -> T:
        if not self._remaining or not self._finalizer.alive:
            self.close()
            raise StopIteration
        began = time.perf_counter()
        try:
            result = self._reader.read()
        finally:
            self.waited_s += time.perf_counter() - began
        self._remaining -= 1
        return result

    def close(self) -> None:
        """Ends threads and workers. No further result can be read."""
        self._finalizer()

    def __enter__(self) -> "PrefetchIterator[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _ReadAhead(Generic[T]):
    """A reader that prefetches one result in a thread. The thread and the processes that it starts never receive SIGINT."""

    def __init__(self, results: Iterator[T]):
        self._results: Any = results
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jaxasr-stream")
        with _sigint_blocked():
            self._ahead: Any = self._thread.submit(_next_copied, results)

    def read(self) -> T:
        """Returns the next result."""
        result = self._ahead.result()
        self._ahead = self._thread.submit(_next_copied, self._results)
        return result

    def close(self) -> None:
        """Stops the thread and releases the results before the interpreter shuts down."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._results.close()
        self._results = self._ahead = None


@dataclass(frozen=True)
class _CallUntil(Generic[T]):
    """A function that returns `call(step)` before `stop` and 0 from there on.

    Grain's range has no end, because Grain does not clean up workers that reach the end of a range.
    """

    call: Callable[[int], T]
    stop: int

    def __call__(self, step: int) -> T | int:
        return self.call(step) if step < self.stop else 0


def _next_copied(results: Iterator[Any]) -> Any:
    """Returns the next result. Copies arrays out of the workers' shared memory, so that the caller owns them."""
    result = next(results)
    return np.array(result) if isinstance(result, np.ndarray) and type(result) is not np.ndarray else result


def _dataset(call: Callable[[int], Any], steps: range, workers: int, result_bytes: int) -> grain.IterDataset[Any]:
    if workers < 0:
        raise ValueError(f"{workers} workers: 0 or more are needed")
    results = grain.MapDataset.range(steps.start, _NO_LIMIT).map(_CallUntil(call, steps.stop))
    if workers == 0:
        return results.to_iter_dataset(grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_THREADS))
    _check_shared_memory(result_bytes * workers * _RESULTS_AHEAD)
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain passes flags to its workers; jaxasr defines none
    one_at_a_time = results.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=1)
    return one_at_a_time.mp_prefetch(options, worker_init_fn=_start_worker)


def _check_shared_memory(needed_bytes: int) -> None:
    """Raises ValueError if shared memory is too small. A process that writes past its end is killed without a message.

    Containers often have 64 MB.
    """
    free_bytes = shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else needed_bytes
    if needed_bytes > free_bytes:
        raise ValueError(
            f"{_SHARED_MEMORY} has {free_bytes / 2**20:.0f} MiB free, the loader's workers need up to "
            f"{needed_bytes / 2**20:.0f} MiB: use 0 workers (threads), fewer workers, or smaller batches, "
            f"or give the container more (docker run --shm-size)"
        )


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Blocks SIGINT for threads and processes that start inside. Ctrl-C then reaches the calling thread alone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(_: int, __: int) -> None:
    """Sets up a worker process: it ends `_GRACE_S` seconds after SIGTERM, and at once if its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _in_background(lambda: (time.sleep(_GRACE_S), os._exit(0))))
    parent = multiprocessing.parent_process()
    if parent is not None:
        _in_background(lambda: (parent.join(), os._exit(1)))


def _in_background(do: Callable[[], object]) -> None:
    threading.Thread(target=do, daemon=True).start()
