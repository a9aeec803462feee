"""Hard alignment functions: they read one position a token, which is a random variable in training.

There are three ways to train them. `HardAttention` draws a position and trains by score-function gradients. `GumbelSoftmax`
draws from a continuous relaxation, through which gradients pass. `LatentAttention` sums over the likeliest positions, or
takes their maximum. In a search the first two read the likeliest position, and `LatentAttention` is as in training.
"""

from dataclasses import field
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxasr.nn.attention.alignment import AlignmentFn
from jaxasr.nn.attention.interface import AttentionOutput, Marginalisation, Memory, Mixture, Randomness
from jaxasr.nn.layers import Dense
from jaxasr.nn.schedule import ScalarOrSchedule, value_at
from jaxasr.ops import random
from jaxasr.ops.attention.energies import masked_softmax
from jaxasr.ops.attention.mixture import masked_log_softmax
from jaxasr.records import Draws

Position = Int[Array, " b"]  # of the transcript


class _HardAlignment(AlignmentFn):
    """The base of drawn alignments: the state counts positions of the transcript, and the decode form is the arg max."""

    def initial_state(self, memory: Memory) -> Position:
        return jnp.zeros(memory.valid_bs.shape[0], jnp.int32)


class HardAttention(_HardAlignment):
    """A hard attention: one position, drawn from the softmax of the energies, has all the weight.

    Training form: `samples` draws an example, with the numbers that a score-function gradient needs (`Draws`). No gradient
    passes through the weights, so the energies train only if the objective has a `training.Reinforce`. The baseline is a
    linear function of the query; no gradient passes from it to the query. Decode form: the likeliest position.

    Source: Xu et al. 2015 (1502.03044), section 4.1; the baseline by query is that of Mnih et al. 2014 (1406.6247).
    """

    samples: int = field(default=1)  # draws an example

    def __post_init__(self):
        if self.samples < 1:
            raise ValueError(f"HardAttention.samples is {self.samples}; it must be 1 or more")
        super().__post_init__()

    def setup(self):
        self.baseline = Dense(1, result="float32")

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Position
    ) -> AttentionOutput:
        baseline_b1 = self.baseline(jax.lax.stop_gradient(query_bd))
        if memory.training is None:
            return AttentionOutput(likeliest(energy_bs, memory.valid_bs)[:, None], state + 1)
        log_probs_bs = masked_log_softmax(energy_bs, memory.valid_bs)
        noisy_bs = log_probs_bs + _noise(memory.training, state, energy_bs.shape[1])
        weights_bs = likeliest(noisy_bs, memory.valid_bs)
        drawn_b = jnp.sum(log_probs_bs * weights_bs, axis=-1)
        entropy_b = -jnp.sum(jnp.exp(log_probs_bs) * log_probs_bs, axis=-1)
        draws = Draws(drawn_b[:, None], baseline_b1, entropy_b[:, None])
        return AttentionOutput(weights_bs[:, None], state + 1, draws)


class GumbelSoftmax(_HardAlignment):
    """The weights softmax((energy + Gumbel noise) / temperature), which approach one position as the temperature falls.

    Training form: these weights, or with "straight-through" their likeliest position with their gradient. Decode form: the
    likeliest position.

    Source: Jang et al. 2017 (1611.01144), equation 2 and section 2.2.
    """

    temperature: ScalarOrSchedule = 1.0  # a number, or a schedule by steps of training
    form: Literal["soft", "straight-through"] = "straight-through"

    def __post_init__(self):
        if not callable(self.temperature) and not self.temperature > 0:
            raise ValueError(f"GumbelSoftmax.temperature is {self.temperature}; it must be more than 0")
        super().__post_init__()

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Position
    ) -> AttentionOutput:
        if memory.training is None:
            return AttentionOutput(likeliest(energy_bs, memory.valid_bs)[:, None], state + 1)
        noisy_bs = energy_bs + _noise(memory.training, state, energy_bs.shape[1])
        soft_bs = masked_softmax(noisy_bs / value_at(self.temperature, memory.training.step), memory.valid_bs)
        if self.form == "soft":
            return AttentionOutput(soft_bs[:, None], state + 1)
        hard_bs = likeliest(noisy_bs, memory.valid_bs)
        return AttentionOutput((hard_bs + (soft_bs - jax.lax.stop_gradient(soft_bs)))[:, None], state + 1)


class LatentAttention(AlignmentFn):
    """A latent alignment: the decoder reads each of the likeliest positions and mixes its token probabilities.

    p(token) = sum over positions s of a_s p(token | s), where a is the softmax of the energies over the `best` positions. Its
    cross-entropy is the marginal likelihood, exact if `best` covers the utterance. "max" takes the largest term in place of
    the sum (the Viterbi approximation), renormalised over the tokens so that it is a distribution. Training form and decode
    form are the same. The decoder's next state depends on the likeliest position alone.

    Only a decoder that steps, a `Speller`, can mix. Its layers above the first read the likeliest position.

    Source: Shankar et al. 2018, Surprisingly Easy Hard-Attention for Sequence to Sequence Learning, section 3, top-k; Wu et
    al. 2018 (1808.10024), the exact sum; the maximum: Zeyer et al. 2021 (2103.16710), without its alignment search.
    """

    best: int = 4  # positions that are mixed
    over: Marginalisation = "sum"

    def __post_init__(self):
        if self.best < 1:
            raise ValueError(f"LatentAttention.best is {self.best}; it must be 1 or more")
        super().__post_init__()

    @property
    def marginalisation(self) -> Marginalisation:
        return self.over

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: tuple[()]
    ) -> AttentionOutput:
        masked_bs = jnp.where(memory.valid_bs, energy_bs.astype(jnp.float32), -jnp.inf)
        _, positions_bw = jax.lax.top_k(jax.lax.stop_gradient(masked_bs), min(self.best, energy_bs.shape[1]))
        valid_bw = jnp.take_along_axis(memory.valid_bs, positions_bw, axis=1)
        log_probs_bw = masked_log_softmax(jnp.take_along_axis(energy_bs, positions_bw, axis=1), valid_bw)
        mixture = Mixture(positions_bw, valid_bw, log_probs_bw)
        return AttentionOutput(likeliest(energy_bs, memory.valid_bs)[:, None], state, mixture=mixture)


def likeliest(energy_bs: Float[Array, "b s"], valid_bs: Bool[Array, "b s"]) -> Float[Array, "b s"]:
    """Returns weight 1 at the valid position of the highest energy, the first of equals; zeros where none is valid."""
    masked_bs = jnp.where(valid_bs, energy_bs.astype(jnp.float32), -jnp.inf)
    best_bs = jnp.argmax(masked_bs, axis=-1)[:, None] == jnp.arange(energy_bs.shape[1])[None]
    return (best_bs & valid_bs).astype(jnp.float32)


def _noise(training: Randomness, position_b: Position, positions: int) -> Float[Array, "b s"]:
    return random.gumbel(training.uniform(position_b, (positions,)))
