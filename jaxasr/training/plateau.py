"""Newbob: what shrinks when a score on held-out data stops getting better. It is part of the optimizer's state."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

Tree = TypeVar("Tree")


class Plateau(NamedTuple):
    """What is remembered of the evaluations so far."""

    scale: Float[Array, ""]  # what the learning rate is multiplied with
    best: Float[Array, ""]  # score
    waited: Int[Array, ""]  # evaluations since it was beaten


@dataclass(frozen=True)
class Newbob:
    """Times `factor` after `patience` evaluations in a row that did not beat the best score by the `threshold`.

    Source: the newbob of Renals et al.'s QuickNet, as RETURNN's `newbob` (Zeyer et al. 2018, 1805.03294: factor 0.9) and
    ESPnet's decay of AdaDelta's epsilon (factor 0.01) use it.
    """

    factor: float
    threshold: float = 0.0  # a share of the best score: 0.01 wants one percent, relative
    patience: int = 1
    least: float = 0.0  # what the scale does not fall below

    def __post_init__(self):
        if not (0.0 < self.factor < 1.0 and 0.0 <= self.threshold < 1.0 and self.patience >= 1 and self.least >= 0.0):
            raise ValueError(
                f"Newbob has factor={self.factor}, threshold={self.threshold}, patience={self.patience}, "
                f"least={self.least}; it needs 0 < factor < 1, 0 <= threshold < 1, patience >= 1, least >= 0"
            )

    def judge(self, before: Plateau, score: float) -> Plateau:
        """After one more evaluation; lower scores are better. One that is no number was no better."""
        score = float(np.float32(score))  # as `best` is kept
        scale, best, waited = float(before.scale), float(before.best), int(before.waited) + 1
        if score < best * (1.0 - self.threshold) or (math.isinf(best) and math.isfinite(score)):
            best, waited = score, 0
        elif waited >= self.patience:
            scale, waited = max(scale * self.factor, min(self.least, scale)), 0
        return Plateau(jnp.float32(scale), jnp.float32(best), jnp.int32(waited))


def new_plateau() -> Plateau:
    """Before the first evaluation."""
    return Plateau(jnp.ones((), jnp.float32), jnp.full((), jnp.inf, jnp.float32), jnp.zeros((), jnp.int32))


def scale_by_plateau() -> optax.GradientTransformation:
    """Multiplies updates with the scale of a `Plateau`, which only `judged` changes."""

    def init(params: Any) -> Plateau:
        del params
        return new_plateau()

    def update(updates: Any, state: Plateau, params: Any = None) -> tuple[Any, Plateau]:
        del params
        return jax.tree.map(lambda u: u * state.scale.astype(u.dtype), updates), state

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def update_plateau(state: Tree, rule: Newbob, score: float) -> Tree:
    """An optimizer's state after one more evaluation: the same but for the `Plateau` in it."""
    return jax.tree.map(
        lambda node: rule.judge(jax.device_get(node), score) if isinstance(node, Plateau) else node, state, is_leaf=_is_plateau
    )


def plateau_scale(state: Any) -> float:
    """The scale of the `Plateau` in an optimizer's state; 1 where there is none."""
    found = [node for node in jax.tree.leaves(state, is_leaf=_is_plateau) if isinstance(node, Plateau)]
    return float(jax.device_get(found[0].scale)) if found else 1.0


def _is_plateau(node: Any) -> bool:
    return isinstance(node, Plateau)
