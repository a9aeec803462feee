"""The state of training, which a step maps to its successor and a checkpoint stores."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jaxasr.records import pytree
from jaxasr.shapes import PRNGKey


@pytree
@dataclass(frozen=True)
class TrainState:
    """The state before a step."""

    step: Int[Array, ""]  # steps done
    key: PRNGKey  # of the run; each step folds its number in
    params: Any
    ema_params: Any  # average of `params` for evaluation, the same tree; None if no average is asked for
    statistics: Any  # statistics of the data measured before the first step, and frozen models; never trained
    optimizer: optax.OptState


def new_state(
    variables: dict[str, Any],
    optimizer: optax.GradientTransformation,
    key: PRNGKey,
    *,
    keeps_average: bool = False,
) -> TrainState:
    """Returns the state before the first step, from freshly initialised variables.

    Args:
        variables: the collections of the model, "params" among them.
        optimizer: the Optax chain whose first state is made.
        key: random key of the run.
        keeps_average: True: the state holds an average of the parameters, which begins as a copy of them.
    """
    params = variables["params"]
    statistics = {name: tree for name, tree in variables.items() if name != "params"}
    average = jax.tree.map(jnp.copy, params) if keeps_average else None
    return TrainState(jnp.zeros((), jnp.int32), key, params, average, statistics, optimizer.init(params))
