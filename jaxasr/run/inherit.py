"""The parameters that a new run takes from another run: those whose path and shape match."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.restore import ranked_by
from jaxasr.experiment.workdir import Workdir
from jaxasr.nn.decoders.fusion import LM
from jaxasr.training import SavedCheckpoints, TrainState
from jaxasr.training.checkpoints import flat_tree

_OTHER_RUNS = ("teacher", LM)  # collections that options of their own fill
_VOCABULARY = ("embed", "readout")  # modules with a row or column for each token
_SHOWN = 12  # arrays that a line lists


@dataclass(frozen=True)
class Inheritance:
    """The arrays that a new run takes from a checkpoint, by path, and those that it does not take."""

    source: str  # the checkpoint and its run
    taken: Sequence[str]
    initial: Sequence[str]  # of the new run, freshly initialised
    unused: Sequence[str]  # of the checkpoint alone

    def lines(self) -> list[str]:
        """Returns a summary for people."""
        parts = {"freshly initialised": self.initial, "not in this model": self.unused}
        counted = f"{len(self.taken)} arrays from {self.source}"
        return [counted, *(f"{len(paths)} {what}: {_listed(paths)}" for what, paths in parts.items() if paths)]


def inherit(state: TrainState, experiment: Experiment, run: Path) -> tuple[TrainState, Inheritance]:
    """Returns the state with the parameters and constants of another run's best checkpoint, and what was taken.

    The checkpoint may be of another model: an array is taken if path and shape match. If the vocabularies differ, no
    embedding and no readout is taken. The averaged parameters are taken if the run keeps an average. The optimizer starts
    anew.

    Args:
        state: the initial state.
        experiment: the experiment, or a stage of it.
        run: the workdir of the other run.

    Raises:
        FileNotFoundError: no such run, or it has no checkpoint.
        DamagedCheckpointError: all of its checkpoints are damaged.
        ValueError: no array matches.
    """
    workdir = Workdir(run)
    checkpoints = SavedCheckpoints(workdir.checkpoints, by=ranked_by(experiment.model, workdir))
    kept = {name: collection for name, collection in state.statistics.items() if name not in _OTHER_RUNS}
    collections = {"params": state.params, **kept}
    here = flat_tree.flatten(collections)

    def read(step: int) -> tuple[dict[str, Any], Inheritance]:
        there = _saved_arrays(checkpoints, step)
        same_tokens = checkpoints.metadata(step).tokenizer == experiment.tokenizer.digest
        shapes = flat_tree.describe(here)
        taken = [
            path
            for path, shape in shapes.items()
            if path in there and there[path][1] == shape and (same_tokens or not _has_tokens(path))
        ]
        if not taken:
            raise ValueError(
                f"checkpoint {step} of {run} has no array with the path and shape of one of this model: is it a run of "
                "another kind of model?"
            )
        like = _nested({there[path][0]: here[path] for path in taken})
        saved = flat_tree.flatten(checkpoints.restore_part(step, like)[0])
        initial = [f"{path} ({_reason(there.get(path), shape)})" for path, shape in shapes.items() if path not in taken]
        unused = [path for path in there if path not in here]
        found = {path: saved[there[path][0]] for path in taken}
        return found, Inheritance(f"checkpoint {step} of {run}", taken, initial, unused)

    found, inheritance = checkpoints.first_whole("best" if checkpoints.best() is not None else "last", read)
    return _with_collections(state, experiment, flat_tree.unflatten(collections, {**here, **found})), inheritance


def _with_collections(state: TrainState, experiment: Experiment, collections: Mapping[str, Any]) -> TrainState:
    """Returns the state with these collections, and with an average and an optimizer that start at the parameters."""
    params = collections["params"]
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state.optimizer)
    optimizer = jax.jit(experiment.optimizer.build_for(experiment.freeze).init, out_shardings=shardings)(params)
    others = {name: collection for name, collection in collections.items() if name != "params"}
    return replace(
        state,
        params=params,
        ema_params=None if state.ema_params is None else jax.tree.map(lambda leaf: leaf.copy(), params),
        statistics={**state.statistics, **others},
        optimizer=optimizer,
    )


def _saved_arrays(checkpoints: SavedCheckpoints, step: int) -> dict[str, tuple[str, list[Any]]]:
    """Returns the path in the checkpoint, and shape and dtype, of each parameter and constant, by its path in a model."""
    prefix = "train/ema_params/" if checkpoints.holds(step, "train/ema_params") else "train/params/"
    found: dict[str, tuple[str, list[Any]]] = {}
    for name, shape in checkpoints.leaves(step).items():
        if name.startswith(prefix):
            found[f"params/{name.removeprefix(prefix)}"] = (name, shape)
        elif name.startswith("train/statistics/"):
            found[name.removeprefix("train/statistics/")] = (name, shape)
    return {path: leaf for path, leaf in found.items() if path.partition("/")[0] not in _OTHER_RUNS}


def _has_tokens(path: str) -> bool:
    return any(name in _VOCABULARY for name in path.split("/"))


def _reason(there: tuple[str, list[Any]] | None, shape: list[Any]) -> str:
    if there is None:
        return "not in the checkpoint"
    return f"shape {tuple(there[1][0])} there, {tuple(shape[0])} here" if there[1] != shape else "another vocabulary"


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tree of dictionaries whose leaves have these paths."""
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def _listed(paths: Sequence[str]) -> str:
    more = len(paths) - _SHOWN
    return ", ".join(paths[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
