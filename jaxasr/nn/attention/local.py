"""Local alignment functions: around the previous step, around a predicted position, or forward by a few positions a token."""

import math
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.alignment import AlignmentFn, Softmax
from jaxasr.nn.attention.interface import AttentionOutput, Marginalisation, Memory
from jaxasr.nn.layers import Dense
from jaxasr.ops.attention.energies import masked_softmax
from jaxasr.ops.attention.local_attention import bell, median, moved_on, near


class WindowState(NamedTuple):
    """The centre of the last step's weights, and the state of the inner alignment function."""

    centre_b: Int[Array, " b"]
    inner: Any


class WindowedFocus(AlignmentFn):
    """A window around the positions of the previous step, to which the alignment function `inner` is limited.

    Before the first step the window's centre is the first position. A step whose weights are all zero does not move it.
    Training and decode form are those of `inner`.

    Source: Chorowski et al. 2015 (1506.07503), section 2.2, and Bahdanau et al. 2016 (1508.04395), section 3.2.
    """

    left: int  # positions before the centre
    right: int  # positions after it
    centre: Literal["median", "peak"] = "median"  # of the previous weights
    inner: AlignmentFn = Softmax()

    def __post_init__(self):
        if self.left < 0 or self.right < 1:
            raise ValueError(
                f"WindowedFocus has left={self.left} and right={self.right}; it needs 0 or more positions to the left and 1 "
                "or more to the right, or it could never move on"
            )
        super().__post_init__()

    @property
    def samples(self) -> int:
        return self.inner.samples

    @property
    def marginalisation(self) -> Marginalisation | None:
        return self.inner.marginalisation

    def prepare(self, hidden_bsd: Float[Array, "b s d"]) -> Any:
        return self.inner.prepare(hidden_bsd)

    def initial_state(self, memory: Memory) -> WindowState:
        return WindowState(jnp.zeros(memory.valid_bs.shape[0], jnp.int32), self.inner.initial_state(memory))

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: WindowState
    ) -> AttentionOutput:
        centre_b = state.centre_b.astype(jnp.float32)
        window_bs = near(centre_b, energy_bs.shape[1], left=self.left, right=self.right)
        windowed = replace(memory, valid_bs=memory.valid_bs & window_bs)
        output = self.inner(energy_bs, query_bd, windowed, state.inner)
        weights_bs = jax.lax.stop_gradient(output.weights_bhs[:, 0])
        at_b = median(weights_bs) if self.centre == "median" else jnp.argmax(weights_bs, axis=1).astype(jnp.int32)
        centre_b = jnp.where(jnp.any(weights_bs > 0, axis=1), at_b, state.centre_b)
        return replace(output, state=WindowState(centre_b, output.state))


class LocalPosition(NamedTuple):
    """The state of `GaussianLocal`. Its end is that of the whole utterance, also inside a `WindowedFocus`."""

    at_b: Float[Array, " b"]  # the last centre, or the number of the token
    last_b: Float[Array, " b"]  # the last position of the utterance


class GaussianLocal(AlignmentFn):
    """A softmax over a window around a position p of the utterance of S positions, times a Gaussian of width reach / 2.

    "monotonic" (local-m): p is the number of the token times `pace`, and there is no Gaussian. "predicted" (local-p):
    p = S sigmoid(v . tanh(W query)). "advancing": p advances by softplus(v . tanh(W query) + c) at each token, and c is
    initialised so that this is about `pace`. Rows are not renormalised after the Gaussian. Both forms are equal.

    Source: Luong et al. 2015 (1508.04025), section 3.2; advancing as in Tjandra et al. 2017 (1705.08091), section 3.1.
    """

    reach: int  # positions on each side of p
    width: int  # of the hidden layer that predicts p
    centre: Literal["monotonic", "predicted", "advancing"] = "predicted"
    pace: float = 1.0  # positions a token

    def __post_init__(self):
        if self.reach < 1 or self.width < 1 or not self.pace > 0:
            raise ValueError(
                f"GaussianLocal has reach={self.reach}, width={self.width} and pace={self.pace}; each must be more than 0"
            )
        if self.centre == "predicted" and self.pace != 1.0:
            raise ValueError(
                f"GaussianLocal has pace={self.pace} and centre='predicted', which has none; leave pace out, or take "
                "centre='advancing'"
            )
        super().__post_init__()

    def setup(self):
        begin = math.log(math.expm1(self.pace)) if self.centre == "advancing" else 0.0
        self.hidden = Dense(self.width, use_bias=False)
        bias = nn.initializers.constant(begin)
        self.place = Dense(1, use_bias=self.centre == "advancing", bias_init=bias, result="float32")

    def initial_state(self, memory: Memory) -> LocalPosition:
        last_b = jnp.maximum(jnp.sum(memory.valid_bs, axis=1, dtype=jnp.float32) - 1.0, 0.0)
        return LocalPosition(jnp.zeros_like(last_b), last_b)

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: LocalPosition
    ) -> AttentionOutput:
        place_b = jnp.minimum(self._place(query_bd, state), state.last_b)
        window_bs = near(place_b, energy_bs.shape[1], left=self.reach, right=self.reach)
        weights_bs = masked_softmax(energy_bs, memory.valid_bs & window_bs)
        if self.centre == "monotonic":
            return AttentionOutput(weights_bs[:, None], state._replace(at_b=state.at_b + 1))
        weights_bs = weights_bs * bell(place_b, energy_bs.shape[1], spread=self.reach / 2)
        return AttentionOutput(weights_bs[:, None], state._replace(at_b=place_b))

    def _place(self, query_bd: Array, state: LocalPosition) -> Float[Array, " b"]:
        if self.centre == "monotonic":
            return state.at_b * self.pace
        score_b = self.place(jnp.tanh(self.hidden(query_bd)))[:, 0]
        if self.centre == "predicted":
            return (state.last_b + 1) * jax.nn.sigmoid(score_b)
        return state.at_b + jax.nn.softplus(score_b)


_MAX_MOVE = 1 - 1e-6  # probability of moving; at the last position a move loses its weight, so 1 would lose all of it


class ForwardAttention(AlignmentFn):
    """A forward attention: the softmax times a prior, the previous weights moved by 0 to `reach` positions, renormalised.

    From one token to the next the position stays or advances by up to `reach`, with equal probabilities. With the "learned"
    agent a logistic function of the query is the probability of a move. The paper's agent reads the context, the previous
    output and the previous step's query; this one reads the query that is computed from all three. Before the first step the
    position is the first one. Training form and decode form are the same.

    Source: Zhang et al. 2018 (1807.06736), sections 2.3 and 2.4. There, for synthesis, `reach` is 1.
    """

    reach: int = 1
    agent: Literal["none", "learned"] = "none"

    def __post_init__(self):
        if self.reach < 1:
            raise ValueError(f"ForwardAttention.reach is {self.reach}; it must be 1 or more, or it could never move on")
        super().__post_init__()

    def setup(self):
        self.move = Dense(1, result="float32")

    def initial_state(self, memory: Memory) -> Float[Array, "b s"]:
        first_1s = jnp.arange(memory.valid_bs.shape[1])[None] == 0
        return (memory.valid_bs & first_1s).astype(jnp.float32)

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Float[Array, "b s"]
    ) -> AttentionOutput:
        move_b = None
        if self.agent == "learned":
            move_b = jnp.minimum(jax.nn.sigmoid(self.move(query_bd)[:, 0]), _MAX_MOVE)
        prior_bs = moved_on(state, reach=self.reach, move_b=move_b)
        possible_bs = prior_bs > 1e-30  # the logarithm's derivative stays in the range of float32
        energy_bs = energy_bs.astype(jnp.float32) + jnp.log(jnp.where(possible_bs, prior_bs, 1.0))
        weights_bs = masked_softmax(energy_bs, memory.valid_bs & possible_bs)
        return AttentionOutput(weights_bs[:, None], weights_bs)
