"""Tests of the benchmark of searches, on a tiny model: the number of steps, the rounds and the lines."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import nn
from jaxasr.bench import benchmark
from jaxasr.bench import search as bench_search
from jaxasr.bench.models import BenchBatch, RecurrentSpec, make_batch
from jaxasr.bench.processes import CallTime
from jaxasr.bench.search import CASES, STEPS, SearchCase, measure_search

SMALL = RecurrentSpec(time_reduction=(1, 2), width=8, decoder_width=8, filters=2, kernel_size=5)


@pytest.fixture(autouse=True)
def _usual_malloc(monkeypatch):
    """Keeps the usual malloc, because this process runs other tests afterwards."""
    monkeypatch.setattr(bench_search.scale, "keep_freed_memory", lambda: True)


def test_every_search_takes_exactly_the_stated_steps(monkeypatch):
    monkeypatch.setattr(bench_search, "LM_WIDTH", 4)
    sizes = BenchBatch(examples=2, frames=170)
    model = SMALL.model(sizes)
    batch = make_batch(sizes)
    variables = jax.jit(lambda batch: model.init(jax.random.key(0), batch, step=None))(batch)
    lms = {"lm": bench_search._language_model(sizes.vocab)}
    found = bench_search._search(model, SearchCase(examples=2, width=3, lm=True))(variables, lms, batch)
    assert isinstance(model, nn.Seq2Seq)
    np.testing.assert_array_equal(found.token_lengths_bw, jnp.full((2, 1), STEPS))
    assert not np.any(found.finished_bw)


def test_rounds_are_counted_without_the_one_that_compiles():
    taken = measure_search(SearchCase(width=0, frames=170), rounds=2, spec=SMALL)
    assert len(taken) == 2
    assert all(call.cpu_s > 0 for call in taken)


def test_a_line_is_of_one_utterance():
    line = SearchCase(examples=4, width=10, lm=True).line([CallTime(2.0, 1.0), CallTime(4.0, 3.0), CallTime(8.0, 2.0)])
    assert "beam 10, CTC 0.3, LSTM language model" in line
    assert "1.000 s an utterance (CPU   0.500 s)" in line
    assert "8.0 audio-s/s" in line


def test_groups_grow_in_one_thing_each_and_unknown_ones_are_refused():
    for name in ("width", "batch", "length"):
        cases = [vars(case) for case in CASES[name]]
        assert len({key for key in cases[0] if len({case[key] for case in cases}) > 1}) == 1
    with pytest.raises(ValueError, match="there are parts-1, parts-16, width, batch, whisper, length"):
        list(benchmark("search", benchmarks=("speed",)))
