"""Warm starts: an alignment function that trains as a soft one first and as a hard one later."""

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxasr.nn.attention.alignment import AlignmentFn
from jaxasr.nn.attention.interface import AttentionOutput, Memory, Randomness


class WarmState(NamedTuple):
    """The states of the two alignment functions."""

    soft: Any
    hard: Any


class WarmStart(AlignmentFn):
    """An alignment function that is `soft` in training before step `until`, then `hard`, with the same energies.

    Training form: that of `soft`, then that of `hard`. "ramp" mixes their weights: the share of `hard` grows linearly from 0
    to 1. Decode form: that of `hard` at any step, so evaluations before `until` measure how good the hard form is already.
    While the share of `hard` is 0, its draws have no effect, and their log probabilities are 0. Above 0 they are not scaled:
    the gradient of an expectation over draws has their whole score function, however the draw enters the weights. The
    entropies, for which the objective may have a reward, are scaled by the share. The baseline is trained from the first
    step.

    A hard attention equals a soft one only when it starts from it. RETURNN's public scores (Zeyer et al. 2021, 2103.16710,
    Switchboard 300 h) are 14.4 % against 14.3 to 14.4 % for soft attention, but 15.8 % from scratch.
    """

    soft: AlignmentFn
    hard: AlignmentFn
    until: int  # steps of training
    change: Literal["switch", "ramp"] = "switch"

    def __post_init__(self):
        if self.until < 1:
            raise ValueError(f"WarmStart.until is {self.until}; it is a step of training and must be 1 or more")
        if self.soft.samples != 1 or self.soft.marginalisation is not None or self.hard.marginalisation is not None:
            raise ValueError(
                f"WarmStart has soft={type(self.soft).__name__} and hard={type(self.hard).__name__}; soft must "
                "not draw samples, and neither may mix positions in the decoder: there are only weights to change between"
            )
        super().__post_init__()

    @property
    def samples(self) -> int:
        """The draws of each example, those of `hard`."""
        return self.hard.samples

    def prepare(self, hidden_bsd: Float[Array, "b s d"]) -> WarmState:
        """Returns the prepared encoder output of both."""
        return WarmState(self.soft.prepare(hidden_bsd), self.hard.prepare(hidden_bsd))

    def initial_state(self, memory: Memory) -> WarmState:
        """Returns the states before the first step; in decode form that of `soft` is empty."""
        soft = () if memory.training is None else self.soft.initial_state(_own(memory, memory.focus.soft))
        return WarmState(soft, self.hard.initial_state(_own(memory, memory.focus.hard)))

    def __call__(
        self, energy_bs: Float[Array, "b s"], query_bd: Float[Array, "b d"], memory: Memory, state: WarmState
    ) -> AttentionOutput:
        """Returns the weights of one head, as in `AlignmentFn`."""
        soft_memory = _own(memory, memory.focus.soft)
        if self.is_initializing():
            self.soft(energy_bs, query_bd, soft_memory, self.soft.initial_state(soft_memory))
        hard = self.hard(energy_bs, query_bd, _own(memory, memory.focus.hard), state.hard)
        if memory.training is None:
            return replace(hard, state=WarmState((), hard.state))
        soft = self.soft(energy_bs, query_bd, soft_memory, state.soft)
        share = self._share(memory.training)
        draw = hard.draw and replace(
            hard.draw,
            log_probs_bu=jnp.where(share > 0, hard.draw.log_probs_bu, 0),
            entropies_bu=share * hard.draw.entropies_bu,
        )
        weights_bhs = (1 - share) * soft.weights_bhs + share * hard.weights_bhs
        return AttentionOutput(weights_bhs, WarmState(soft.state, hard.state), draw)

    def _share(self, training: Randomness) -> Float[Array, ""]:
        """Returns the share of `hard` at this step, in [0, 1]."""
        done = training.step.astype(jnp.float32) / self.until
        return jnp.floor(jnp.minimum(done, 1.0)) if self.change == "switch" else jnp.minimum(done, 1.0)


def _own(memory: Memory, focus: Any) -> Memory:
    """Returns the memory with the prepared output of one of the two."""
    return replace(memory, focus=focus)
