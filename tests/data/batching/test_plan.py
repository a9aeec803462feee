"""The batch plan is a pure function, drops no example, and its position is one integer."""

import pickle
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxasr.data.batching.epoch_sampler import EpochSampler
from jaxasr.data.batching.lengths import Lengths
from jaxasr.data.batching.plan import TrainingPlan, plan_evaluation
from jaxasr.data.batching.shape import Shape, host_rows
from tests.reference import plan as reference

SHAPES = (Shape(10, 5, 6), Shape(20, 8, 4), Shape(40, 8, 2))


def lengths_of(
    rng: np.random.Generator, examples: int, *, speeds: int = 1, weights: float | np.ndarray = 1.0, longest: int = 40
) -> Lengths:
    samples = rng.integers(1, longest + 1, size=(examples, 1))
    stretched = np.concatenate([samples * (10 + speed) // 10 for speed in range(speeds)], axis=1)
    return Lengths(
        samples=stretched.astype(np.int64),
        tokens=rng.integers(0, 9, examples),
        keys=rng.integers(0, 2**32, examples, dtype=np.uint32),
        weights=np.broadcast_to(np.asarray(weights, np.float64), examples).copy(),
    )


def batches_of(plan: TrainingPlan, epoch: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """Returns the batches in the form of the reference implementation."""
    rows = [plan.row(step) for step in range(plan.first_step(epoch), plan.first_step(epoch + 1))]
    return [
        (
            plan.shapes.index(row.shape),
            list(zip(row.examples_b[row.valid_b].tolist(), row.speeds_b[row.valid_b].tolist(), strict=True)),
        )
        for row in rows
    ]


lengths_strategy = st.builds(
    lambda seed, examples, speeds, weight, longest: lengths_of(
        np.random.default_rng(seed), examples, speeds=speeds, weights=weight, longest=longest
    ),
    seed=st.integers(0, 1000),
    examples=st.integers(1, 60),
    speeds=st.integers(1, 3),
    weight=st.sampled_from([1.0, 2.0, 2.5, 1.3]),
    longest=st.sampled_from([8, 15, 40]),
)


@settings(max_examples=60, deadline=None)
@given(lengths=lengths_strategy, seed=st.integers(0, 2**40), epoch=st.integers(0, 5))
def test_equals_the_slow_twin(lengths: Lengths, seed: int, epoch: int):
    plan = TrainingPlan(lengths, SHAPES, seed)
    expected = reference.epoch(
        *(part.tolist() for part in (lengths.samples, lengths.tokens, lengths.keys, lengths.weights)),
        SHAPES,
        seed,
        epoch,
    )
    assert batches_of(plan, epoch) == expected


@settings(max_examples=60, deadline=None)
@given(lengths=lengths_strategy, seed=st.integers(0, 100))
def test_every_example_comes_once_an_epoch_and_fits_its_shape(lengths: Lengths, seed: int):
    lengths = Lengths(lengths.samples, lengths.tokens, lengths.keys, np.ones(len(lengths.keys)))
    plan = TrainingPlan(lengths, SHAPES, seed)
    for epoch in range(2):
        seen = Counter()
        rows = [plan.row(step) for step in range(plan.first_step(epoch), plan.first_step(epoch + 1))]
        for row in rows:
            assert len(row.examples_b) == row.shape.examples
            count = int(row.valid_b.sum())
            assert row.valid_b[:count].all(), "rows of padding come last"
            seen.update(row.examples_b[:count].tolist())
            assert (row.sample_lengths_b <= row.shape.samples).all()
            assert (lengths.tokens[row.examples_b[:count]] <= row.shape.tokens).all()
            drawn = lengths.samples[row.examples_b[:count], row.speeds_b[:count]]
            np.testing.assert_array_equal(row.sample_lengths_b, np.pad(drawn, (0, row.shape.examples - count)))
        assert seen == Counter(set(range(len(lengths.keys))) - set(plan.unbucketable.tolist()))
        assert sum(not row.valid_b.all() for row in rows) <= 1, "at most one batch is not full"


def test_the_order_is_of_this_version_for_ever():
    """A golden value: another order would silently change resumed runs."""
    lengths = lengths_of(np.random.default_rng(0), 12, speeds=2)
    plan = TrainingPlan(lengths, SHAPES, seed=1)
    assert [plan.row(step).examples_b.tolist() for step in range(4)] == [[11, 9], [1, 0], [3, 7], [2, 10]]


def test_any_step_can_be_asked_first(rng: np.random.Generator):
    lengths = lengths_of(rng, 50, speeds=3, weights=1.7)
    whole = [TrainingPlan(lengths, SHAPES, 3).row(step) for step in range(80)]
    for step in (79, 0, 40, 41, 7):
        row = TrainingPlan(lengths, SHAPES, 3).row(step)
        assert row.step == step
        assert row.epoch == whole[step].epoch
        np.testing.assert_array_equal(row.examples_b, whole[step].examples_b)
        np.testing.assert_array_equal(row.speeds_b, whole[step].speeds_b)


def test_a_pickled_plan_is_the_same_and_travels_light(rng: np.random.Generator):
    plan = TrainingPlan(lengths_of(rng, 50, speeds=3), SHAPES, 3)
    cold = len(pickle.dumps(plan))
    row = plan.row(60)
    assert len(pickle.dumps(plan)) == cold, "what was computed stays behind"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(plan)).row(60).examples_b, row.examples_b)


def test_steps_and_epochs_agree(rng: np.random.Generator):
    for lengths in (lengths_of(rng, 50), lengths_of(rng, 50, speeds=3), lengths_of(rng, 50, weights=0.3)):
        plan = TrainingPlan(lengths, SHAPES, 5)
        for epoch in range(6):
            first = plan.first_step(epoch)
            after = plan.first_step(epoch + 1)
            assert after - first == len(plan.epoch(epoch)) == plan._sampler.count_batches(5, epoch)
            assert all(plan.epoch_at(step) == epoch == plan.row(step).epoch for step in range(first, after))


def test_epochs_and_seeds_differ(rng: np.random.Generator):
    lengths = lengths_of(rng, 60, speeds=3)
    plan = TrainingPlan(lengths, SHAPES, 0)
    other = TrainingPlan(lengths, SHAPES, 1)
    assert batches_of(plan, 0) != batches_of(plan, 1)
    assert batches_of(plan, 0) != batches_of(other, 0)


def test_the_union_of_hosts_is_the_batch(rng: np.random.Generator):
    row = TrainingPlan(lengths_of(rng, 50), SHAPES, 0).row(1)
    joined = [row.examples_b[host_rows(row.shape, host, 2)] for host in range(2)]
    np.testing.assert_array_equal(np.concatenate(joined), row.examples_b)
    with pytest.raises(ValueError, match=r"6 examples cannot be split over 4 hosts.*examples_multiple=4"):
        host_rows(SHAPES[0], 0, 4)


def test_weights_mix_corpora_evenly_over_epochs(rng: np.random.Generator):
    weights = np.repeat([1.0, 2.5, 0.5], 40)
    plan = TrainingPlan(lengths_of(rng, 120, weights=weights), SHAPES, 4)
    counts = np.zeros((6, 120), np.int64)
    for epoch in range(6):
        np.add.at(counts[epoch], plan.epoch(epoch).examples, 1)
    assert (counts[:, :40] == 1).all()
    assert set(counts[:, 40:80].ravel().tolist()) == {2, 3}
    assert (counts[0::2, 40:80] + counts[1::2, 40:80] == 5).all(), "a third time in every other epoch"
    assert (counts[0::2, 80:] + counts[1::2, 80:] == 1).all()
    assert 8 <= (counts[0, 40:80] == 3).sum() <= 32, "about half of them in each"


def test_speeds_are_drawn_evenly_and_anew(rng: np.random.Generator):
    plan = TrainingPlan(lengths_of(rng, 900, speeds=3, longest=30), SHAPES, 2)
    drawn = np.zeros((2, 900), np.int64)
    for epoch in range(2):
        dealt = plan.epoch(epoch)
        drawn[epoch, dealt.examples] = dealt.speeds
        counts = np.bincount(drawn[epoch], minlength=3)
        assert (np.abs(counts - 300) < 75).all(), counts  # five standard deviations
    assert 200 < (drawn[0] == drawn[1]).sum() < 400


def test_what_fits_at_some_speeds_only_is_played_at_those():
    lengths = Lengths(
        samples=np.array([[44, 40, 36], [50, 45, 41], [39, 35, 32]]),
        tokens=np.zeros(3, np.int64),
        keys=np.array([1, 2, 3], np.uint32),
        weights=np.ones(3),
    )
    plan = TrainingPlan(lengths, SHAPES, 0)
    assert plan.unbucketable.tolist() == [1]
    played = [set(), set(), set()]
    for epoch in range(30):
        for example, speed in zip(plan.epoch(epoch).examples, plan.epoch(epoch).speeds, strict=True):
            played[example].add(int(speed))
    assert played == [{1, 2}, set(), {0, 1, 2}]


def test_left_over_examples_fill_the_next_larger_batch():
    """Has 7 examples of at most 10 samples and 3 of at most 20: one batch of 6, and one of 4 with a short example."""
    lengths = Lengths(
        samples=np.array([[5]] * 7 + [[15]] * 3),
        tokens=np.zeros(10, np.int64),
        keys=np.arange(10, dtype=np.uint32),
        weights=np.ones(10),
    )
    plan = TrainingPlan(lengths, SHAPES, 0)
    shapes = sorted(((row.shape, int(row.valid_b.sum())) for row in map(plan.row, range(2))), key=lambda x: x[1])
    assert shapes == [(SHAPES[1], 4), (SHAPES[0], 6)]
    assert plan.first_step(1) == 2
    padding = plan.epoch(0).padding
    assert (padding.real, padding.padded) == (7 * 5 + 3 * 15, 6 * 10 + 4 * 20)
    assert padding.share == pytest.approx(1 - 80 / 140)


def test_once_is_every_example_from_short_to_long(rng: np.random.Generator):
    lengths = lengths_of(rng, 45)
    once = plan_evaluation(lengths, SHAPES)
    rows = [once.row(batch) for batch in range(len(once))]
    order = np.concatenate([row.examples_b[row.valid_b] for row in rows])
    assert sorted(order.tolist()) == list(range(45))
    places = EpochSampler(lengths, SHAPES).bucket_ids[order, 0]
    assert (np.diff(places) >= 0).all()
    for place in range(len(SHAPES)):
        assert (np.diff(lengths.samples[order[places == place], 0]) >= 0).all()
    assert all(row.valid_b.all() for row in rows[:-1])


def test_once_refuses_to_leave_anything_out(rng: np.random.Generator):
    lengths = lengths_of(rng, 5, longest=10)
    lengths.samples[3] = 41
    with pytest.raises(ValueError, match=r"examples \[3\] \(1 in all\) fit none"):
        plan_evaluation(lengths, SHAPES)


def test_mistakes_are_named(rng: np.random.Generator):
    lengths = lengths_of(rng, 5, longest=10)
    for after in (Shape(10, 4, 2), Shape(9, 9, 2), Shape(20, 9, 5)):
        with pytest.raises(ValueError, match="shapes need an order"):
            TrainingPlan(lengths, (Shape(10, 5, 4), after), 0)
    with pytest.raises(ValueError, match="of 5 examples none has a weight and fits a shape"):
        TrainingPlan(lengths_of(rng, 5, weights=0.0), SHAPES, 0)
    with pytest.raises(ValueError, match="step -1"):
        TrainingPlan(lengths, SHAPES, 0).row(-1)


def test_librispeech_for_a_hundred_epochs_opens_in_seconds(rng: np.random.Generator):
    lengths = lengths_of(rng, 281_241, speeds=3)
    began = time.process_time()
    plan = TrainingPlan(lengths, SHAPES, 0)
    plan.row(plan.first_step(100))
    assert time.process_time() - began < 15
