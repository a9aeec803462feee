"""The rules of the beam on a model that says what it is told: end threshold, length normalisation, stopping."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.decode import Beam, SuppressTokens
from tests.decode.toy_model import Scripted, batch_of, search


def best(beam: Beam, *probs_v: list[float]) -> tuple[int, ...]:
    """The tokens found where step i has probabilities `probs_v[i]`, whatever came before."""
    with np.errstate(divide="ignore"):
        model = Scripted(jnp.asarray(np.log(np.array(probs_v, np.float32))))
    found = search(beam, model, batch_of(np.random.default_rng(0), 6))
    assert found.finished_bw[0, 0]
    return tuple(found.tokens_bwu[0, 0, : found.token_lengths_bw[0, 0]].tolist())


def test_the_end_threshold_holds_back_an_end_that_is_not_meant():
    """An early end of probability 0.4 beats all that follows, but a better token stands beside it."""
    script = [0.4, 0.6, 0.0], [0.3, 0.0, 0.7], [0.9, 0.05, 0.05]
    assert best(Beam(3), *script) == ()
    assert best(Beam(3, end_threshold=1.5), *script) == (1, 2)


def test_length_norm_prefers_the_longer_of_two():
    script = [0.45, 0.55, 0.0], [0.4, 0.6, 0.0], [0.98, 0.01, 0.01]
    assert best(Beam(3), *script) == ()
    assert best(Beam(3, length_norm=1.0), *script) == (1, 1)


def test_likely_stops_where_proven_goes_on():
    """After a poor start, certain tokens raise the mean above that of the early end: only the proof waits for them."""
    script = [0.1, 0.0, 0.05], [0.2, 0.0, 0.8], *[[0.0, 0.0, 1.0]] * 6, [1.0, 0.0, 0.0]
    assert len(best(Beam(2, length_norm=1.0, stop="proven"), *script)) == 8
    assert best(Beam(2, length_norm=1.0, stop="likely"), *script) == ()


def test_a_token_that_ends_does_not_use_up_the_beam():
    """The end is the best continuation at every step; two others still go on beside it and win by their mean."""
    script = [0.5, 0.3, 0.2], [0.1, 0.0, 0.9], [1.0, 0.0, 0.0]
    assert best(Beam(3, length_norm=1.0), *script) == (1, 2)


def test_suppressed_tokens_are_not_written_and_some_not_at_the_first_step():
    """The end is the most likely token at both steps; token 2 is the next."""
    script = [0.6, 0.1, 0.3], [0.9, 0.05, 0.05]
    assert best(Beam(1), *script) == ()
    assert best(Beam(1, scorers=(SuppressTokens(first=(0,)),)), *script) == (2,)
    assert best(Beam(2, scorers=(SuppressTokens(tokens=(2,), first=(0,)),)), *script) == (1,)
    assert best(Beam(2, scorers=(SuppressTokens(first=(0, 2)),)), *script) == (1,)


@pytest.mark.parametrize(
    ("fields", "message"), [({"tokens": (0,)}, "no hypothesis could end"), ({"first": (9,)}, r"has the tokens \[9\]")]
)
def test_suppression_that_can_not_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        best(Beam(1, scorers=(SuppressTokens(**fields),)), [0.5, 0.5])
