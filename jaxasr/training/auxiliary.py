"""Auxiliary losses beside cross-entropy and CTC, each a frozen value with a weight.

An auxiliary loss maps the outputs of the model to a sum over the examples of a batch. All sums are divided by the target
tokens of the batch, so a weight is relative to the cross-entropy of an utterance, whatever weight the objective gives that.
Only `Reinforce`, a part of the cross-entropy's gradient, is multiplied by the weight of the cross-entropy too.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxasr.ops.attention.integrate_and_fire import count_loss
from jaxasr.ops.attention.monotonic import expected_position, quantity_loss
from jaxasr.ops.ctc_alignment import ctc_alignment
from jaxasr.ops.masks import zero_padding
from jaxasr.records import Outputs, Sum
from jaxasr.tree import check_numbers


@dataclass(frozen=True)
class LossInputs:
    """The inputs of an auxiliary loss. With m attention samples per example, side by side, there are x = m * b rows."""

    outputs: Outputs
    losses_xu: Float[Array, "x u"]  # cross-entropy per target token, with the objective's label smoothing
    cross_entropy_weight: float  # of these losses in the objective: base_weight * (1 - ctc_weight)
    valid_xu: Bool[Array, "x u"]
    tokens_bu: Int[Array, "b k"]  # the transcript, without the end
    token_lengths_b: Int[Array, " b"]  # 0 for padding rows
    real_b: Bool[Array, " b"]  # False: a padding row

    @property
    def samples(self) -> int:
        """The number of rows per example."""
        return self.losses_xu.shape[0] // self.real_b.shape[0]

    def by_row(self, leaf_b: Array) -> Array:
        """Repeats a value per example for each of its rows."""
        return jnp.repeat(leaf_b, self.samples, axis=0)

    def sum(self, leaf: Float[Array, "x ..."]) -> Float[Array, ""]:
        """Returns the sum over examples of the mean over their samples, in float32."""
        return jnp.sum(leaf.astype(jnp.float32)) / self.samples


class LossOutput(NamedTuple):
    """The result of an auxiliary loss: its sum over the batch, before the weight, and other sums for the metrics, by name."""

    value: Float[Array, ""]
    metrics: dict[str, Sum]


@runtime_checkable
class AuxiliaryLoss(Protocol):
    """A loss that is minimised beside cross-entropy and CTC."""

    @property
    def weight(self) -> float: ...

    @property
    def name(self) -> str:
        """The name of its sum in the metrics."""
        ...

    def __call__(self, inputs: LossInputs) -> LossOutput: ...


@dataclass(frozen=True)
class Reinforce:
    """The score-function loss of a sampled attention: - sum_u (reward_u - baseline_u) log p(position_u).

    The reward is the log probability of the targets, with label smoothing. With credit "rest" it covers token u and all after
    it, which gives an unbiased gradient of the expected cross-entropy. With "token" it covers token u alone, which has less
    variance and ignores the effect of the position on later decoder states. The baseline is fitted to the reward by least
    squares. A small reward for entropy delays early convergence of the positions. With several samples per example the
    gradient is their mean.

    The whole loss is multiplied by the weight of the cross-entropy in the objective, base_weight * (1 - ctc_weight). So at
    `weight` 1 the gradient is that of the objective whatever its CTC weight is. The effect of the positions on other
    auxiliary losses is not part of the reward.

    Source: Williams 1992; Xu et al. 2015 (1502.03044), equations 11 and 12, there with a moving average as the baseline and
    one reward for the whole sequence.
    """

    weight: float = 1.0
    baseline: float = 1.0  # weight of the baseline's squared error
    entropy: float = 0.0  # reward per nat and token
    credit: Literal["rest", "token"] = "rest"

    def __post_init__(self):
        check_numbers(self, not_negative=("weight", "baseline", "entropy"))

    @property
    def name(self) -> str:
        """The name of the loss in metrics."""
        return "reinforce"

    def __call__(self, inputs: LossInputs) -> LossOutput:
        """Returns the loss summed over the batch, times the weight of the cross-entropy.

        Raises:
            ValueError: the attention draws no positions.
        """
        draws = inputs.outputs.draws
        if draws is None:
            raise ValueError(
                "objective.auxiliary has Reinforce but the attention draws nothing; give it the focus nn.HardAttention, "
                "or leave the term out"
            )
        reward_xu = jax.lax.stop_gradient(-inputs.losses_xu)
        if self.credit == "rest":
            reward_xu = jnp.cumsum(reward_xu[:, ::-1], axis=1)[:, ::-1]
        error_xu = reward_xu - draws.baselines_bu
        chosen_xu = -jax.lax.stop_gradient(error_xu) * draws.log_probs_bu
        total_xu = chosen_xu + self.baseline * jnp.square(error_xu) - self.entropy * draws.entropies_bu
        tokens = jnp.sum(inputs.token_lengths_b + inputs.real_b).astype(jnp.float32)
        square = inputs.sum(jnp.where(inputs.valid_xu, error_xu**2, 0.0))
        entropy = inputs.sum(jnp.where(inputs.valid_xu, draws.entropies_bu, 0.0))
        metrics = {"baseline_square_error": Sum(square, tokens), "drawn_entropy": Sum(entropy, tokens)}
        value = inputs.sum(jnp.where(inputs.valid_xu, total_xu, 0.0))
        return LossOutput(inputs.cross_entropy_weight * value, metrics)


@dataclass(frozen=True)
class QuantityLoss:
    """The quantity loss: the difference between the stops of an attention and the tokens, the end included.

    The stops are those that a monotonic attention expects, or the summed shares of `nn.IntegrateAndFire`.

    Source: Inaguma et al. 2020 (2005.00712), section 3.2; see ops/attention/monotonic.py. Dong and Xu 2020 (1905.11235),
    section 3.2; see ops/attention/integrate_and_fire.py.
    """

    weight: float

    def __post_init__(self):
        check_numbers(self, not_negative=("weight",))

    @property
    def name(self) -> str:
        """The name of the loss in metrics."""
        return "quantity"

    def __call__(self, inputs: LossInputs) -> LossOutput:
        """Returns the loss summed over utterances."""
        counts_xh = inputs.outputs.counts_bh
        lengths_x = inputs.by_row(inputs.token_lengths_b)
        if counts_xh is None:
            loss_x = quantity_loss(inputs.outputs.weights_buhs, lengths_x)
        else:
            loss_x = count_loss(counts_xh, lengths_x)
        return LossOutput(inputs.sum(jnp.where(inputs.by_row(inputs.real_b), loss_x, 0.0)), {})


@dataclass(frozen=True)
class CtcSynchronous:
    """The distance in positions between a token's expected position under the attention and the one where CTC begins it.

    CTC's position is the first one of the token on the likeliest path of the transcript; no gradient passes through it. The
    end has the last position. Probability that stops nowhere counts as a stop behind the last position. Of several heads the
    mean is compared; of a chunkwise attention the weights of the chunk, so chunks should be short.

    Source: Inaguma and Kawahara 2021 (2103.00422), CTC-synchronous training, there of the stops of MoChA alone.
    """

    weight: float

    def __post_init__(self):
        check_numbers(self, not_negative=("weight",))

    @property
    def name(self) -> str:
        """The name of the loss in metrics."""
        return "ctc_distance"

    def __call__(self, inputs: LossInputs) -> LossOutput:
        """Returns the loss summed over utterances and tokens; an utterance that CTC can't align has none.

        Raises:
            ValueError: the model has no CTC head.
        """
        outputs = inputs.outputs
        if outputs.ctc_logits_bsv is None:
            raise ValueError(
                "objective.auxiliary has CtcSynchronous but the model has no CTC head; give model.ctc a CtcHead, or leave "
                "the term out"
            )
        log_probs_bsv = jax.nn.log_softmax(jax.lax.stop_gradient(outputs.ctc_logits_bsv).astype(jnp.float32))
        path = ctc_alignment(log_probs_bsv, outputs.hidden_lengths_b, inputs.tokens_bu, inputs.token_lengths_b)
        expected_xu = expected_position(outputs.weights_buhs, inputs.by_row(outputs.hidden_lengths_b))
        begins_bu = jnp.pad(path.first_bu, ((0, 0), (0, 1)))
        is_end_bu = jnp.arange(begins_bu.shape[1])[None] == inputs.token_lengths_b[:, None]
        begins_bu = jnp.where(is_end_bu, outputs.hidden_lengths_b[:, None] - 1, begins_bu)
        counted_xu = inputs.valid_xu & inputs.by_row(path.possible_b)[:, None]
        distance_xu = jnp.abs(expected_xu - inputs.by_row(begins_bu))
        return LossOutput(inputs.sum(jnp.where(counted_xu, distance_xu, 0.0)), {})


@dataclass(frozen=True)
class GuidedAttentionLoss:
    """A penalty of 1 - exp(- (u / U - s / S)^2 / (2 width^2)) on attention weights off the diagonal; mean over heads.

    Source: Tachibana et al. 2018 (1710.08969), section 3.2, with a sum over tokens here for its mean over all cells.
    """

    weight: float
    width: float = 0.2  # of the band around the diagonal, as a fraction of the utterance

    def __post_init__(self):
        check_numbers(self, not_negative=("weight",))
        if not self.width > 0.0:
            raise ValueError(f"GuidedAttentionLoss.width is {self.width}; it must be more than 0")

    @property
    def name(self) -> str:
        """The name of the loss in metrics."""
        return "guide"

    def __call__(self, inputs: LossInputs) -> LossOutput:
        """Returns the loss summed over utterances and tokens."""
        weights_xus = jnp.mean(inputs.outputs.weights_buhs.astype(jnp.float32), axis=2)
        _, tokens, positions = weights_xus.shape
        lengths_x = inputs.by_row(jnp.maximum(inputs.outputs.hidden_lengths_b, 1))
        share_xu = jnp.arange(tokens)[None] / inputs.by_row(inputs.token_lengths_b + 1)[:, None]
        share_xs = jnp.arange(positions)[None] / lengths_x[:, None]
        cost_xus = 1.0 - jnp.exp(-((share_xu[:, :, None] - share_xs[:, None]) ** 2) / (2.0 * self.width**2))
        return LossOutput(inputs.sum(jnp.where(inputs.valid_xu, jnp.sum(weights_xus * cost_xus, axis=2), 0.0)), {})


@dataclass(frozen=True)
class Distill:
    """A distillation loss: temperature^2 times the Kullback-Leibler divergence from a frozen teacher, by token.

    The teacher gets the same transcript and the utterance without augmentation and dropout. The experiment holds its model
    (`teacher`), the command line its run (`--teacher`).

    Source: Hinton et al. 2015 (1503.02531), section 2; by token: Kim and Rush 2016 (1606.07947), section 3.1.
    """

    weight: float
    temperature: float = 1.0

    def __post_init__(self):
        check_numbers(self, not_negative=("weight",))
        if not self.temperature > 0.0:
            raise ValueError(f"Distill.temperature is {self.temperature}; it must be more than 0")

    @property
    def name(self) -> str:
        """The name of the loss in metrics."""
        return "distill"

    def __call__(self, inputs: LossInputs) -> LossOutput:
        """Returns the loss summed over utterances and tokens.

        Raises:
            ValueError: there is no teacher.
        """
        teacher_buv = inputs.outputs.teacher_logits_buv
        if teacher_buv is None:
            raise ValueError(
                "objective.auxiliary has Distill but there is no teacher; give the experiment its model as `teacher` "
                "and the command its run with --teacher"
            )
        teacher_xuv, student_xuv = (
            jax.nn.log_softmax(zero_padding(logits_xuv, inputs.valid_xu).astype(jnp.float32) / self.temperature)
            for logits_xuv in (jax.lax.stop_gradient(inputs.by_row(teacher_buv)), inputs.outputs.logits_buv)
        )
        divergence_xu = jnp.sum(jnp.exp(teacher_xuv) * (teacher_xuv - student_xuv), axis=-1) * self.temperature**2
        return LossOutput(inputs.sum(jnp.where(inputs.valid_xu, divergence_xu, 0.0)), {})
