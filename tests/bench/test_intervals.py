"""Coverage of the intervals of rows of results in simulation, beside what was used before."""

import numpy as np
import pytest

from jaxasr.bench.intervals import Population, bench_intervals, coverage, simulate


def test_the_population_has_the_rate_it_says(rng):
    population = Population(0.15, 0.6)
    drawn = simulate(population, 4_000, 10, rng)
    assert drawn.errors.sum() / drawn.words.sum() == pytest.approx(0.15, rel=0.03)
    assert drawn.words.mean() == pytest.approx(population.words, rel=0.03)
    assert np.unique(drawn.speakers, return_counts=True)[1].tolist() == [10] * 4_000


@pytest.mark.parametrize(("speakers", "utterances", "rate"), [(10, 13, 0.15), (40, 65, 0.05), (66, 13, 0.3)])
def test_intervals_hold_the_truth(speakers, utterances, rate):
    """93 to 97 % of 600 seeded sets; the slow test has more sets and every spread."""
    found = coverage(Population(rate), speakers, utterances, sets=600, seed=2, resamples=0)
    assert 0.93 <= found.rows <= 0.97
    assert found.utterances < 0.9  # what rows had before speakers were taken


def test_few_speakers_with_unequal_shares():
    """The bootstrap over speakers holds the truth too seldom there."""
    found = coverage(Population(0.15, 0.6), 8, 13, sets=300, talkers=0.7, resamples=100)
    assert found.rows >= 0.93
    assert found.bootstrap_speakers < 0.91
    assert found.bootstrap_utterances < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.05, 0.15, 0.30])
@pytest.mark.parametrize("spread", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(("speakers", "utterances"), [(10, 13), (40, 65), (66, 13)])
def test_intervals_hold_the_truth_everywhere(speakers, utterances, spread, rate):
    found = coverage(Population(rate, spread), speakers, utterances, sets=3_000, resamples=0)
    assert 0.93 <= found.rows <= 0.97


def test_the_benchmark_prints_a_line_for_each_population():
    lines = list(bench_intervals(rounds=2))
    assert lines[0].startswith("coverage of nominal 95% intervals in %, of 2 simulated test sets")
    assert len(lines) == 2 + 5 * 3 * 3
    assert lines[2].split()[:5] == ["10", "x", "13", "5%", "0.3"]
