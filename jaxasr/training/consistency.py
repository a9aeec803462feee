"""Consistency regularisation of CTC: two differently augmented views of an utterance have to have the same distributions."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxasr.ops.masks import valid_from_lengths
from jaxasr.training.auxiliary import LossInputs, LossOutput
from jaxasr.tree import check_numbers


@dataclass(frozen=True)
class CtcConsistency:
    """The consistency loss of CTC (CR-CTC): the divergence of the CTC distributions of two views of an utterance.

    A training step augments each example twice, with two draws of SpecAugment and dropout; cross-entropy and CTC are means
    over both. The loss is the sum over frames of KL(sg(a) || b) + KL(sg(b) || a), where sg stops the gradient, so each view
    learns from the other. The target tokens count twice, so the paper's weight alpha is `weight` = alpha * ctc_weight here.
    A step costs as much as two examples; the paper halves the batch, and masks 2.5 times as many frames.

    Source: Yao et al. 2025, CR-CTC (2410.05101), section 3.2, equations 3 and 4; alpha is 0.2 there.
    """

    VIEWS: ClassVar[int] = 2
    weight: float

    def __post_init__(self):
        check_numbers(self, not_negative=("weight",))

    @property
    def name(self) -> str:
        """The name of the loss in metrics."""
        return "ctc_consistency"

    def __call__(self, inputs: LossInputs) -> LossOutput:
        """Returns the loss summed over utterances and frames.

        Raises:
            ValueError: the model has no CTC head.
        """
        logits_xsv = inputs.outputs.ctc_logits_bsv
        if logits_xsv is None:
            raise ValueError(
                "objective.auxiliary has CtcConsistency but the model has no CTC head; give model.ctc a CtcHead, or leave "
                "the term out"
            )
        lengths_x = jnp.where(inputs.real_b, inputs.outputs.hidden_lengths_b, 0)
        valid_bs = valid_from_lengths(lengths_x, logits_xsv.shape[1])[:: self.VIEWS]
        log_probs_xsv = jax.nn.log_softmax(logits_xsv.astype(jnp.float32))
        first_bsv, second_bsv = (log_probs_xsv[view :: self.VIEWS] for view in range(self.VIEWS))
        distance_bs = _divergence(first_bsv, second_bsv) + _divergence(second_bsv, first_bsv)
        return LossOutput(jnp.sum(jnp.where(valid_bs, distance_bs, 0.0)), {})


def _divergence(target_bsv: Float[Array, "b s v"], log_probs_bsv: Float[Array, "b s v"]) -> Float[Array, "b s"]:
    """Returns the Kullback-Leibler divergence from a target that gets no gradient."""
    target_bsv = jax.lax.stop_gradient(target_bsv)
    return jnp.sum(jnp.exp(target_bsv) * (target_bsv - log_probs_bsv), axis=-1)
