"""A function of the step, called ahead of time by Grain: in threads of this process or in worker processes.

The order is that of the steps, and what comes is the same for any number of workers. Grain's own state is never saved:
a stream starts at any step, and the step is all there is to know.
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
_THREADS = min(4, os.cpu_count() or 1)  # that call ahead when there are no workers; decoding lets go of Python's lock
_RESULTS_AHEAD = 4  # results at most that a worker has made, or is making, before they are asked for
_GRACE_S = 20.0  # a worker told to end goes on for so long, so that its parent can finish the step and save
_SHARED_MEMORY = Path("/dev/shm")


class PrefetchIterator(Generic[T]):
    """Iterates over `call(step)` for the steps of a range; a context manager that ends its workers.

    At most four results a worker (without workers: five) are made ahead.
    """

    def __init__(self, call: Callable[[int], T], steps: range, *, workers: int = 0, result_bytes: int = 0):
        """Starts calling.

        Args:
          call: pure, and picklable if there are workers. Not to return None.
          steps: consecutive.
          workers: processes; 0 is threads of this one.
          result_bytes: of the largest result, at most.

        Raises:
          ValueError: too little shared memory for the workers' results.
        """
        self.waited_s = 0.0  # that the consumer spent waiting
        self._remaining = len(steps)
        self._reader = _ReadAhead(iter(_dataset(call, steps, workers, result_bytes)))
        self._end = weakref.finalize(self, self._reader.end)

    def __iter__(self) -> "PrefetchIterator[T]":
        return self

    def __next__(self) -> T:
        if not self._remaining or not self._end.alive:
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
        """Ends threads and workers; nothing more can be read."""
        self._end()

    def __enter__(self) -> "PrefetchIterator[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _ReadAhead(Generic[T]):
    """Reads one result ahead, in a thread that never sees SIGINT; nor do the processes that it starts."""

    def __init__(self, results: Iterator[T]):
        self._results: Any = results
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jaxasr-stream")
        with _sigint_blocked():
            self._ahead: Any = self._thread.submit(_next_copied, results)

    def read(self) -> T:
        """The next result."""
        result = self._ahead.result()
        self._ahead = self._thread.submit(_next_copied, self._results)
        return result

    def end(self) -> None:
        """Stops, and lets go of everything while the interpreter is still whole."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._results.close()
        self._results = self._ahead = None


@dataclass(frozen=True)
class _CallUntil(Generic[T]):
    """Calls no more from `stop` on. Grain's range goes on, because what reaches its end is not cleared away."""

    call: Callable[[int], T]
    stop: int

    def __call__(self, step: int) -> T | int:
        return self.call(step) if step < self.stop else 0


def _next_copied(results: Iterator[Any]) -> Any:
    """The next result; an array is taken out of the workers' shared memory, so that whoever keeps it owns it."""
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
        flags.FLAGS.mark_as_parsed()  # Grain hands them to its workers; jaxasr has none of its own
    one_at_a_time = results.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=1)
    return one_at_a_time.mp_prefetch(options, worker_init_fn=_start_worker)


def _check_shared_memory(needed_bytes: int) -> None:
    """Who writes past the end of it is killed without a word, and containers often have 64 MB."""
    free_bytes = shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else needed_bytes
    if needed_bytes > free_bytes:
        raise ValueError(
            f"{_SHARED_MEMORY} has {free_bytes / 2**20:.0f} MiB free, the loader's workers need up to "
            f"{needed_bytes / 2**20:.0f} MiB: use 0 workers (threads), fewer workers, or smaller batches, "
            f"or give the container more (docker run --shm-size)"
        )


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Threads and processes started inside never see SIGINT: Ctrl-C is for the thread that is here alone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(_: int, __: int) -> None:
    """Runs first in each worker: it outlives a polite signal to the whole group for a while, its parent never."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _in_background(lambda: (time.sleep(_GRACE_S), os._exit(0))))
    parent = multiprocessing.parent_process()
    if parent is not None:
        _in_background(lambda: (parent.join(), os._exit(1)))


def _in_background(do: Callable[[], object]) -> None:
    threading.Thread(target=do, daemon=True).start()
