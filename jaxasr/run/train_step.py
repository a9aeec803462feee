"""The training step of an experiment as a pure function, and the variant of it whose FLOPs are reported."""

from collections.abc import Callable
from typing import Any

import jax

from jaxasr import tree
from jaxasr.evaluation.attention_metrics import with_alignment_metrics
from jaxasr.experiment.experiment import Experiment
from jaxasr.run.initial_state import make_apply_fn
from jaxasr.training import Objective, make_step
from jaxasr.training.step import StepFunction

# the fields with which a module says that its backward pass computes something again, with the value that keeps it
_STORED = {"remat": "none", "score_block": 0}


def make_train_step(experiment: Experiment, objective: Objective) -> StepFunction:
    """Returns the step of the experiment: (state, batch, reduction over devices) -> (state, metrics).

    Args:
        experiment: the experiment, or a stage of it.
        objective: its objective after `initial_state.resolve_objective`.
    """
    return make_step(
        make_apply_fn(experiment.model, objective, experiment.teacher),
        with_alignment_metrics(objective),
        experiment.optimizer.build_for(experiment.freeze),
        ema_decay=experiment.ema_decay,
        noise=experiment.weight_noise,
        freeze=experiment.freeze,
        views=objective.views,
        part_rates=experiment.part_rates,
    )


def step_without_remat(experiment: Experiment, objective: Objective, compiled: Any) -> Callable[..., Any]:
    """Returns the step function whose FLOPs are reported.

    It is the compiled one. If the backward pass computes activations or scores again, it is a variant that keeps them,
    because recomputation is not model work (Chowdhery et al. 2022, arXiv:2204.02311, appendix B).

    Args:
        experiment: the experiment, or a stage of it.
        objective: its objective after `initial_state.resolve_objective`.
        compiled: the jitted step. It is traced once for each shape of batches, whether it is counted or run first.
    """
    kept: dict[str, object] = {}
    for path, leaf in tree.flatten(experiment).items():
        name = path.rpartition(".")[2]
        if name in _STORED and leaf != _STORED[name]:
            kept[path] = _STORED[name]
    return jax.jit(make_train_step(tree.override(experiment, kept), objective)) if kept else compiled
