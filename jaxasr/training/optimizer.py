"""Optimizers as values: a frozen dataclass whose `build()` is an Optax chain of clip, scale, decay and learning rate.

What `build()` gives takes the mean gradient of a batch and, when it accumulates, the weight (tokens) that the mean was
divided by: `update(gradients, state, params, weight=weight)`. So k micro-batches of unequal weights make the very
update of one batch of all of them, which a mean of means (optax.MultiSteps) does not.
"""

from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxasr.shapes import STACK
from jaxasr.training.plateau import Newbob, Plateau, scale_by_plateau
from jaxasr.training.schedules import Rate, Schedule, Step


@dataclass(frozen=True)
class Optimizer:
    """What all optimizers share: the rate, how the gradient is clipped, what decays, how many batches make an update."""

    schedule: Schedule  # of the learning rate, by updates
    _: KW_ONLY
    clip_norm: float | None = None  # global norm that the gradient is scaled down to; None: never
    weight_decay: float = 0.0  # decoupled: times the learning rate; matrices only, neither biases nor norms
    l2: float = 0.0  # gradient of l2 / 2 * |matrix|^2, added before clipping
    on_plateau: Newbob | None = None  # the rate falls when the score of the watched split stops falling
    accumulate_steps: int = 1  # batches an update

    def __post_init__(self):
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
        """The Optax chain: clipping, the method's own scaling, decay, learning rate; accumulation around them all."""
        parts = [*self.before_scaling(), self.scaling()]
        if self.weight_decay > 0.0:
            parts.append(optax.add_decayed_weights(self.weight_decay, mask=decays))
        parts.append(optax.scale_by_learning_rate(self.schedule))  # pyright: ignore[reportArgumentType]
        return accumulate(optax.chain(*parts, *self.after_rate()), every=self.accumulate_steps)

    @property
    def keeps_average(self) -> bool:
        """True where it keeps an average of its own, which is then what is evaluated."""
        return False

    def before_scaling(self) -> list[optax.GradientTransformation]:
        """What is done to a gradient first: the penalty, and clipping."""
        parts = [optax.add_decayed_weights(self.l2, mask=decays)] if self.l2 > 0.0 else []
        return parts + ([] if self.clip_norm is None else [optax.clip_by_global_norm(self.clip_norm)])

    def after_rate(self) -> list[optax.GradientTransformation]:
        """What is done last: what a plateau takes off the rate."""
        return [] if self.on_plateau is None else [scale_by_plateau()]

    def scaling(self) -> optax.GradientTransformation:
        """What the method does to a gradient before the learning rate."""
        raise NotImplementedError(f"{type(self).__name__} has no scaling; use Adam or Sgd")

    def rate(self, step: Step) -> Rate:
        """The learning rate of the batch after `step` batches."""
        return self.schedule(step // self.accumulate_steps)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam; with `weight_decay` it is AdamW.

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
        """The first moment over the root of the second, both without bias."""
        return optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps)


@dataclass(frozen=True)
class Sgd(Optimizer):
    """Stochastic gradient descent, with heavy-ball momentum where that is more than 0."""

    momentum: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"Sgd has momentum={self.momentum}; it must be in [0, 1)")

    def scaling(self) -> optax.GradientTransformation:
        """The sum of past gradients, each weakened by `momentum` a step."""
        return optax.trace(decay=self.momentum) if self.momentum else optax.identity()


class AccumulationState(NamedTuple):
    """What `accumulate` carries from batch to batch."""

    batches: Int[Array, ""]  # since the last update
    weight: Float[Array, ""]  # of them together
    mean: Any  # gradient, weighted; the tree of the parameters
    inner: optax.OptState


def accumulate(inner: optax.GradientTransformation, *, every: int) -> optax.GradientTransformationExtraArgs:
    """`inner`, applied to the weighted mean gradient of `every` batches; zero updates in between.

    Its `update` takes `weight`, a scalar: what the mean gradient it is given was divided by, over all devices. A batch
    of weight 0 changes nothing but the count.

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
        gradients: Any, state: AccumulationState, params: Any = None, *, weight: Float[Array, ""] | None = None, **extra: Any
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
    """The optimizer's first state, but at the place in the schedule and with the plateau of the state `before`.

    Args:
        before: of an optimizer that may be another, of parameters that may be others.
    """
    places = {type(node): node for node in jax.tree.leaves(before, is_leaf=_is_place) if _is_place(node)}
    return jax.tree.map(lambda node: places.get(type(node), node), optimizer.init(params), is_leaf=_is_place)


def _is_place(node: Any) -> bool:
    return isinstance(node, optax.ScaleByScheduleState | Plateau)


def decays(params: Any) -> Any:
    """True where weight decay acts: matrices and kernels (rank 2 and more), neither biases nor gains of norms."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: rank_in_layer(path, leaf) >= 2, params)


def rank_in_layer(path: Any, leaf: Any) -> int:
    """The axes of a parameter, less that of layers where it is of a stack: one layer's bias has rank 1 there as well."""
    names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
    return jnp.ndim(leaf) - (STACK in names)
