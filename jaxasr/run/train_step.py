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

REMAT = "remat"  # the field with which a module says that it rematerialises activations


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

    It is the compiled one. If the experiment rematerialises activations, it is a variant without `remat`, because
    recomputation is not model work (Chowdhery et al. 2022, arXiv:2204.02311, appendix B).

    Args:
        experiment: the experiment, or a stage of it.
        objective: its objective after `initial_state.resolve_objective`.
        compiled: the jitted step. It is traced once for each shape of batches, whether it is counted or run first.
    """
    kept = {path: "none" for path, leaf in tree.flatten(experiment).items() if _is_remat(path) and leaf != "none"}
    return jax.jit(make_train_step(tree.override(experiment, kept), objective)) if kept else compiled


def _is_remat(path: str) -> bool:
    return path.rpartition(".")[2] == REMAT
