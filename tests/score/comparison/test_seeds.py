"""The spread over seeds, speakers and utterances: against simulations with known parts."""

import numpy as np
import pytest
from scipy import stats

from jaxasr.score.comparison.seeds import t_test, variance_parts

SPEAKERS = 12
EACH = 10
WORDS = np.full(SPEAKERS * EACH, 20)
WHO = np.repeat(np.arange(SPEAKERS), EACH)


def simulated(rng, runs, *, rate=4.0, seed=0.3, speaker=1.0, utterance=0.8, rest=1.0, shared=None):
    """Errors of each run on each utterance, a sum of normal parts; `shared` are the speakers and utterances."""
    of_speaker, of_utterance = shared if shared is not None else parts(rng, speaker, utterance)
    own = rng.normal(0, rest, size=(runs, len(WHO)))
    return rate + rng.normal(0, seed, size=(runs, 1)) + of_speaker[WHO] + of_utterance + own


def parts(rng, speaker=1.0, utterance=0.8):
    return rng.normal(0, speaker, size=SPEAKERS), rng.normal(0, utterance, size=len(WHO))


def test_the_variance_is_split_into_its_parts(rng):
    found = [variance_parts(simulated(rng, 4), WORDS, WHO.tolist()) for _ in range(400)]
    utterances = len(WHO)
    expected = np.array([0.3**2, 1.0 / SPEAKERS, 0.8**2 / utterances, 1.0 / utterances]) / 20**2
    means = np.mean([[part.seeds, part.speakers, part.utterances, part.rest] for part in found], axis=0)
    np.testing.assert_allclose(means, expected, rtol=0.15)
    assert found[0].total == pytest.approx(sum([found[0].seeds, found[0].speakers, found[0].utterances, found[0].rest]))


@pytest.mark.parametrize("runs", [1, 3])
def test_equal_recipes_differ_as_often_as_the_level_allows(rng, runs):
    """Speakers and utterances are those of both recipes; seeds and what is left are each recipe's own."""
    p_values = []
    for _ in range(600):
        shared = parts(rng)
        seed = 0.3 if runs > 1 else 0.0
        a, b = (simulated(rng, runs, seed=seed, shared=shared) for _ in range(2))
        p_values.append(t_test(a, b, WORDS, WHO.tolist()).p_value)
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.07


def test_utterances_alone_would_find_differences_between_seeds(rng):
    """The reason for the test: three seeds on one test set differ "significantly" more often than not."""
    found = []
    for _ in range(200):
        shared = parts(rng)
        a, b = (simulated(rng, 3, seed=1.0, rest=0.3, shared=shared) for _ in range(2))
        averaged = [runs.mean(axis=0, keepdims=True) for runs in (a, b)]
        found.append([t_test(*pair, WORDS, WHO.tolist()).p_value < 0.05 for pair in (averaged, (a, b))])
    over_blocks, over_seeds_too = np.mean(found, axis=0)
    assert over_blocks > 0.5
    assert over_seeds_too <= 0.08


def test_one_run_each_is_a_t_test_over_blocks_of_equal_size(rng):
    a = rng.poisson(4, size=(1, len(WHO)))
    b = rng.poisson(3, size=(1, len(WHO)))
    witness = stats.ttest_1samp((b - a)[0].reshape(SPEAKERS, EACH).sum(axis=1), 0.0)
    found = t_test(a, b, WORDS, WHO.tolist())
    assert found.p_value == pytest.approx(witness.pvalue)
    interval = witness.confidence_interval(0.95)
    assert found.interval.low == pytest.approx(interval.low / (20 * EACH))
    assert found.interval.high == pytest.approx(interval.high / (20 * EACH))


def test_equal_runs_have_no_difference():
    errors = [[1, 2, 0, 1]]
    found = t_test(errors, errors, [5, 5, 5, 5], [0, 1, 2, 3])
    assert (found.difference, found.p_value, found.interval.low, found.interval.high) == (0.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize(("runs", "who"), [(1, [0, 0, 1, 1]), (2, [0, 0, 0, 0]), (2, [0, 1, 2, 3])])
def test_what_cannot_be_split_is_refused(runs, who):
    with pytest.raises(ValueError, match="two runs, two speakers and more than one utterance"):
        variance_parts(np.ones((runs, 4)), [5, 5, 5, 5], who)
