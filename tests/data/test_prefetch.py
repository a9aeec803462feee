"""Prefetching: results come in order from any step, and no thread, process or file is left afterwards."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from jaxasr.data import prefetch as stream
from jaxasr.data.prefetch import PrefetchIterator
from tests.processes import read_line


def test_results_come_in_order_and_the_range_ends():
    with PrefetchIterator(lambda step: np.full(3, step), range(5, 9)) as results:
        assert [int(result[0]) for result in results] == [5, 6, 7, 8]
        with pytest.raises(StopIteration):
            next(results)


def test_an_empty_range_is_empty():
    assert list(PrefetchIterator(lambda step: step + 1, range(4, 4))) == []


def test_little_is_called_ahead():
    called = []

    def call(step: int) -> np.ndarray:
        called.append(step)
        return np.full(1, step)

    with PrefetchIterator(call, range(1 << 40)) as results:
        next(results)
        time.sleep(0.2)
        assert len(called) <= 2 + 2 * stream._THREADS


def test_waiting_is_measured():
    def call(step: int) -> np.ndarray:
        time.sleep(0.1 if step == 0 else 0.0)
        return np.full(1, step)

    with PrefetchIterator(call, range(9)) as results:
        next(results)
        assert 0.05 < results.waited_s < 2.0
        waited_s = results.waited_s
        time.sleep(0.3)
        next(results)
        assert results.waited_s - waited_s < 0.1, "the consumer's own time does not count"


def test_an_error_reaches_the_consumer_again_and_again():
    def call(step: int) -> np.ndarray:
        if step == 2:
            raise ValueError("utterance x is damaged")
        return np.full(1, step)

    with PrefetchIterator(call, range(9)) as results:
        assert [int(next(results)[0]) for _ in range(2)] == [0, 1]
        for _ in range(2):
            with pytest.raises(ValueError, match="utterance x is damaged"):
                next(results)


def test_workers_keep_the_order_start_no_backend_and_see_no_interrupt():
    def call(step: int) -> np.ndarray:
        backends = len(sys.modules["jax"]._src.xla_bridge._backends) if "jax" in sys.modules else 0
        ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        return np.array([step, os.getpid(), backends, ignored])

    with PrefetchIterator(call, range(3, 12), workers=2) as results:
        rows = np.stack(list(results))
    assert rows[:, 0].tolist() == list(range(3, 12))
    assert len(set(rows[:, 1].tolist())) == 2
    assert os.getpid() not in rows[:, 1]
    assert not rows[:, 2].any(), "a worker that starts a backend takes the accelerator from its parent"
    assert rows[:, 3].all()


def test_too_little_shared_memory_is_an_error_before_it_is_a_crash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(stream, "_SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(stream.shutil, "disk_usage", lambda _: usage(0, 0, 64 << 20))
    with pytest.raises(ValueError, match=r"has 64 MiB free, the loader's workers need up to 80 MiB: use 0 workers"):
        PrefetchIterator(lambda step: step, range(9), workers=2, result_bytes=10 << 20)


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(ValueError, match="-1 workers"):
        PrefetchIterator(lambda step: step, range(9), workers=-1)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent_and_without_a_word(tmp_path: Path, kill: signal.Signals):
    script = tmp_path / "endless.py"
    script.write_text(
        textwrap.dedent("""
        import os
        import numpy as np
        from jaxasr.data.prefetch import PrefetchIterator

        def call(step):
            return np.array([os.getpid()])

        if __name__ == "__main__":
            results = PrefetchIterator(call, range(1 << 40), workers=2)
            print(*(int(next(results)[0]) for _ in range(2)), flush=True)
            try:
                while True:
                    next(results)
            except KeyboardInterrupt:
                print("interrupted")
    """)
    )
    parent = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    workers = [int(pid) for pid in read_line(parent).split()]
    if kill == signal.SIGKILL:
        parent.kill()
    else:
        for worker in workers:
            os.kill(worker, signal.SIGTERM)  # as Slurm does to a whole group: the parent still has a step to finish
        time.sleep(1.0)
        assert parent.poll() is None
        os.killpg(parent.pid, kill)
    out, error = parent.communicate(timeout=60)
    if kill == signal.SIGINT:
        assert (out, error) == ("interrupted\n", "")
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
