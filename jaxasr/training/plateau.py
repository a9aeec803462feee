"""The newbob rule, which lowers the learning rate when a validation score stops improving; part of the optimizer's state."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jaxasr.tree import check_numbers

Tree = TypeVar("Tree")


class Plateau(NamedTuple):
    """The state of the rule."""

    scale: Float[Array, ""]  # factor of the learning rate
    best: Float[Array, ""]  # the best score
    waited: Int[Array, ""]  # evaluations since the best score


@dataclass(frozen=True)
class Newbob:
    """The rule: multiply by `factor` after `patience` evaluations in a row without an improvement by `threshold`.

    Source: the newbob of Renals et al.'s QuickNet, as RETURNN's `newbob` (Zeyer et al. 2018, 1805.03294: factor 0.9) and
    ESPnet's decay of AdaDelta's epsilon (factor 0.01) use it.
    """

    factor: float
    threshold: float = 0.0  # relative to the best score: 0.01 is one percent
    patience: int = 1
    least: float = 0.0  # the smallest scale

    def __post_init__(self):
        check_numbers(self)
        if not (0.0 < self.factor < 1.0 and 0.0 <= self.threshold < 1.0 and self.patience >= 1 and self.least >= 0.0):
            raise ValueError(
                f"Newbob has factor={self.factor}, threshold={self.threshold}, patience={self.patience}, "
                f"least={self.least}; it needs 0 < factor < 1, 0 <= threshold < 1, patience >= 1, least >= 0"
            )

    def update(self, before: Plateau, score: float) -> Plateau:
        """Returns the state after one more evaluation; lower scores are better, and NaN is no improvement."""
        score = float(np.float32(score))  # the precision of `best`
        scale = float(before.scale)
        best = float(before.best)
        waited = int(before.waited) + 1
        if score < best * (1.0 - self.threshold) or (math.isinf(best) and math.isfinite(score)):
            best = score
            waited = 0
        elif waited >= self.patience:
            scale = max(scale * self.factor, min(self.least, scale))
            waited = 0
        return Plateau(jnp.float32(scale), jnp.float32(best), jnp.int32(waited))


def new_plateau() -> Plateau:
    """Returns the state before the first evaluation."""
    return Plateau(jnp.ones((), jnp.float32), jnp.full((), jnp.inf, jnp.float32), jnp.zeros((), jnp.int32))


def scale_by_plateau() -> optax.GradientTransformation:
    """Returns a transformation that multiplies updates by the scale of a `Plateau`, which only `update_plateau` changes."""

    def init(params: Any) -> Plateau:
        del params
        return new_plateau()

    def update(updates: Any, state: Plateau, params: Any = None) -> tuple[Any, Plateau]:
        del params
        return jax.tree.map(lambda u: u * state.scale.astype(u.dtype), updates), state

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def update_plateau(state: Tree, rule: Newbob, score: float) -> Tree:
    """Returns an optimizer's state with its `Plateau` updated by one more evaluation."""

    def updated(node: Any) -> Any:
        return rule.update(jax.device_get(node), score) if isinstance(node, Plateau) else node

    return jax.tree.map(updated, state, is_leaf=_is_plateau)


def plateau_scale(state: Any) -> float:
    """Returns the scale of the `Plateau` in an optimizer's state; 1 if there is none."""
    found = [node for node in jax.tree.leaves(state, is_leaf=_is_plateau) if isinstance(node, Plateau)]
    return float(jax.device_get(found[0].scale)) if found else 1.0


def _is_plateau(node: Any) -> bool:
    return isinstance(node, Plateau)
