"""From soft to hard: a focus that is another one at the beginning of training."""

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.attention.focus import Focus
from jaxasr.nn.attention.interface import Memory, Randomness, Weighed


class WarmState(NamedTuple):
    """What each of the two carries on."""

    soft: Any
    hard: Any


class WarmStart(Focus):
    """`soft` in training before step `until`, then `hard`; both with the same energies.

    Training form: soft, then that of `hard`; "ramp" mixes their weights, the share of `hard` growing evenly from 0 to 1.
    Decode form: that of `hard` at any step, so evaluations before `until` tell how far the hard form is from useful. Until
    then the log probabilities and entropies of what `hard` draws count by its share too, and its baseline learns already.

    A hard attention is as good as a soft one only when it starts from it: in RETURNN's public scores (Zeyer et al. 2021,
    2103.16710, Switchboard 300 h) 14.4 % against 14.3 to 14.4 %, but 15.8 % from scratch.
    """

    soft: Focus
    hard: Focus
    until: int  # steps of training
    change: Literal["switch", "ramp"] = "switch"

    def __post_init__(self):
        if self.until < 1:
            raise ValueError(f"WarmStart.until is {self.until}; it is a step of training and must be 1 or more")
        if self.soft.samples != 1 or self.soft.mixing is not None or self.hard.mixing is not None:
            raise ValueError(
                f"WarmStart has soft={type(self.soft).__name__} and hard={type(self.hard).__name__}; soft must "
                "not draw samples, and neither may mix positions in the decoder: there are only weights to change between"
            )
        super().__post_init__()

    @property
    def samples(self) -> int:
        return self.hard.samples

    def prepare(self, hidden_bsd: Float[Array, "b s d"]) -> WarmState:
        return WarmState(self.soft.prepare(hidden_bsd), self.hard.prepare(hidden_bsd))

    def initial_state(self, memory: Memory) -> WarmState:
        soft = () if memory.training is None else self.soft.initial_state(_own(memory, memory.focus.soft))
        return WarmState(soft, self.hard.initial_state(_own(memory, memory.focus.hard)))

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: WarmState
    ) -> Weighed:
        soft_memory = _own(memory, memory.focus.soft)
        if self.is_initializing():
            self.soft(energy_bs, query_bd, soft_memory, self.soft.initial_state(soft_memory))
        hard = self.hard(energy_bs, query_bd, _own(memory, memory.focus.hard), state.hard)
        if memory.training is None:
            return replace(hard, state=WarmState((), hard.state))
        soft = self.soft(energy_bs, query_bd, soft_memory, state.soft)
        share = self._share(memory.training)
        draw = hard.draw and replace(
            hard.draw, log_probs_bu=share * hard.draw.log_probs_bu, entropies_bu=share * hard.draw.entropies_bu
        )
        weights_bhs = (1 - share) * soft.weights_bhs + share * hard.weights_bhs
        return Weighed(weights_bhs, WarmState(soft.state, hard.state), draw)

    @property
    def lookback(self) -> int:
        return self.hard.lookback

    def stopped(self, state: WarmState) -> Int[Array, " b"]:
        return self.hard.stopped(state.hard)

    def moved(self, state: WarmState, by_b: Int[Array, " b"]) -> WarmState:
        return state._replace(hard=self.hard.moved(state.hard, by_b))

    def _share(self, training: Randomness) -> Float[Array, ""]:
        """How much of `hard` there is at this step."""
        done = training.step.astype(jnp.float32) / self.until
        return jnp.floor(jnp.minimum(done, 1.0)) if self.change == "switch" else jnp.minimum(done, 1.0)


def _own(memory: Memory, focus: Any) -> Memory:
    """The memory as one of the two sees it."""
    return replace(memory, focus=focus)
