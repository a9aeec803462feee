"""What a beam adds up per token: the model's log probability, the end threshold, and the CTC prefix score beside it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.decode import ctc_prefix
from jaxasr.records import END, Decodable, Start, Step


@dataclass(frozen=True)
class Scorer:
    """An opened step function: its memory, its first state, and the step from a previous token to the next."""

    memory: Any
    state: Any
    step: Callable[[Any, Any, Int[Array, " b"]], Step]


def joint(decodable: Decodable, start: Start, *, ctc_weight: float, end_threshold: float | None) -> Scorer:
    """The model as it scores alone, or together with its CTC head: (1 - ctc_weight) attention + ctc_weight CTC.

    Raises:
        ValueError: ctc_weight > 0 and the model has no CTC head.

    Source: Watanabe et al. 2017, "Hybrid CTC/attention architecture", equations 46 to 49.
    """

    def attend(memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> Step:
        step = decodable.step(memory, state, tokens_b)
        return replace(step, log_probs_bv=step.log_probs_bv.astype(jnp.float32))

    def attend_alone(memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> Step:
        step = attend(memory, state, tokens_b)
        return replace(step, log_probs_bv=_hold_end(step.log_probs_bv, step.log_probs_bv, end_threshold))

    def attend_with_ctc(memory: Any, state: Any, tokens_b: Int[Array, " b"]) -> Step:
        step = attend(memory[0], state[0], tokens_b)
        ctc_bv, ctc_state = ctc_prefix.step(memory[1], state[1], tokens_b)
        joint_bv = ctc_bv if ctc_weight == 1 else (1 - ctc_weight) * step.log_probs_bv + ctc_weight * ctc_bv
        joint_bv = _hold_end(joint_bv, step.log_probs_bv, end_threshold)
        return replace(step, log_probs_bv=joint_bv, state=(step.state, ctc_state))

    if ctc_weight == 0:
        return Scorer(start.memory, start.state, attend_alone)
    if start.ctc_log_probs_bsv is None:
        raise ValueError(
            f"ctc_weight is {ctc_weight}, but the model has no CTC head: give it one, or set ctc_weight=0.0"
        )
    ctc_memory, ctc_state = ctc_prefix.begin(start.ctc_log_probs_bsv, start.hidden_lengths_b)
    return Scorer((start.memory, ctc_memory), (start.state, ctc_state), attend_with_ctc)


def _hold_end(
    scores_bv: Float[Array, "b v"], model_bv: Float[Array, "b v"], threshold: float | None
) -> Float[Array, "b v"]:
    """Forbids the end where the model does not mean it: log p(end) <= threshold * log p(best other).

    Where nothing else can follow, the end stays. Source: Hannun et al. 2019, arXiv:1904.02619, section 3.2.
    """
    if threshold is None:
        return scores_bv
    others_bv = model_bv.at[:, END].set(-jnp.inf)
    meant_b = model_bv[:, END] > threshold * jnp.max(others_bv, axis=-1)
    alone_b = jnp.all(scores_bv.at[:, END].set(-jnp.inf) == -jnp.inf, axis=-1)
    return scores_bv.at[:, END].set(jnp.where(meant_b | alone_b, scores_bv[:, END], -jnp.inf))
