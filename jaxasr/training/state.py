"""All that training changes, in one record: what a checkpoint holds and a step maps to its successor."""

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
    key: PRNGKey  # of the run; a step folds its number in
    params: Any
    ema_params: Any  # average of `params` that is evaluated, the same tree; None where no average is asked for
    statistics: Any  # what the model measured of the data before the first step; never trained
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
