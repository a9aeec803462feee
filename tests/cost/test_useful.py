"""What padding costs: a polynomial of lengths through seven counts."""

import numpy as np
import pytest

from jaxasr.cost.useful import length_cost


def step(examples, samples, tokens):
    """A layer a sample, attention of an utterance on itself and of a transcript on it, a readout, and an optimizer."""
    u = tokens + 1
    return examples * (30 * samples + samples**2 + 7 * samples * u + 500 * u + 11) + 12_345


@pytest.fixture
def cost():
    return length_cost(step, examples=8, samples=16_000, tokens=100)


def test_it_is_exact_for_such_a_step(cost):
    samples_b, tokens_b = np.array([16_000, 9_000, 4_000, 16_000]), np.array([100, 80, 3, 10])
    by_hand = [step(1, *each) - 12_345 for each in zip(samples_b.tolist(), tokens_b.tolist(), strict=True)]
    np.testing.assert_allclose(cost.of_examples(samples_b, tokens_b), by_hand, rtol=1e-9)
    assert cost.of_step(samples_b, tokens_b) == pytest.approx(sum(by_hand) + 12_345)
    assert cost.per_step == pytest.approx(12_345, abs=1.0)


def test_padding_costs_more_than_its_share_where_attention_is_dear(cost):
    samples_b, tokens_b = np.array([16_000, 8_000]), np.array([100, 50])
    share = cost.of_step(samples_b, tokens_b) / step(2, 16_000, 100)
    assert share < samples_b.mean() / 16_000


def test_without_audio_tokens_alone_count():
    cost = length_cost(lambda b, samples, tokens: b * (tokens + 1) * 9, examples=4, samples=0, tokens=50)
    assert cost.of_step(np.zeros(2, int), np.array([50, 10])) == pytest.approx(9 * (51 + 11))


def test_lengths_that_can_not_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="tokens=3; the longest needs at least"):
        length_cost(step, examples=1, samples=16_000, tokens=3)
