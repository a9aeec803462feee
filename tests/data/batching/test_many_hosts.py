"""The plan of a job of 1,024 hosts: their rows of 1,000 steps are disjoint, complete, and in the order of the plan."""

import functools
import pickle

import numpy as np
import pytest

from jaxasr.data.batching.epoch import PlanRow
from jaxasr.data.batching.lengths import Lengths
from jaxasr.data.batching.plan import TrainingPlan
from jaxasr.data.batching.shape import Shape, host_rows

HOSTS = 1_024
STEPS = 1_000
EXAMPLES = 400_000
SHAPES = (Shape(160_000, 60, 4 * HOSTS), Shape(320_000, 120, 2 * HOSTS), Shape(480_000, 200, HOSTS))


@pytest.fixture(scope="module")
def plan() -> TrainingPlan:
    """Three epochs are shorter than the steps of the test."""
    rng = np.random.default_rng(0)
    samples = rng.integers(8_000, 480_000, (EXAMPLES, 1))
    keys = rng.permutation(2**22)[:EXAMPLES].astype(np.uint32)
    return TrainingPlan(Lengths(samples, samples[:, 0] // 8_000, keys, np.ones(EXAMPLES)), SHAPES, seed=3)


@functools.cache
def parts(shape: Shape, hosts: int) -> list[slice]:
    """Returns the rows of each host in a batch of a shape."""
    return [host_rows(shape, host, hosts) for host in range(hosts)]


def rows_of(row: PlanRow, hosts: int) -> np.ndarray:
    """Returns the examples of all hosts at a step, those of host 0 first."""
    return np.concatenate([row.examples_b[part] for part in parts(row.shape, hosts)])


def test_the_rows_of_all_hosts_are_disjoint_complete_and_keep_their_order(plan):
    """The run begins with 1,024 hosts, and goes on with 256 and with 512 of them."""
    drawn: dict[int, list[np.ndarray]] = {}
    for step in range(STEPS):
        row = plan.row(step)
        examples = rows_of(row, HOSTS if step < 400 else 256 if step < 700 else 512)
        np.testing.assert_array_equal(examples, row.examples_b)
        drawn.setdefault(row.epoch, []).append(examples[examples >= 0])
    assert len(drawn) >= 3
    for epoch in list(drawn)[:-1]:  # the last one is not finished
        assert np.array_equal(np.sort(np.concatenate(drawn[epoch])), np.arange(EXAMPLES))


@pytest.mark.parametrize("host", [0, 1, HOSTS - 1])
def test_a_host_that_starts_anywhere_plans_what_the_others_do(plan, host):
    """Each host has a plan of its own, which starts at the step that it resumes from."""
    own: TrainingPlan = pickle.loads(pickle.dumps(plan))
    for step in (STEPS - 1, 700, 701):
        mine, all_rows = own.row(step), plan.row(step)
        part = host_rows(mine.shape, host, HOSTS)
        np.testing.assert_array_equal(mine.examples_b[part], all_rows.examples_b[part])
