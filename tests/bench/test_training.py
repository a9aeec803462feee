"""Tests of the benchmark of training steps, on tiny models: both implementations learn alike, and the lines."""

import sys

import numpy as np
import pytest

from jaxasr.bench import benchmark
from jaxasr.bench import training as bench_training
from jaxasr.bench.models import MODELS, BenchBatch, RecurrentSpec, SelfAttentiveSpec, jaxasr_step
from jaxasr.bench.processes import CallTime
from jaxasr.bench.training import StepTimes, measure_training

TINY = BenchBatch(examples=3, frames=320, bins=8, tokens=4, vocab=7)
SMALL: dict[str, RecurrentSpec | SelfAttentiveSpec] = {
    "lstm": RecurrentSpec(time_reduction=(1, 2), width=24, decoder_width=16, filters=2, kernel_size=5),
    "vgg-gru": RecurrentSpec("gru", (4, 4), (1,), width=24, decoder_width=16, filters=2, kernel_size=5),
    "conformer": SelfAttentiveSpec("conformer", (4, 4), depth=1, width=24, heads=2, kernel_size=3, decoder_depth=1),
    "transformer": SelfAttentiveSpec("transformer", (4,), depth=1, width=24, heads=2, decoder_depth=1, ctc_weight=0.0),
}


@pytest.fixture(autouse=True)
def _usual_malloc(monkeypatch):
    """Keeps the usual malloc, because this process runs other tests afterwards."""
    monkeypatch.setattr(bench_training.scale, "keep_freed_memory", lambda: True)


def test_the_batch_is_the_stated_one():
    assert BenchBatch().lengths(equal=True) == [800] * 16
    assert BenchBatch().lengths(equal=False) == list(range(800, 724, -5))
    assert BenchBatch().frames_btf().shape == (16, 800, 80)
    assert BenchBatch().tokens_bu().shape == (16, 40)
    assert set(range(1, 7)) == set(TINY.tokens_bu().flat)


@pytest.mark.parametrize(
    "name", ["lstm", "conformer", *(pytest.param(name, marks=pytest.mark.slow) for name in ("vgg-gru", "transformer"))]
)
def test_both_sides_are_as_large_and_learn_the_batch_alike(name):
    pytest.importorskip("torch", reason="the reference implementation is in PyTorch, which is no dependency")
    from jaxasr.bench.pytorch import pytorch_step

    ours = jaxasr_step(SMALL[name], TINY)
    theirs = pytorch_step(SMALL[name], TINY, threads=1)
    assert theirs.parameters == pytest.approx(ours.parameters, rel=0.06)  # PyTorch's cells have two biases
    for equal in (True, False):
        losses = np.array([[side.step(equal) for side in (ours, theirs)] for _ in range(3)])
        assert np.all(np.diff(losses, axis=0) < 0)
        np.testing.assert_allclose(*losses[0], rtol=0.2)  # from unlike random parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_models_are_as_large_to_two_percent(name):
    pytest.importorskip("torch", reason="the reference implementation is in PyTorch, which is no dependency")
    from jaxasr.bench.pytorch import pytorch_step

    theirs = pytorch_step(MODELS[name], BenchBatch(), threads=1)
    assert theirs.parameters == pytest.approx(jaxasr_step(MODELS[name], BenchBatch()).parameters, rel=0.02)


def test_ours_is_measured_alone_where_pytorch_is_missing(monkeypatch):
    for module in ("jaxasr.bench.pytorch", "jaxasr.bench.pytorch_layers"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    parameters, (equal, unequal) = measure_training(SMALL["lstm"], TINY, rounds=2)
    assert (len(parameters), len(equal.jaxasr), len(unequal.jaxasr), equal.pytorch) == (1, 2, 2, ())
    assert min(step.cpu_s for step in equal.jaxasr) > 0
    assert "PyTorch" not in equal.line()


def test_a_slow_step_is_measured_once(monkeypatch):
    monkeypatch.setattr(bench_training, "timed", lambda call: CallTime(call(), bench_training.SLOW_S + 1))
    side = bench_training.BenchStep(lambda equal: 1.0, 1)
    times = bench_training._time_rounds([side, side], 5, equal=False)
    assert times.line().endswith("PyTorch   1.000 s (CPU  31.000 s)   ratio 1.00 (CPU 1.00), 1 round")


def test_lines_are_medians_of_rounds():
    ours, theirs = (
        tuple(CallTime(2 * cpu_s, cpu_s) for cpu_s in column) for column in ((1.0, 3.0, 2.0), (2.0, 2.0, 8.0))
    )
    assert StepTimes(True, ours, theirs).line() == (
        "  equal lengths   jaxasr    4.000 s (CPU   2.000 s)   PyTorch   4.000 s (CPU   2.000 s)   "
        "ratio 0.50 (CPU 0.50), 3 rounds"
    )


def test_mistakes_are_answered():
    with pytest.raises(ValueError, match="no model rnn to train; there are blstmp, "):
        list(benchmark("training", benchmarks=("rnn",)))
    with pytest.raises(ValueError, match="bench data has no option --rounds"):
        benchmark("data", rounds=3, benchmarks=None)


def test_each_model_is_measured_in_a_process_of_its_own(monkeypatch):
    def in_subprocess(function: str, arguments: dict, *, cores: list[int]) -> list[str]:
        return [f"{function.partition(':')[2]} {arguments['name']} {arguments['rounds']} {len(cores)}"]

    monkeypatch.setattr(bench_training, "available_cores", lambda: [3])
    monkeypatch.setattr(bench_training, "in_subprocess", in_subprocess)
    lines = list(benchmark("training", benchmarks=("blstmp", "conformer"), rounds=2, threads=(1, 2)))
    assert lines[0].startswith("training steps on 16 utterances of 800 frames, 40 tokens, 500 words")
    assert lines[-3:] == ["_lines blstmp 2 1", "_lines conformer 2 1", "2 threads: this process has 1 core"]
