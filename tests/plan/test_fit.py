"""Tests of `jaxasr plan --fit`: the search for examples that fill the memory, its report and its overrides."""

import importlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from jaxasr import cost, data, scale, tree
from jaxasr.experiment import ExperimentRef
from jaxasr.plan import PlanRequest, plan, render_report
from jaxasr.plan.compile import CompileJob, CompileReport
from jaxasr.plan.fit import FILL, most_that_fit
from jaxasr.plan.synthetic_lengths import synthetic_lengths
from tests.plan.test_planner import SOURCE, fake_compile

MODULE = importlib.import_module("jaxasr.plan.planner")  # `jaxasr.plan.plan` is its function


@pytest.fixture
def _compiler(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MODULE, "synthetic_lengths", partial(synthetic_lengths, utterances=400))
    monkeypatch.setattr(MODULE, "compile_in_subprocess", fake_compile)
    monkeypatch.setattr(cost.Topology, "check_known", lambda self: None)


@pytest.mark.parametrize("refused_above", [10**9, 1_000, 130])  # the compiler refuses, and tells no memory
@pytest.mark.parametrize("first", [1, 7, 100, 5_000])
@pytest.mark.parametrize("state", [0, 3_000])
def test_the_number_found_fits_and_two_per_cent_more_do_not(first, state, refused_above):
    """Memory of a state and of examples; some programs need a little more than their neighbours."""
    tried = []

    def memory(number):
        tried.append(number)
        used = state + 40 * number + 60 * (number // 64)
        return None if number > refused_above else used

    found = most_that_fit(memory, first, 20_000)
    most = max(number for number in range(1, 1_000) if (memory(number) or 10**9) <= 20_000)
    assert 0.98 * most - 1 <= found <= most
    assert len(set(tried[: tried.index(found) + 1])) <= 12


def test_nothing_fits():
    assert most_that_fit(lambda number: 1_000 * number, 64, 999) == 0
    assert most_that_fit(lambda number: None, 64, 999) == 0


def test_memory_that_does_not_grow_ends_the_search():
    assert most_that_fit(lambda number: 5, 1, 999) > 1_000


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("scale_of_batch", [1.0, 4_000.0])  # the second one does not fit at first
def test_every_shape_fills_the_memory_and_the_overrides_give_the_same_shapes(scale_of_batch):
    request = PlanRequest(
        cost.topology("h100x8:2"),
        layouts=(scale.MeshShape(),),
        batch_scales=(scale_of_batch,),
        fit=True,
        with_scaling=False,
    )
    planned = plan(SOURCE, request, Path("nowhere"), log_fn=lambda line: None)
    assert planned.limits is not None
    assert (planned.chosen is None) == (scale_of_batch > 1)
    assert planned.run is planned.filled
    for bucket in planned.buckets:
        assert bucket.shape.examples % 16 == 0
        assert 0.92 * planned.limits.memory_bytes < bucket.program.memory_bytes <= FILL * planned.limits.memory_bytes
    assert planned.buckets[0].shape.examples > 1.9 * planned.buckets[1].shape.examples  # of half the length
    text = render_report(planned)
    for override in planned.overrides:
        assert f"'{override}'" in text
    changed = ExperimentRef(SOURCE.reference, {**SOURCE.overrides, **tree.parse(planned.overrides)}).load()
    opened = synthetic_lengths(changed.train_data, utterances=400)
    assert opened.plan.shapes == tuple(bucket.shape for bucket in planned.buckets)


@pytest.mark.usefixtures("_compiler")
def test_a_mesh_too_small_for_one_example_a_device_is_refused(monkeypatch: pytest.MonkeyPatch):
    def huge(job: CompileJob, log_fn: object) -> CompileReport:
        return replace(fake_compile(job), temporaries=100 * 2**30, out_of_memory="")

    monkeypatch.setattr(MODULE, "compile_in_subprocess", huge)
    request = PlanRequest(cost.topology("h100x8:2"), layouts=(scale.MeshShape(),), fit=True)
    with pytest.raises(ValueError, match=r"16 examples of \d+ samples .* give a --mesh with more fsdp"):
        plan(SOURCE, request, Path("nowhere"), log_fn=lambda line: None)


def test_a_processor_of_unknown_memory_is_refused():
    with pytest.raises(ValueError, match="--fit needs the memory of a chip"):
        plan(SOURCE, PlanRequest(cost.topology("cpu:2"), fit=True), Path("nowhere"), log_fn=lambda line: None)


@pytest.mark.parametrize("choice", [data.ChooseBuckets(2, 100.0), data.Buckets((1.0, 2.0), 9, 100.0)])
def test_examples_that_can_not_be_are_refused(choice, rng):
    with pytest.raises(ValueError, match=r"examples \(6, 3\): 3 is no positive multiple of examples_multiple = 2"):
        replace(choice, examples=(6, 3), examples_multiple=2)
    given = replace(choice, examples=(6, 4, 2), examples_multiple=2)
    samples = rng.integers(8_000, 32_000, size=50)
    with pytest.raises(ValueError, match="has 3 numbers, and the lengths give 2 shapes"):
        given.shapes(samples, samples // 8_000, samples * 0.0 + 1.0, rate_hz=16_000)
