"""Averages of parameters: the exponential moving average of training, and the mean of saved checkpoints."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxasr.training.checkpoints.reader import SavedCheckpoints

Tree = TypeVar("Tree")


def ema_update(average: Tree, params: Tree, *, decay: float, step: int | Int[Array, ""]) -> Tree:
    """Returns the moving average after one more step: decay_t * average + (1 - decay_t) * params.

    decay_t = min(decay, (1 + step) / (10 + step)), so that the random first parameters lose their weight quickly. With
    `decay` 0 the average is `params`. The dtype is that of `average`, which should be float32.

    Args:
        step: steps done before this one.

    Raises:
        ValueError: a decay outside [0, 1).

    Source: Polyak and Juditsky 1992; the warm-up is that of TensorFlow's ExponentialMovingAverage(num_updates=step).
    """
    if not 0.0 <= decay < 1.0:
        raise ValueError(f"the decay of the moving average is {decay}; it must be in [0, 1)")
    done = jnp.asarray(step, jnp.float32)
    keep = jnp.minimum(decay, (1.0 + done) / (10.0 + done))
    return jax.tree.map(lambda a, p: (keep * a + (1.0 - keep) * p).astype(a.dtype), average, params)


def average_checkpoints(checkpoints: SavedCheckpoints, steps: Sequence[int], like: Tree) -> Tree:
    """Returns the arithmetic mean of saved states on the host, summed in float64, in the dtypes of `like`.

    Args:
        steps: the steps of the checkpoints.
        like: the fields of the state to average, by name, such as {"params": params}; no other field is read.

    Raises:
        ValueError: no step, the same step twice, or a leaf that is no float.
        FileNotFoundError: a step without a checkpoint.
    """
    if not steps or len(set(steps)) != len(steps):
        raise ValueError(f"the checkpoints to average are {list(steps)}; give at least one step, each once")
    host = jax.tree.map(_on_host, like)
    total = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float64), host)
    for step in steps:
        total = jax.tree.map(np.add, total, checkpoints.restore_part(step, host)[0])
    return jax.tree.map(lambda leaf, summed: np.asarray(summed / len(steps), leaf.dtype), host, total)


def _on_host(leaf: Any) -> np.ndarray:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise ValueError(f"only floats have a mean; a leaf of the tree to average is {leaf.dtype}")
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)
