"""Focus on a part of the utterance: around the previous step, around a predicted place, or a little further each time."""

import math
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.focus import Focus, Softmax
from jaxasr.nn.attention.interface import Memory, Mixing, Weighed
from jaxasr.nn.layers import Dense
from jaxasr.ops.attention.energies import masked_softmax
from jaxasr.ops.attention.local_attention import bell, median, moved_on, near


class WindowState(NamedTuple):
    """Where the last step looked, and what the focus inside carries on."""

    centre_b: Int[Array, " b"]
    inner: Any


class Window(Focus):
    """Another focus, on the positions around those of the previous step only. Its forms are those of the focus inside.

    Before the first step it stands at the beginning. A step that looked nowhere leaves it where it is.

    Source: Chorowski et al. 2015 (1506.07503), section 2.2, and Bahdanau et al. 2016 (1508.04395), section 3.2.
    """

    left: int  # positions before the centre
    right: int  # positions after it
    centre: Literal["median", "peak"] = "median"  # of the previous weights
    inner: Focus = Softmax()

    def __post_init__(self):
        if self.left < 0 or self.right < 1:
            raise ValueError(
                f"Window has left={self.left} and right={self.right}; it needs 0 or more positions to the left and 1 or more "
                "to the right, or it could never move on"
            )
        super().__post_init__()

    @property
    def samples(self) -> int:
        return self.inner.samples

    @property
    def mixing(self) -> Mixing | None:
        return self.inner.mixing

    def prepare(self, hidden_bsd: Float[Array, "b s d"]) -> Any:
        return self.inner.prepare(hidden_bsd)

    def initial_state(self, memory: Memory) -> WindowState:
        return WindowState(jnp.zeros(memory.valid_bs.shape[0], jnp.int32), self.inner.initial_state(memory))

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: WindowState
    ) -> Weighed:
        centre_b = state.centre_b.astype(jnp.float32)
        window_bs = near(centre_b, energy_bs.shape[1], left=self.left, right=self.right)
        seen = replace(memory, valid_bs=memory.valid_bs & window_bs)
        weighed = self.inner(energy_bs, query_bd, seen, state.inner)
        weights_bs = jax.lax.stop_gradient(weighed.weights_bhs[:, 0])
        at_b = median(weights_bs) if self.centre == "median" else jnp.argmax(weights_bs, axis=1).astype(jnp.int32)
        centre_b = jnp.where(jnp.any(weights_bs > 0, axis=1), at_b, state.centre_b)
        return replace(weighed, state=WindowState(centre_b, weighed.state))


class Place(NamedTuple):
    """Where a local focus is. The end is that of the whole utterance, of which a `Window` around it shows a part."""

    at_b: Float[Array, " b"]  # the last place, or the number of the token
    last_b: Float[Array, " b"]  # position of the utterance


class GaussianLocal(Focus):
    """A softmax over a window around a place p of the utterance of S positions, under a bell of width reach / 2.

    "monotonic" (local-m): p is the number of the token times `pace`, and there is no bell. "predicted" (local-p):
    p = S sigmoid(v . tanh(W query)). "advancing": p moves on by softplus(v . tanh(W query) + c) at each token, where c begins
    at such a value that this is about `pace`. No row is renormalised under its bell. One form for both.

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

    def initial_state(self, memory: Memory) -> Place:
        last_b = jnp.maximum(jnp.sum(memory.valid_bs, axis=1, dtype=jnp.float32) - 1.0, 0.0)
        return Place(jnp.zeros_like(last_b), last_b)

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Place
    ) -> Weighed:
        place_b = jnp.minimum(self._place(query_bd, state), state.last_b)
        window_bs = near(place_b, energy_bs.shape[1], left=self.reach, right=self.reach)
        weights_bs = masked_softmax(energy_bs, memory.valid_bs & window_bs)
        if self.centre == "monotonic":
            return Weighed(weights_bs[:, None], state._replace(at_b=state.at_b + 1))
        weights_bs = weights_bs * bell(place_b, energy_bs.shape[1], spread=self.reach / 2)
        return Weighed(weights_bs[:, None], state._replace(at_b=place_b))

    def _place(self, query_bd: Array, state: Place) -> Float[Array, " b"]:
        if self.centre == "monotonic":
            return state.at_b * self.pace
        score_b = self.place(jnp.tanh(self.hidden(query_bd)))[:, 0]
        if self.centre == "predicted":
            return (state.last_b + 1) * jax.nn.sigmoid(score_b)
        return state.at_b + jax.nn.softplus(score_b)


_SUREST = 1 - 1e-6  # of moving: from the last position there is nowhere to go, and what went would be lost for good


class Forward(Focus):
    """Forward attention: the softmax times where one may be who was at the previous weights, made to sum to 1 again.

    From one token to the next it stays or moves on, by up to `reach` positions, all alike. With the "learned" agent a
    logistic function of the query says with which probability it moves. (The paper's agent sees the context, the previous
    output and the query of the step before; here it sees the query that all three have made.) One form for both.

    Before the first step it stands at the first position.

    Source: Zhang et al. 2018 (1807.06736), sections 2.3 and 2.4. There, for synthesis, `reach` is 1.
    """

    reach: int = 1
    agent: Literal["none", "learned"] = "none"

    def __post_init__(self):
        if self.reach < 1:
            raise ValueError(f"Forward.reach is {self.reach}; it must be 1 or more, or it could never move on")
        super().__post_init__()

    def setup(self):
        self.move = Dense(1, result="float32")

    def initial_state(self, memory: Memory) -> Float[Array, "b s"]:
        first_1s = jnp.arange(memory.valid_bs.shape[1])[None] == 0
        return (memory.valid_bs & first_1s).astype(jnp.float32)

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: Float[Array, "b s"]
    ) -> Weighed:
        move_b = None
        if self.agent == "learned":
            move_b = jnp.minimum(jax.nn.sigmoid(self.move(query_bd)[:, 0]), _SUREST)
        prior_bs = moved_on(state, reach=self.reach, move_b=move_b)
        possible_bs = prior_bs > 1e-30  # the logarithm's derivative stays in the range of float32
        energy_bs = energy_bs.astype(jnp.float32) + jnp.log(jnp.where(possible_bs, prior_bs, 1.0))
        weights_bs = masked_softmax(energy_bs, memory.valid_bs & possible_bs)
        return Weighed(weights_bs[:, None], weights_bs)
