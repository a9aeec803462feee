"""The training step as a pure function: state and batch in, state and metrics out.

The step divides once, by the weight of the whole global batch. Its sums run over all devices (`reduction`), so unequal token
counts on the devices make no difference.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxasr.records import Batch, Outputs, Sum
from jaxasr.scale import SINGLE_DEVICE, GradientReduction
from jaxasr.training.average import ema_update
from jaxasr.training.freeze import Freeze, PartRates
from jaxasr.training.optimizers import own_average
from jaxasr.training.state import TrainState
from jaxasr.training.weight_noise import WeightNoise

Apply = Callable[[Any, Batch, jax.Array, Mapping[str, jax.Array]], Outputs]  # variables, batch, step, random streams
Criterion = Callable[[Outputs, Batch], dict[str, Sum]]
USES = ("augment", "dropout", "draw", "weights")  # of randomness; the first three are the model's
StepFunction = Callable[..., tuple[TrainState, dict[str, Sum]]]


def make_step(
    apply: Apply,
    criterion: Criterion,
    optimizer: optax.GradientTransformation,
    *,
    ema_decay: float,
    noise: WeightNoise | None = None,
    freeze: Freeze = Freeze(),
    views: int = 1,
    part_rates: PartRates = PartRates(),
) -> StepFunction:
    """Returns the step `(state, batch, reduction=SINGLE_DEVICE) -> (state, metrics)`.

    Args:
        apply: the model in its training form.
        criterion: returns sums by name, "loss" among them.
        optimizer: any Optax transformation. One that takes extra arguments gets the `weight` by which the gradient was
            divided (`accumulate` needs it).
        ema_decay: of the moving average of the parameters; 0: none. An optimizer with an average of its own
            (`ScheduleFree`) replaces it.
        noise: weight noise on the parameters that `apply` gets.
        freeze: parameters that keep their values.
        views: differently augmented copies of each example, in adjacent rows of the batch that `apply` and `criterion` get
            (`Objective.views`).
        part_rates: factors of the learning rate of parts of the model.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def step(
        state: TrainState, batch: Batch, reduction: GradientReduction = SINGLE_DEVICE
    ) -> tuple[TrainState, dict[str, Sum]]:
        streams = _streams(state)

        def loss(params: Any, statistics: Any, batch: Batch) -> tuple[jax.Array, dict[str, Sum]]:
            params = freeze.without_gradients(params)
            batch = batch.repeated(views) if views > 1 else batch
            if noise is not None:
                params = noise(params, state.step, _key(state, "weights"))
            sums = criterion(apply({"params": params, **statistics}, batch, state.step, streams), batch)
            return sums["loss"].value, sums

        def gradients_of(variables: Any, batch: Batch) -> tuple[Any, dict[str, Sum]]:
            return jax.grad(loss, has_aux=True)(variables["params"], variables["statistics"], batch)

        variables = {"params": state.params, "statistics": state.statistics}
        gradients, sums = reduction.summed(gradients_of, variables, batch)
        weight = sums["loss"].weight
        gradients = jax.tree.map(lambda g: g / jnp.maximum(weight, 1.0), gradients)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params, weight=weight)
        params: Any = optax.apply_updates(state.params, freeze.without_updates(part_rates.scaled(updates)))
        one = jnp.ones(())
        metrics = sums | {"gradient_norm": Sum(optax.tree.norm(gradients), one)}
        average = _updated_average(state, params, optimizer_state, ema_decay)
        new = TrainState(state.step + 1, state.key, params, average, state.statistics, optimizer_state)
        return new, metrics

    return step


def _updated_average(state: TrainState, params: Any, optimizer_state: optax.OptState, decay: float) -> Any:
    """Returns the average after the step: the optimizer's own or the moving one. None if the state holds no average."""
    if state.ema_params is None:
        if decay > 0.0:
            raise ValueError(f"ema_decay={decay}, and the state holds no average; make it with keeps_average=True")
        return None
    own = own_average(optimizer_state, params)
    return ema_update(state.ema_params, params, decay=decay, step=state.step) if own is None else own


def _streams(state: TrainState) -> dict[str, jax.Array]:
    return {name: _key(state, name) for name in USES[:3]}


def _key(state: TrainState, use: str) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(state.key, state.step), USES.index(use))
