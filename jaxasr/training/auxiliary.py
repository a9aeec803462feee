"""What an objective may add to cross-entropy and CTC: each a small value with a weight.

A term looks at what the model said of a batch and gives a sum over its examples. All sums are divided by one number, the
target tokens of the batch, so a weight says how much a term counts beside the cross-entropy of an utterance.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxasr.ops.attention.monotonic import quantity_loss
from jaxasr.ops.masks import zero_padding
from jaxasr.records import Outputs, Sum


@dataclass(frozen=True)
class LossInputs:
    """What a term looks at. The attention drew m samples an example, side by side: x = m * b rows."""

    outputs: Outputs
    losses_xu: Float[Array, "x u"]  # cross-entropy by target token, as the objective smooths it
    valid_xu: Bool[Array, "x u"]
    tokens_bu: Int[Array, "b k"]  # of the transcript, without the end
    token_lengths_b: Int[Array, " b"]  # 0 where the row is padding
    real_b: Bool[Array, " b"]  # False: the row is padding

    @property
    def samples(self) -> int:
        """Rows an example."""
        return self.losses_xu.shape[0] // self.real_b.shape[0]

    def by_row(self, leaf_b: Array) -> Array:
        """What holds for an example, for each of its rows."""
        return jnp.repeat(leaf_b, self.samples, axis=0)

    def sum(self, leaf: Float[Array, "x ..."]) -> Float[Array, ""]:
        """The sum over examples of the mean over their samples, in float32."""
        return jnp.sum(leaf.astype(jnp.float32)) / self.samples


class LossOutput(NamedTuple):
    """What a term gives: its sum over the batch, before the weight, and other sums to be watched, by name."""

    value: Float[Array, ""]
    watched: dict[str, Sum]


@runtime_checkable
class AuxiliaryLoss(Protocol):
    """Something that is minimised beside the cross-entropy."""

    @property
    def weight(self) -> float: ...

    @property
    def name(self) -> str:
        """What its sum is called in the log."""
        ...

    def __call__(self, seen: LossInputs) -> LossOutput: ...


@dataclass(frozen=True)
class Reinforce:
    """The score-function gradient of a sampled attention: - sum_u (reward_u - baseline_u) log p(position_u).

    The reward is the log probability of the targets (as smoothed): with credit "rest" that of token u and of all after it,
    which makes the gradient that of the expected cross-entropy, without bias; with "token" that of token u alone, which
    varies less and ignores that what is read also moves the decoder's state. The baseline learns to expect the reward by
    least squares; a small reward for entropy keeps the positions from settling too early. With several samples an example
    the gradient is the mean of theirs.

    Source: Williams 1992; Xu et al. 2015 (1502.03044), equations 11 and 12, there with a moving average as the baseline and
    one reward for the whole sequence.
    """

    weight: float = 1.0
    baseline: float = 1.0  # of its squared error
    entropy: float = 0.0  # reward for a nat of it, a token
    credit: Literal["rest", "token"] = "rest"

    def __post_init__(self):
        _not_negative(self, "weight", "baseline", "entropy")

    @property
    def name(self) -> str:
        """As in `Term`."""
        return "reinforce"

    def __call__(self, seen: LossInputs) -> LossOutput:
        """Raises: ValueError: the attention draws nothing."""
        draws = seen.outputs.draws
        if draws is None:
            raise ValueError(
                "objective.extra has Reinforce but the attention draws nothing; give it the focus nn.HardAttention, or leave the "
                "term out"
            )
        reward_xu = jax.lax.stop_gradient(-seen.losses_xu)
        if self.credit == "rest":
            reward_xu = jnp.cumsum(reward_xu[:, ::-1], axis=1)[:, ::-1]
        error_xu = reward_xu - draws.baselines_bu
        chosen_xu = -jax.lax.stop_gradient(error_xu) * draws.log_probs_bu
        total_xu = chosen_xu + self.baseline * jnp.square(error_xu) - self.entropy * draws.entropies_bu
        tokens = jnp.sum(seen.token_lengths_b + seen.real_b).astype(jnp.float32)
        square, entropy = (seen.sum(jnp.where(seen.valid_xu, each, 0.0)) for each in (error_xu**2, draws.entropies_bu))
        watched = {"baseline_square_error": Sum(square, tokens), "drawn_entropy": Sum(entropy, tokens)}
        return LossOutput(seen.sum(jnp.where(seen.valid_xu, total_xu, 0.0)), watched)


@dataclass(frozen=True)
class QuantityLoss:
    """How far the stops of a monotonic attention are, in number, from the tokens: one number an utterance.

    Source: Inaguma et al. 2020 (2005.00712), section 3.2; see ops/attention/monotonic.py.
    """

    weight: float

    def __post_init__(self):
        _not_negative(self, "weight")

    @property
    def name(self) -> str:
        """As in `Term`."""
        return "quantity"

    def __call__(self, seen: LossInputs) -> LossOutput:
        """The sum over utterances."""
        loss_x = quantity_loss(seen.outputs.weights_buhs, seen.by_row(seen.token_lengths_b))
        return LossOutput(seen.sum(jnp.where(seen.by_row(seen.real_b), loss_x, 0.0)), {})


@dataclass(frozen=True)
class GuidedAttentionLoss:
    """Attention away from the diagonal costs 1 - exp(- (u / U - s / S)^2 / (2 width^2)) for its weight; mean over heads.

    Source: Tachibana et al. 2018 (1710.08969), section 3.2, with a sum over tokens here for its mean over all cells.
    """

    weight: float
    width: float = 0.2  # of the band around the diagonal, as a share of the utterance

    def __post_init__(self):
        _not_negative(self, "weight")
        if not self.width > 0.0:
            raise ValueError(f"Guide.width is {self.width}; it must be more than 0")

    @property
    def name(self) -> str:
        """As in `Term`."""
        return "guide"

    def __call__(self, seen: LossInputs) -> LossOutput:
        """The sum over utterances and tokens."""
        weights_xus = jnp.mean(seen.outputs.weights_buhs.astype(jnp.float32), axis=2)
        _, tokens, positions = weights_xus.shape
        lengths_x = seen.by_row(jnp.maximum(seen.outputs.hidden_lengths_b, 1))
        share_xu = jnp.arange(tokens)[None] / seen.by_row(seen.token_lengths_b + 1)[:, None]
        share_xs = jnp.arange(positions)[None] / lengths_x[:, None]
        cost_xus = 1.0 - jnp.exp(-((share_xu[:, :, None] - share_xs[:, None]) ** 2) / (2.0 * self.width**2))
        return LossOutput(seen.sum(jnp.where(seen.valid_xu, jnp.sum(weights_xus * cost_xus, axis=2), 0.0)), {})


@dataclass(frozen=True)
class Distill:
    """temperature^2 times the Kullback-Leibler divergence from a frozen teacher's distribution, by token.

    The teacher hears the utterance clean, without augmentation and dropout, and is fed the same transcript. The experiment
    has its model (`teacher`), the command its run (`--teacher`).

    Source: Hinton et al. 2015 (1503.02531), section 2; by token: Kim and Rush 2016 (1606.07947), section 3.1.
    """

    weight: float
    temperature: float = 1.0

    def __post_init__(self):
        _not_negative(self, "weight")
        if not self.temperature > 0.0:
            raise ValueError(f"Distill.temperature is {self.temperature}; it must be more than 0")

    @property
    def name(self) -> str:
        """As in `Term`."""
        return "distill"

    def __call__(self, seen: LossInputs) -> LossOutput:
        """Raises: ValueError: there is no teacher."""
        teacher_buv = seen.outputs.teacher_logits_buv
        if teacher_buv is None:
            raise ValueError(
                "objective.extra has Distill but there is no teacher; give the experiment its model as `teacher` "
                "and the command its run with --teacher"
            )
        taught_xuv, said_xuv = (
            jax.nn.log_softmax(zero_padding(logits_xuv, seen.valid_xu).astype(jnp.float32) / self.temperature)
            for logits_xuv in (jax.lax.stop_gradient(seen.by_row(teacher_buv)), seen.outputs.logits_buv)
        )
        divergence_xu = jnp.sum(jnp.exp(taught_xuv) * (taught_xuv - said_xuv), axis=-1) * self.temperature**2
        return LossOutput(seen.sum(jnp.where(seen.valid_xu, divergence_xu, 0.0)), {})


def _not_negative(term: object, *names: str) -> None:
    for name in names:
        value = getattr(term, name)
        if not value >= 0.0:
            raise ValueError(f"{type(term).__name__}.{name} is {value}; it must be 0 or more")
