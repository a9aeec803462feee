"""The training step of an experiment, pure; and what its arithmetic is counted of."""

from collections.abc import Callable
from typing import Any

import jax

from jaxasr import tree
from jaxasr.evaluation.attention_metrics import watched
from jaxasr.experiment.experiment import Experiment
from jaxasr.run.initial_state import training_form
from jaxasr.training import Objective, make_step
from jaxasr.training.step import StepFunction

RECOMPUTES = "remat"  # the field by which a module says that it computes activations again


def pure_step(experiment: Experiment, objective: Objective) -> StepFunction:
    """The step of the experiment: (state, batch, across) -> (state, metrics).

    Args:
        objective: that of the experiment, bound to its data (begin.bound_objective).
    """
    return make_step(
        training_form(experiment.model, objective, experiment.teacher),
        watched(objective),
        experiment.optimizer.build(),
        ema_decay=experiment.ema_decay,
        noise=experiment.weight_noise,
    )


def counted_step(experiment: Experiment, objective: Objective, compiled: Any) -> Callable[..., Any]:
    """The step that FLOPs are counted of: the compiled one, or where that computes activations again one that keeps them.

    What is computed twice is the machine's work and not the model's (Chowdhery et al. 2022, arXiv:2204.02311, appendix B).

    Args:
        compiled: jitted. It is traced for a shape of batches once, whether it is counted or run first.
    """
    again = {path: "none" for path, leaf in tree.flatten(experiment).items() if _recomputes(path) and leaf != "none"}
    return jax.jit(pure_step(tree.override(experiment, again), objective)) if again else compiled


def _recomputes(path: str) -> bool:
    return path.rpartition(".")[2] == RECOMPUTES
