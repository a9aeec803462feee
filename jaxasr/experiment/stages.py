"""Stages: the smaller models, or easier tasks, that a run begins with before it trains the experiment's own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax

from jaxasr import tree
from jaxasr.training import Optimizer, TrainState, begun_again

OF = ("model", "objective", "optimizer", "weight_noise")  # what a stage may change: data and vocabulary are the run's


@dataclass(frozen=True)
class Stage:
    """The experiment with some values changed, trained until a step of the run.

    What the next stage has in the same place and shape goes on from it: parameters and their average. All else of the next
    stage begins as it would in a run of its own, such as a layer that is new on top. So an encoder can grow layer by layer
    (`model.encoder.pools=(1, 32)`, then `(1, 4, 8)`), and regularisation can wait until it has.

    What the optimizer keeps goes on if all of it has its place in the next stage. Otherwise, as where a parameter is new,
    its moments begin afresh for all (Adam corrects their bias by one count: a new layer would be given several times the
    rate); the place in the schedule and the plateau stay.

    Source: layer-wise pretraining, Zeyer et al. 2018 (arXiv:1805.03294), section 2.
    """

    until: int  # the step of the run at which the next stage begins
    changes: tuple[str, ...]  # PATH=VALUE as on the command line

    def __post_init__(self):
        if self.until < 1 or not self.changes:
            raise ValueError(f"{self}: it needs until >= 1, and changes, such as ('model.encoder.pools=(1, 32)',)")
        outside = [path for path in self.values if path.partition(".")[0] not in OF]
        if outside:
            raise ValueError(f"a stage changes {', '.join(outside)}; it can change what is below {', '.join(OF)}")

    @property
    def values(self) -> Mapping[str, str]:
        """The changes by path."""
        return tree.parse(self.changes)


def grown(fresh: TrainState, before: TrainState, optimizer: Optimizer) -> tuple[TrainState, list[str]]:
    """The state of the next stage, and the paths of its parameters that begin afresh.

    Args:
        fresh: as it would begin by itself.
        before: what the stage before came to.
        optimizer: of the next stage.
    """
    known = dict(jax.tree_util.tree_flatten_with_path(before)[0])

    def kept(path: Any, leaf: Any) -> bool:
        return path in known and (known[path].shape, known[path].dtype) == (leaf.shape, leaf.dtype)

    leaves = jax.tree_util.tree_flatten_with_path(fresh)[0]
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, leaf in leaves if not kept(path, leaf)]
    state = jax.tree_util.tree_map_with_path(lambda path, leaf: known[path] if kept(path, leaf) else leaf, fresh)
    if any(name.startswith(("params/", "optimizer/")) for name in names):
        places = jax.tree.map(lambda leaf: leaf.sharding, fresh.optimizer)
        begin = jax.jit(lambda params, kept: begun_again(optimizer.build(), params, kept), out_shardings=places)
        state = replace(state, optimizer=begin(state.params, before.optimizer))
    return state, [name.removeprefix("params/") for name in names if name.startswith("params/")]
