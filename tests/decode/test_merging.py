"""Hypotheses of the same text as one, against the sum over all ways to cut a text into tokens."""

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.decode import Beam, MaxTokens
from jaxasr.decode.merging import merge_gains
from tests.decode.toy_model import Scripted, batch_of, search


@dataclass(frozen=True)
class Cut:
    """Writes A, B, AB: a text of both letters can be cut in several ways."""

    size: int = 4
    digest: str = "a"

    def encode(self, text: str) -> list[int]:
        return ["AB".index(letter) + 1 for letter in text]

    def decode(self, tokens) -> str:
        return "".join(("", "A", "B", "AB")[int(token)] for token in tokens)


STEPS = 4
LOG_PROBS_UV = np.log(np.random.default_rng(3).dirichlet(np.ones(4), STEPS))


def summed() -> dict[str, float]:
    """The log probability of each text: the sum over all token sequences that write it and end."""
    total = defaultdict(float)
    for n in range(STEPS):
        for tokens in itertools.product((1, 2, 3), repeat=n):
            path = [*tokens, 0]
            total[Cut().decode(tokens)] += math.exp(sum(LOG_PROBS_UV[i, token] for i, token in enumerate(path)))
    return {text: math.log(p) for text, p in total.items()}


def test_each_text_comes_once_with_the_probability_of_all_its_cuts(rng):
    model = Scripted(jnp.asarray(LOG_PROBS_UV, jnp.float32))
    beam = Beam(120, nbest=30, merge=Cut(), max_tokens=MaxTokens(0.0, STEPS))  # pyright: ignore[reportArgumentType]
    found = search(beam, model, batch_of(rng, 5))
    expected = sorted(summed().items(), key=lambda item: -item[1])
    ended = [w for w in range(30) if found.finished_bw[0, w]]
    texts = [Cut().decode(found.tokens_bwu[0, w, : found.token_lengths_bw[0, w]]) for w in ended]
    assert texts == [text for text, _ in expected][: len(texts)]
    assert len(texts) > 15
    np.testing.assert_allclose(found.log_probs_bw[0, : len(texts)], [p for _, p in expected][: len(texts)], rtol=1e-4)
    assert beam.scorer_names == ("attention", "merged")
    assert found.scores_by_scorer_bwk is not None
    assert np.all(found.scores_by_scorer_bwk[0, ended, 1] >= 0)
    assert np.any(found.scores_by_scorer_bwk[0, ended, 1] > 0.1)


def test_the_best_takes_over_what_the_others_have():
    codes = jnp.array([[7, 8, 7, 9, 7]], jnp.uint32)
    log_probs = jnp.log(jnp.array([[0.2, 0.3, 0.1, 0.4, 0.5]])).at[0, 4].set(-jnp.inf)
    ranks = jnp.array([[1.0, 1.0, 2.0, 0.0, -jnp.inf]])
    gains = merge_gains(log_probs, ranks, codes)
    assert gains[0, 0] == -jnp.inf
    np.testing.assert_allclose(gains[0, 1:], [0.0, math.log(3.0), 0.0, 0.0], atol=1e-6)


def test_characters_have_nothing_to_merge(rng):
    model = Scripted(jnp.asarray(LOG_PROBS_UV, jnp.float32))
    limit = MaxTokens(0.0, STEPS)

    @dataclass(frozen=True)
    class Letters(Cut):
        def decode(self, tokens) -> str:
            return "".join("-ABC"[int(token)] for token in tokens)

    plain = search(Beam(8, nbest=8, max_tokens=limit), model, batch_of(rng, 5))
    merged = search(Beam(8, nbest=8, max_tokens=limit, merge=Letters()), model, batch_of(rng, 5))  # pyright: ignore
    np.testing.assert_array_equal(plain.tokens_bwu, merged.tokens_bwu)
    np.testing.assert_allclose(plain.scores_bw, merged.scores_bw, rtol=1e-5)


@pytest.mark.parametrize("merge", [None, Cut()])
def test_padding_rows_stay_empty(rng, merge):
    model = Scripted(jnp.asarray(LOG_PROBS_UV, jnp.float32))
    found = search(Beam(4, merge=merge, max_tokens=MaxTokens(0.0, STEPS)), model, batch_of(rng, 5, padding_rows=1))
    assert found.finished_bw[1, 0]
    assert found.token_lengths_bw[1, 0] == 0
    assert found.log_probs_bw[1, 0] == 0
