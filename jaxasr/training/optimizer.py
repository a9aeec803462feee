"""Optimizers as values: a frozen dataclass whose `build()` is an Optax chain of clip, scale, decay and learning rate.

The result of `build()` takes the mean gradient of a batch and, for accumulation, the weight (tokens) by which it was divided:
`update(gradients, state, params, weight=weight)`. So k micro-batches of unequal weights give the update of one batch of all
of them. A mean of means (optax.MultiSteps) does not.
"""

from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxasr.parameters import decays
from jaxasr.training.freeze import Freeze
from jaxasr.training.plateau import Newbob, Plateau, scale_by_plateau
from jaxasr.training.schedules import Rate, Schedule, Step
from jaxasr.tree import check_numbers


@dataclass(frozen=True)
class Optimizer:
    """The base of all optimizers: learning rate, gradient clipping, weight decay and accumulation."""

    schedule: Schedule  # of the learning rate, by updates
    _: KW_ONLY
    clip_norm: float | None = None  # the largest global norm of the gradient; None: no clipping
    weight_decay: float = 0.0  # decoupled: times the learning rate; not on biases and norms (`parameters.decays`)
    l2: float = 0.0  # gradient of l2 / 2 * |parameter|^2, added before clipping; on the same parameters
    on_plateau: Newbob | None = None  # lowers the rate when the validation score stops falling
    accumulate_steps: int = 1  # batches per update

    def __post_init__(self):
        check_numbers(self)
        name = type(self).__name__
        if not isinstance(self.schedule, Schedule):
            raise ValueError(f"{name} has schedule={self.schedule}; give a schedule, such as Constant({self.schedule})")
        if self.clip_norm is not None and not self.clip_norm > 0.0:
            raise ValueError(f"{name} has clip_norm={self.clip_norm}; it must be more than 0, or None for no clipping")
        for penalty in ("weight_decay", "l2"):
            if not getattr(self, penalty) >= 0.0:
                raise ValueError(f"{name} has {penalty}={getattr(self, penalty)}; it must be 0 or more")
        if self.accumulate_steps < 1:
            raise ValueError(f"{name} has accumulate_steps={self.accumulate_steps}; it must be 1 or more")

    def build(self) -> optax.GradientTransformationExtraArgs:
        """Builds the Optax chain: clipping, the method's scaling, decay and learning rate, with accumulation around them."""
        parts = [*self.before_scaling(), self.scaling()]
        if self.weight_decay > 0.0:
            parts.append(optax.add_decayed_weights(self.weight_decay, mask=decays))
        parts.append(optax.scale_by_learning_rate(self.schedule))  # pyright: ignore[reportArgumentType]
        return accumulate(optax.chain(*parts, *self.after_rate()), every=self.accumulate_steps)

    def build_for(self, freeze: Freeze) -> optax.GradientTransformationExtraArgs:
        """Builds the chain of the parameters that are not frozen; one that averages the parameters has a state for all."""
        return self.build() if self.keeps_average else freeze.without_state(self.build())

    @property
    def keeps_average(self) -> bool:
        """The answer to whether the optimizer keeps an average of its own, which is then evaluated."""
        return False

    def before_scaling(self) -> list[optax.GradientTransformation]:
        """Returns the first transformations of a gradient: penalty and clipping."""
        parts = [optax.add_decayed_weights(self.l2, mask=decays)] if self.l2 > 0.0 else []
        return parts + ([] if self.clip_norm is None else [optax.clip_by_global_norm(self.clip_norm)])

    def after_rate(self) -> list[optax.GradientTransformation]:
        """Returns the last transformations: the scale of the plateau rule."""
        return [] if self.on_plateau is None else [scale_by_plateau()]

    def scaling(self) -> optax.GradientTransformation:
        """Returns the method's transformation of a gradient before the learning rate."""
        raise NotImplementedError(f"{type(self).__name__} has no scaling; use Adam or Sgd")

    def rate(self, step: Step) -> Rate:
        """Returns the learning rate of the batch after `step` batches."""
        return self.schedule(step // self.accumulate_steps)


@dataclass(frozen=True)
class Adam(Optimizer):
    """The Adam optimizer; with `weight_decay` it is AdamW.

    Source: Kingma and Ba 2015 (arXiv:1412.6980), algorithm 1; Loshchilov and Hutter 2019 (arXiv:1711.05101), algorithm 2.
    """

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self):
        super().__post_init__()
        if not (0.0 <= self.b1 < 1.0 and 0.0 <= self.b2 < 1.0 and self.eps > 0.0):
            raise ValueError(
                f"Adam has b1={self.b1}, b2={self.b2}, eps={self.eps}; it needs 0 <= b1, b2 < 1 and eps > 0"
            )

    def scaling(self) -> optax.GradientTransformation:
        """Returns the first moment over the root of the second, both bias-corrected."""
        return optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps)


@dataclass(frozen=True)
class Sgd(Optimizer):
    """A stochastic gradient descent, with heavy-ball momentum if that is more than 0."""

    momentum: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"Sgd has momentum={self.momentum}; it must be in [0, 1)")

    def scaling(self) -> optax.GradientTransformation:
        """Returns the sum of past gradients, weighted down by `momentum` per step."""
        return optax.trace(decay=self.momentum) if self.momentum else optax.identity()


class AccumulationState(NamedTuple):
    """The state of `accumulate`."""

    batches: Int[Array, ""]  # since the last update
    weight: Float[Array, ""]  # sum over these batches
    mean: Any  # weighted mean gradient; the tree of the parameters
    inner: optax.OptState


def accumulate(inner: optax.GradientTransformation, *, every: int) -> optax.GradientTransformationExtraArgs:
    """Applies `inner` to the weighted mean gradient of `every` batches, with zero updates in between.

    Its `update` takes `weight`, a scalar: the number by which the mean gradient was divided, over all devices. A batch of
    weight 0 changes only the count.

    Raises:
        ValueError: `every` is more than 1 and `update` was not given a weight.
    """
    inner = optax.with_extra_args_support(inner)
    if every == 1:
        return inner

    def init(params: Any) -> AccumulationState:
        mean = jax.tree.map(lambda p: jnp.zeros_like(p, jnp.float32), params)
        return AccumulationState(jnp.zeros((), jnp.int32), jnp.zeros(()), mean, inner.init(params))

    def update(
        gradients: Any,
        state: AccumulationState,
        params: Any = None,
        *,
        weight: Float[Array, ""] | None = None,
        **extra: Any,
    ) -> tuple[Any, AccumulationState]:
        if weight is None:
            raise ValueError(
                f"an optimizer that accumulates {every} batches needs update(..., weight=tokens of the batch)"
            )
        total = state.weight + weight
        share = weight / jnp.where(total > 0.0, total, 1.0)
        mean = jax.tree.map(lambda m, g: m + (g.astype(jnp.float32) - m) * share, state.mean, gradients)

        def finish(mean: Any) -> tuple[Any, AccumulationState]:
            cast = jax.tree.map(lambda m, g: m.astype(g.dtype), mean, gradients)
            updates, after = inner.update(cast, state.inner, params, weight=total, **extra)
            empty = jax.tree.map(jnp.zeros_like, mean)
            return updates, AccumulationState(jnp.zeros_like(state.batches), jnp.zeros_like(total), empty, after)

        def wait(mean: Any) -> tuple[Any, AccumulationState]:
            updates = jax.tree.map(jnp.zeros_like, gradients)
            return updates, AccumulationState(state.batches + 1, total, mean, state.inner)

        return jax.lax.cond(state.batches + 1 == every, finish, wait, mean)

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def reset_moments(optimizer: optax.GradientTransformation, params: Any, before: Any) -> Any:
    """Returns the optimizer's initial state with the schedule position and the plateau of the state `before`.

    Args:
        before: a state, possibly of another optimizer and of other parameters.
    """
    nodes = jax.tree.leaves(before, is_leaf=_is_schedule_state)
    kept = {type(node): node for node in nodes if _is_schedule_state(node)}
    return jax.tree.map(lambda node: kept.get(type(node), node), optimizer.init(params), is_leaf=_is_schedule_state)


def _is_schedule_state(node: Any) -> bool:
    return isinstance(node, optax.ScaleByScheduleState | Plateau)
