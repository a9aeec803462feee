"""Stages: the smaller models, or easier tasks, that a run trains before it trains the experiment's own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax

from jaxasr import tree
from jaxasr.training import Freeze, Optimizer, TrainState, reset_moments

CHANGEABLE = (
    "model",
    "objective",
    "optimizer",
    "weight_noise",
    "freeze",
    "part_rates",
)  # data and vocabulary belong to the whole run


@dataclass(frozen=True)
class Stage:
    """A variant of the experiment that is trained up to a given step of the run.

    The next stage inherits every parameter whose path and shape match, and its average. It initialises all other leaves as a
    run of its own would, such as the parameters of a layer that is new on top. So an encoder can grow layer by layer
    (`model.encoder.time_reduction=(1, 32)`, then `(1, 4, 8)`), and regularisation can wait until the encoder is complete.

    The next stage inherits the optimizer's state if all of its leaves match. Otherwise, for example if a parameter is new,
    the moments of all parameters start at zero: Adam corrects their bias by one count, so a new layer would get several times
    the learning rate. The position in the schedule and the plateau are inherited in both cases.

    Source: layer-wise pretraining, Zeyer et al. 2018 (arXiv:1805.03294), section 2.
    """

    until: int  # the step of the run at which the next stage begins
    changes: tuple[str, ...]  # PATH=VALUE as on the command line

    def __post_init__(self):
        tree.check_numbers(self)
        if self.until < 1 or not self.changes:
            raise ValueError(
                f"{self}: it needs until >= 1, and changes, such as ('model.encoder.time_reduction=(1, 32)',)"
            )
        outside = [path for path in self.values if path.partition(".")[0] not in CHANGEABLE]
        if outside:
            raise ValueError(
                f"a stage changes {', '.join(outside)}; it can change what is below {', '.join(CHANGEABLE)}"
            )

    @property
    def values(self) -> Mapping[str, str]:
        """The changes by path."""
        return tree.parse(self.changes)


def init_next_stage(
    fresh: TrainState, before: TrainState, optimizer: Optimizer, freeze: Freeze = Freeze()
) -> tuple[TrainState, list[str]]:
    """Returns the first state of the next stage, and the paths of its parameters that are freshly initialised.

    Args:
        fresh: the state that the next stage would start with in a run of its own.
        before: the last state of the stage before.
        optimizer: the optimizer of the next stage.
        freeze: the parameters that it does not train.
    """
    if before.ema_params is None and fresh.ema_params is not None:
        before = replace(before, ema_params=before.params)  # the average starts at the parameters
    known = dict(jax.tree_util.tree_flatten_with_path(before)[0])

    def is_inherited(path: Any, leaf: Any) -> bool:
        return path in known and (known[path].shape, known[path].dtype) == (leaf.shape, leaf.dtype)

    new = [path for path, leaf in jax.tree_util.tree_flatten_with_path(fresh)[0] if not is_inherited(path, leaf)]
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path in new]
    state = jax.tree_util.tree_map_with_path(
        lambda path, leaf: known[path] if is_inherited(path, leaf) else leaf, fresh
    )
    if any(name.startswith(("params/", "optimizer/")) for name in names):
        shardings = jax.tree.map(lambda leaf: leaf.sharding, fresh.optimizer)
        built = optimizer.build_for(freeze)
        init = jax.jit(lambda params, kept: reset_moments(built, params, kept), out_shardings=shardings)
        state = replace(state, optimizer=init(state.params, before.optimizer))
    return state, [name.removeprefix("params/") for name in names if name.startswith("params/")]
