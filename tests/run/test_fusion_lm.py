"""A recogniser begins with the language model that its decoder fuses, and keeps it as it was."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import nn
from jaxasr.evaluation.decode_split import evaluated_variables
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.restore import trained_variables
from jaxasr.experiment.workdir import Workdir
from jaxasr.run.initial_state import PretrainedRuns, load_fusion_lm, make_apply_fn
from jaxasr.training import TrainState, make_step, new_state
from tests import tiny_experiments as tiny
from tests import tiny_lm
from tests.nn.tiny import batch_of


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    calm = tiny.experiment()
    decoder = calm.model.decoder.clone(fusion=nn.ColdFusion(tiny_lm.experiment().model, 8))
    return replace(calm, model=calm.model.clone(decoder=decoder))


def blank_state(experiment: Experiment, batch) -> TrainState:
    """Zeros; nothing is compiled."""
    shapes = jax.eval_shape(lambda: experiment.model.init(jax.random.key(0), batch, step=None))
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return new_state(variables, experiment.optimizer.build(), jax.random.key(1))


@pytest.fixture
def batch(rng):
    return jax.tree.map(jnp.asarray, batch_of(rng, samples=(8_000, 5_000), tokens=(3, 2)))


def test_the_language_model_is_that_of_its_run_and_a_step_keeps_it(lm_run, experiment, batch):
    state = PretrainedRuns(fusion_lm=lm_run.workdir).load_into(blank_state(experiment, batch), experiment)
    learnt, _ = trained_variables(tiny_lm.experiment(), Workdir(lm_run.workdir))
    for variables in (state.statistics, evaluated_variables(experiment, state)):
        jax.tree.map(np.testing.assert_array_equal, variables["lm"]["decoder"]["fusion"]["variables"], learnt)
    apply = make_apply_fn(experiment.model)
    optimizer = experiment.optimizer.build()
    step = make_step(apply, experiment.objective, optimizer, ema_decay=0.0)
    after, _ = jax.eval_shape(step, state, batch)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


def test_a_fusion_and_its_run_come_together(lm_run, experiment):
    state = TrainState(jnp.zeros((), int), jax.random.key(0), {}, {}, {}, ())
    assert load_fusion_lm(state, tiny.experiment(), None) is state
    assert load_fusion_lm(state, tiny_lm.experiment(), None) is state
    with pytest.raises(ValueError, match="decoder fuses a language model and the command has no run of one"):
        load_fusion_lm(state, experiment, None)
    with pytest.raises(ValueError, match="decoder fuses no language model and the command has the run"):
        load_fusion_lm(state, tiny.experiment(), lm_run.workdir)
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_fusion_lm(state, experiment, Path("nowhere"))
    wider = experiment.model.decoder.clone(fusion=nn.DeepFusion(nn.LstmLm(1, 32, 8, vocab=tiny.TOKENS.size)))
    with pytest.raises(ValueError, match="holds another model"):
        load_fusion_lm(state, replace(experiment, model=experiment.model.clone(decoder=wider)), lm_run.workdir)
