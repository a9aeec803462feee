"""Alignments watched, in training and at each evaluation; and what is said when an attention has collapsed.

In training the weights are those of the teacher-forced pass over the transcripts, in an evaluation those of the best
hypotheses. An utterance has collapsed if every head has (ops.alignments: nearly as diffuse as can be, or every step on the
same position). From step FROM_STEP on a line says when more than MOST of the utterances have, and when they no longer do.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr import nn
from jaxasr.ops.attention.alignments import alignments
from jaxasr.ops.audio import features
from jaxasr.records import Batch, Hypotheses, Outputs, Sum
from jaxasr.training.step import Criterion
from jaxasr.units import samples_from_ms

FROM_STEP = 1_000  # before it attention is expected to be diffuse
MOST = 0.5  # share of the utterances
COLLAPSED, DIFFUSE = "attention_collapsed", "attention_diffuse"


def with_alignment_metrics(criterion: Criterion) -> Criterion:
    """The criterion, with the sums of `alignment_sums` beside its own, where there are weights; no gradient comes of them."""

    def both(outputs: Outputs, batch: Batch) -> dict[str, Sum]:
        if not outputs.weights_buhs.shape[-1]:  # of a language model
            return criterion(outputs, batch)
        real_b = jnp.asarray(batch.valid_b)
        steps_b = jnp.where(real_b, batch.token_lengths_b + 1, 0)
        samples = (
            outputs.weights_buhs.shape[0] // real_b.shape[0]
        )  # of each example, side by side; the first is watched
        weights_buhs = jax.lax.stop_gradient(outputs.weights_buhs[::samples])
        return criterion(outputs, batch) | alignment_sums(weights_buhs, steps_b, outputs.hidden_lengths_b)

    return both


def alignment_sums(
    weights_buhs: Float[Array, "b u h s"], steps_b: Int[Array, " b"], hidden_lengths_b: Int[Array, " b"]
) -> dict[str, Sum]:
    """The measures of ops.alignments over the utterances that have steps: means over heads, collapsed if all heads are."""
    found = alignments(weights_buhs, steps_b, hidden_lengths_b)
    real_b = (steps_b > 0) & (hidden_lengths_b > 0)
    weight = jnp.sum(real_b).astype(jnp.float32)
    values = {name.removesuffix("_bh"): jnp.mean(each, axis=1) for name, each in found._asdict().items()}
    values["collapsed"] = jnp.all(found.collapsed_bh, axis=1).astype(jnp.float32)
    return {
        f"attention_{name}": Sum(jnp.sum(jnp.where(real_b, each_b, 0.0)), weight) for name, each_b in values.items()
    }


def hypothesis_sums(model: nn.Seq2Seq, hypotheses: Hypotheses, batch: Batch) -> dict[str, Sum]:
    """The same of the best hypotheses; nothing where the search keeps no weights."""
    if not hypotheses.weights_buhs.shape[-1]:
        return {}
    front = model.frontend
    frames_b = features.frame_lengths(
        jnp.asarray(batch.sample_lengths_b),
        window_samples=samples_from_ms(front.window_ms, front.rate_hz),
        hop_samples=samples_from_ms(front.hop_ms, front.rate_hz),
    )
    steps_b = jnp.where(jnp.asarray(batch.valid_b), hypotheses.token_lengths_bw[:, 0], 0)
    return alignment_sums(hypotheses.weights_buhs, steps_b, -(-frames_b // model.encoder.stride))


class AttentionCollapseMonitor:
    """Says when an attention has collapsed, and when it has recovered: once each time, for training and evaluation."""

    def __init__(self) -> None:
        self._collapsed = dict[str, bool]()

    def lines(self, step: int, metrics: Mapping[str, int | float]) -> list[str]:
        """What a line of metrics gives to say, by the places ("train", "validation") that it has measures of."""
        said = [] if step < FROM_STEP else [self._line(step, place, metrics) for place in ("train", "validation")]
        return [line for line in said if line]

    def _line(self, step: int, place: str, metrics: Mapping[str, int | float]) -> str:
        share = metrics.get(f"{place}/{COLLAPSED}")
        was = self._collapsed.get(place, False)
        if share is None or (share > MOST) == was:
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


def replay_warnings(rows: Sequence[Mapping[str, int | float]], alarm: AttentionCollapseMonitor) -> list[str]:
    """What the lines of a metrics.jsonl would have said."""
    return [line for row in rows for line in alarm.lines(int(row["step"]), row)]
