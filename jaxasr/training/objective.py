"""The training objective: label-smoothed cross-entropy of the attention decoder mixed with CTC, and auxiliary losses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxasr.ops import losses
from jaxasr.ops.masks import valid_from_lengths, zero_tokens
from jaxasr.records import Batch, Hypotheses, Outputs, Sum
from jaxasr.training.auxiliary import AuxiliaryLoss, LossInputs
from jaxasr.training.consistency import CtcConsistency
from jaxasr.training.expected_errors import ExpectedErrors
from jaxasr.tree import check_numbers


@dataclass(frozen=True)
class Objective:
    """The objective base_weight * [(1 - ctc_weight) * cross-entropy + ctc_weight * CTC] + sum of weighted auxiliary losses.

    All are sums over the batch divided by its target tokens: those of the transcripts and the ends. An utterance too short to
    align has no CTC loss; such utterances are counted. A loss of weight 0 is not computed.

    Source: the mix is Kim et al. 2017 (1609.06773), equation 9; label smoothing Szegedy et al. 2016, section 7.
    """

    label_smoothing: float = 0.0
    ctc_weight: float = 0.0
    # distribution of the smoothed probability over tokens; "unigram": that of the training transcripts, set when a run begins
    prior: Literal["uniform", "unigram"] | tuple[float, ...] = "uniform"
    base_weight: float = 1.0  # of cross-entropy and CTC beside `auxiliary`
    auxiliary: tuple[AuxiliaryLoss, ...] = ()

    def __post_init__(self):
        check_numbers(self)
        for name in ("label_smoothing", "ctc_weight"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"objective.{name} is {value}; it must be in [0, 1]")
        if not self.base_weight >= 0.0:
            raise ValueError(f"objective.base_weight is {self.base_weight}; it must be 0 or more")
        if isinstance(self.prior, tuple) and not (min(self.prior) >= 0.0 and abs(sum(self.prior) - 1.0) < 1e-3):
            raise ValueError(
                f"objective.prior has {len(self.prior)} frequencies with sum {sum(self.prior):.4f} and minimum "
                f"{min(self.prior)}; they must be 0 or more and sum to 1"
            )
        names = [term.name for term in self.auxiliary]
        if len(set(names)) < len(names):
            raise ValueError(f"objective.auxiliary has the terms {', '.join(names)}; each may stand there once")

    @property
    def search(self) -> Callable[[Any, Batch], Hypotheses] | None:
        """The search for the n best that `ExpectedErrors` needs; None if no auxiliary loss needs one."""
        searches = [term.search for term in self.auxiliary if isinstance(term, ExpectedErrors) and term.weight > 0.0]
        return searches[0] if searches else None

    @property
    def views(self) -> int:
        """The differently augmented copies of each example, in adjacent rows, that the auxiliary losses compare."""
        compared = [term.VIEWS for term in self.auxiliary if isinstance(term, CtcConsistency) and term.weight > 0.0]
        return max(compared, default=1)

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Sum]:
        """Returns sums by name; "loss" is the one to minimise. Padding rows do not count."""
        inputs, correct_xu = self._loss_inputs(outputs, batch)
        targets = jnp.sum(inputs.token_lengths_b + inputs.real_b).astype(jnp.float32)
        sums = {
            "cross_entropy": Sum(inputs.sum(inputs.losses_xu), targets),
            "accuracy": Sum(inputs.sum(correct_xu.astype(jnp.float32)), targets),
        }
        loss = inputs.cross_entropy_weight * sums["cross_entropy"].value
        if self.ctc_weight > 0.0:
            ctc = self._ctc(outputs, batch)
            sums |= ctc
            loss = loss + self.base_weight * self.ctc_weight * ctc["ctc"].value
        for term in self.auxiliary:
            if term.weight > 0.0:
                output = term(inputs)
                sums |= {term.name: Sum(output.value, targets), **output.metrics}
                loss = loss + term.weight * output.value
        return sums | {"loss": Sum(loss, targets)}

    def _loss_inputs(self, outputs: Outputs, batch: Batch) -> tuple[LossInputs, Bool[Array, "x u"]]:
        real_b = jnp.asarray(batch.valid_b)
        samples = outputs.logits_buv.shape[0] // real_b.shape[0]
        lengths_b = jnp.where(real_b, batch.token_lengths_b, 0)
        tokens_bu = zero_tokens(jnp.asarray(batch.tokens_bu), lengths_b)
        targets_xu = jnp.repeat(jnp.pad(tokens_bu, ((0, 0), (0, 1))), samples, axis=0)
        valid_xu = valid_from_lengths(jnp.repeat(lengths_b + real_b, samples), targets_xu.shape[1])
        entropy = losses.label_smoothed_cross_entropy(
            outputs.logits_buv, targets_xu, valid_xu, smoothing=self.label_smoothing, prior_v=self._prior()
        )
        weight = self.base_weight * (1.0 - self.ctc_weight)
        inputs = LossInputs(outputs, entropy.loss_bu, weight, valid_xu, tokens_bu, lengths_b, real_b)
        return inputs, entropy.correct_bu

    def _prior(self) -> Float[Array, " v"] | None:
        if self.prior == "unigram":
            raise ValueError(
                'objective.prior is "unigram", which is measured when a run begins; give the frequencies themselves here'
            )
        return None if self.prior == "uniform" or self.label_smoothing == 0.0 else jnp.asarray(self.prior, jnp.float32)

    def _ctc(self, outputs: Outputs, batch: Batch) -> dict[str, Sum]:
        if outputs.ctc_logits_bsv is None:
            raise ValueError(
                f"objective.ctc_weight is {self.ctc_weight} but the model has no CTC head; give model.ctc a CtcHead or "
                "set objective.ctc_weight=0"
            )
        real_b = jnp.asarray(batch.valid_b)
        hidden_lengths_b, token_lengths_b = (
            jnp.where(real_b, lengths_b, 0) for lengths_b in (outputs.hidden_lengths_b, batch.token_lengths_b)
        )
        tokens_bu = jnp.asarray(batch.tokens_bu)
        ctc = losses.ctc_loss(outputs.ctc_logits_bsv, hidden_lengths_b, tokens_bu, token_lengths_b)
        aligned_b = ctc.aligned_b & real_b
        tokens = jnp.sum(jnp.where(aligned_b, batch.token_lengths_b + 1, 0)).astype(jnp.float32)
        short = jnp.sum(real_b & ~ctc.aligned_b).astype(jnp.float32)
        return {
            "ctc": Sum(jnp.sum(jnp.where(aligned_b, ctc.loss_b, 0.0)), tokens),
            "too_short_for_ctc": Sum(short, jnp.sum(real_b).astype(jnp.float32)),
        }
