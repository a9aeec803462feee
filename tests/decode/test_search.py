"""How long a search may run, and what it makes of a model that says NaN."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import text
from jaxasr.decode import Beam, CtcGreedy, Greedy, LengthReward, MaxTokens, Rescoring, Search
from jaxasr.records import Batch, Start, Step, pytree
from tests.decode.toy_model import Scripted, batch_of, search, toy


def test_the_limit_is_exact_for_every_length():
    np.testing.assert_array_equal(MaxTokens(1.5, 4).table(4), [0, 5, 7, 8, 10])
    np.testing.assert_array_equal(MaxTokens(0.5, 0).table(4), [0, 1, 1, 1, 2])  # what is heard may be written or end
    assert MaxTokens(0.1, 0).table(30)[30] == 3  # 0.1 * 30 is 3.0000000000000004 in float64 and less than 3 in float32


def test_the_limit_of_a_length_does_not_depend_on_the_padding():
    limits = MaxTokens(0.7, 2)
    np.testing.assert_array_equal(limits.table(50)[:21], limits.table(20))


@pytest.mark.parametrize("fields", [(-1.0, 4), (1.0, -1), (0.0, 0)])
def test_a_limit_of_nothing_is_refused(fields):
    with pytest.raises(ValueError, match="write nothing"):
        MaxTokens(*fields)


@pytree
@dataclass(frozen=True)
class Paper:
    """A state with a column for each token that it may read."""

    read_bu: jax.Array

    def with_capacity(self, tokens: int) -> "Paper":
        return Paper(jnp.zeros((self.read_bu.shape[0], tokens)))


ROOMS: list[int] = []  # of the states that a traced step met


class Writes(Scripted):
    """A script whose state fills."""

    def start(self, batch: Batch) -> Start:
        start = super().start(batch)
        return replace(start, state=Paper(jnp.zeros((len(start.state), 1))))

    def step(self, memory: Any, state: Any, tokens_b: jax.Array) -> Step:
        ROOMS.append(state.read_bu.shape[1])
        step = super().step(memory, jnp.zeros(len(tokens_b), jnp.int32), tokens_b)
        return replace(step, state=state)


@pytest.mark.parametrize("how", [Greedy(MaxTokens(2.0, 3)), Beam(2, max_tokens=MaxTokens(2.0, 3))])
def test_a_state_that_fills_gets_room_for_the_longest_transcript(rng, how):
    ROOMS.clear()
    batch = batch_of(rng, 5, 2)
    jax.eval_shape(lambda: how(Writes(jnp.zeros((1, 3))), batch))
    assert set(ROOMS[:1]) == {1}  # asked for its shapes
    assert set(ROOMS[1:]) == {13}


LIMIT = MaxTokens(1.0, 2)
TWO = Beam(3, nbest=2, max_tokens=LIMIT)
SEARCHES = {
    "greedy": Greedy(LIMIT),
    "ctc": CtcGreedy(),
    "beam": replace(TWO, length_norm=0.5, ctc_weight=0.3),
    "merged": replace(TWO, merge=text.Characters("ABC")),
    "rescored": Rescoring(TWO, (LengthReward(0.1),)),
}


@pytest.mark.parametrize("how", SEARCHES.values(), ids=SEARCHES)
def test_a_model_that_says_nan_is_heard_to_say_it(rng, how: Search):
    """Whoever reads the best hypothesis finds NaN, and no empty transcript; padding rows stay clean."""
    model = toy(4, seed=1)
    broken = {name: jnp.nan * model.weights[name] for name in ("read", "ctc")}
    found = search(how, replace(model, weights=model.weights | broken), batch_of(rng, 5, 3, padding_rows=1))
    assert np.isnan(found.scores_bw[:2, 0]).all()
    assert np.isnan(found.log_probs_bw[:2, 0]).all()
    assert (found.scores_bw[2, 0], found.log_probs_bw[2, 0]) == (0.0, 0.0)
