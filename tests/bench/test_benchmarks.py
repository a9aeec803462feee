"""Tests of the LSTM benchmark on a tiny shape, with PyTorch and without."""

import sys

import pytest

from jaxasr.bench import benchmarks as bench
from jaxasr.bench import processes as bench_processes
from jaxasr.bench.benchmarks import LstmShape, LstmTimes

TINY = LstmShape(depth=1, width=2, examples=3, frames=80)


@pytest.fixture(autouse=True)
def _usual_malloc(monkeypatch):
    """Keeps the usual malloc, because this process runs other tests afterwards."""
    monkeypatch.setattr(bench.scale, "keep_freed_memory", lambda: True)


def test_lengths_are_equal_or_each_a_little_shorter():
    assert TINY.lengths(equal=True) == [80, 80, 80]
    assert TINY.lengths(equal=False) == [80, 78, 76]
    assert LstmShape().lengths(equal=False)[:3] == [200, 195, 190]
    assert LstmShape(frames=2).lengths(equal=False)[:3] == [2, 1, 1]


def test_ours_is_measured_alone_where_pytorch_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    times = bench.measure_lstm(TINY, equal=True, rounds=2)
    assert len(times.jaxasr_s) == 2
    assert times.pytorch_s == ()
    assert min(times.jaxasr_s) > 0
    assert "PyTorch" not in times.line()


def test_lines_are_medians_of_rounds():
    line = LstmTimes(2, False, (1.0, 3.0, 2.0), (1.0, 1.5, 4.0)).line()
    assert line == "2 threads, unequal lengths  jaxasr   2.000 s   PyTorch   1.500 s   ratio 1.00"
    assert LstmTimes(1, True, (0.5,), ()).line() == "1 thread, equal lengths    jaxasr   0.500 s"


def test_a_machine_with_fewer_cores_says_so(monkeypatch):
    monkeypatch.setattr(bench, "available_cores", lambda: [0])
    *_, last = bench.bench_lstm(shape=TINY, threads=(2,))
    assert last == "2 threads: this process has 1 core"


def test_a_process_that_fails_is_an_error(monkeypatch):
    monkeypatch.setattr(bench_processes, "_PROGRAM", "raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="ended with status 3"):
        list(bench.bench_lstm(shape=TINY, threads=(1,)))


@pytest.mark.slow
def test_each_number_of_threads_is_measured_in_its_own_process():
    lines = list(bench.bench_lstm(shape=TINY, threads=(1,), rounds=1))
    assert "1 bidirectional LSTM layers of 2, 3 x 80 frames" in lines[0]
    assert [line.split("  ")[0] for line in lines[-2:]] == ["1 thread, equal lengths", "1 thread, unequal lengths"]
