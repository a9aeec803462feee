"""Attention metrics in training and at each evaluation, and warnings when an attention has collapsed.

In training the weights come from the teacher-forced pass over the transcripts, in an evaluation from the best hypotheses. An
utterance has collapsed if all of its heads have: their weights are nearly uniform, or every step is on the same position
(ops.attention.alignments). From step FROM_STEP on, a line warns when more than COLLAPSE_SHARE of the utterances have
collapsed, and another reports when they have recovered.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr import nn
from jaxasr.ops.attention.alignments import alignments
from jaxasr.records import Batch, Hypotheses, Outputs, Sum
from jaxasr.training.step import Criterion

FROM_STEP = 1_000  # attention is expected to be diffuse before
COLLAPSE_SHARE = 0.5  # share of the utterances
COLLAPSED = "attention_collapsed"
DIFFUSE = "attention_diffuse"


def with_alignment_metrics(criterion: Criterion) -> Criterion:
    """Returns the criterion with the sums of `alignment_sums` added, where the model has weights. They have no gradient."""

    def both(outputs: Outputs, batch: Batch) -> dict[str, Sum]:
        if not outputs.weights_buhs.shape[-1]:  # a language model
            return criterion(outputs, batch)
        real_b = jnp.asarray(batch.valid_b)
        steps_b = jnp.where(real_b, batch.token_lengths_b + 1, 0)
        # samples of one example lie side by side; the metrics are those of the first
        samples = outputs.weights_buhs.shape[0] // real_b.shape[0]
        weights_buhs = jax.lax.stop_gradient(outputs.weights_buhs[::samples])
        return criterion(outputs, batch) | alignment_sums(weights_buhs, steps_b, outputs.hidden_lengths_b)

    return both


def alignment_sums(
    weights_buhs: Float[Array, "b u h s"], steps_b: Int[Array, " b"], hidden_lengths_b: Int[Array, " b"]
) -> dict[str, Sum]:
    """Returns the alignment measures summed over the utterances that have steps.

    Measures are means over heads; an utterance is collapsed if all of its heads are.
    """
    found = alignments(weights_buhs, steps_b, hidden_lengths_b)
    real_b = (steps_b > 0) & (hidden_lengths_b > 0)
    weight = jnp.sum(real_b).astype(jnp.float32)
    values = {name.removesuffix("_bh"): jnp.mean(value_bh, axis=1) for name, value_bh in found._asdict().items()}
    values["collapsed"] = jnp.all(found.collapsed_bh, axis=1).astype(jnp.float32)
    return {
        f"attention_{name}": Sum(jnp.sum(jnp.where(real_b, value_b, 0.0)), weight) for name, value_b in values.items()
    }


def hypothesis_sums(model: nn.Seq2Seq, hypotheses: Hypotheses, batch: Batch) -> dict[str, Sum]:
    """Returns the sums of `alignment_sums` for the best hypotheses; empty where the search keeps no weights."""
    if not hypotheses.weights_buhs.shape[-1]:
        return {}
    frames_b = model.frontend.frame_lengths(jnp.asarray(batch.sample_lengths_b))
    steps_b = jnp.where(jnp.asarray(batch.valid_b), hypotheses.token_lengths_bw[:, 0], 0)
    return alignment_sums(hypotheses.weights_buhs, steps_b, -(-frames_b // model.encoder.stride))


class AttentionCollapseMonitor:
    """A monitor that warns once when an attention collapses and once when it recovers, in training and in evaluation."""

    def __init__(self) -> None:
        self._collapsed = dict[str, bool]()

    def warnings(self, step: int, metrics: Mapping[str, int | float]) -> list[str]:
        """Returns the warnings for a line of metrics, at most one for "train" and one for "validation"."""
        if step < FROM_STEP:
            return []
        return [line for place in ("train", "validation") if (line := self._line(step, place, metrics))]

    def _line(self, step: int, place: str, metrics: Mapping[str, int | float]) -> str:
        share = metrics.get(f"{place}/{COLLAPSED}")
        was = self._collapsed.get(place, False)
        if share is None or (share > COLLAPSE_SHARE) == was:
            return ""
        self._collapsed[place] = not was
        if was:
            return f"step {step:,}: the attention of {place} has recovered: {share:.0%} of its utterances are collapsed"
        return (
            f"step {step:,}: WARNING: the attention of {place} has collapsed in {share:.0%} of its utterances: every head is "
            f"spread over all positions or stays on one (mean entropy {metrics[f'{place}/{DIFFUSE}']:.0%} of the largest). "
            "If it does not recover: a lower or later peak of the learning rate, more weight for CTC, or shorter "
            "utterances first"
        )


def replay_warnings(rows: Sequence[Mapping[str, int | float]], monitor: AttentionCollapseMonitor) -> list[str]:
    """Returns the warnings of all lines of a metrics.jsonl, and brings the monitor to the state after them."""
    return [line for row in rows for line in monitor.warnings(int(row["step"]), row)]
