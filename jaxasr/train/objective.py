"""What training minimises: label-smoothed cross-entropy of the attention decoder and CTC, in a stated mix."""

from dataclasses import dataclass

import jax.numpy as jnp

from jaxasr.ops import losses
from jaxasr.ops.masks import valid_from_lengths
from jaxasr.records import Batch, Outputs, Sum


@dataclass(frozen=True)
class Objective:
    """(1 - ctc_weight) * cross-entropy + ctc_weight * CTC, both sums over the batch divided by its target tokens.

    Target tokens are those of the transcript and the end. An utterance too short to align has no CTC term; it is counted.

    Source: the mix is Kim et al. 2017 (1609.06773), equation 9; label smoothing Szegedy et al. 2016, section 7.
    """

    label_smoothing: float = 0.0
    ctc_weight: float = 0.0

    def __post_init__(self):
        for name in ("label_smoothing", "ctc_weight"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"objective.{name} is {value}; it must be in [0, 1]")

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Sum]:
        """Sums by name; "loss" is the one to minimise. Rows that are padding count nothing."""
        real_b = jnp.asarray(batch.valid_b)
        lengths_b = jnp.where(real_b, batch.token_lengths_b + 1, 0)
        targets_bu = jnp.pad(jnp.asarray(batch.tokens_bu), ((0, 0), (0, 1)))
        valid_bu = valid_from_lengths(lengths_b, targets_bu.shape[1])
        targets = jnp.sum(lengths_b).astype(jnp.float32)
        entropy = losses.label_smoothed_cross_entropy(
            outputs.logits_buv, targets_bu, valid_bu, smoothing=self.label_smoothing
        )
        sums = {
            "cross_entropy": Sum(jnp.sum(entropy.loss_b), targets),
            "accuracy": Sum(jnp.sum(entropy.correct_b).astype(jnp.float32), targets),
        }
        loss = (1.0 - self.ctc_weight) * sums["cross_entropy"].value
        if self.ctc_weight > 0.0:
            ctc = self._ctc(outputs, batch)
            sums |= ctc
            loss = loss + self.ctc_weight * ctc["ctc"].value
        return sums | {"loss": Sum(loss, targets)}

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
