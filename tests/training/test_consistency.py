"""The consistency of two views: the loss by hand, its gradients, and a training step with two augmented copies."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxasr import nn
from jaxasr.experiment import Experiment
from jaxasr.records import Outputs, Sum
from jaxasr.training import CtcConsistency, Objective, make_step, new_state
from tests import tiny_experiments as tiny
from tests.nn.tiny import VOCAB, batch_of, listener, seq2seq, speller


def outputs_of(logits_xsv, lengths, tokens):
    x = len(logits_xsv)
    weights = jnp.full((x, tokens + 1, 1, logits_xsv.shape[1]), 0.1)
    return Outputs(jnp.zeros((x, tokens + 1, VOCAB)), jnp.asarray(logits_xsv), jnp.array(lengths), weights)


@pytest.fixture
def batch(rng):
    """Returns two real examples and one row of padding."""
    return replace(batch_of(rng, (400, 250, 90), (4, 2, 1)), valid_b=np.array([True, True, False]))


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def test_the_loss_by_hand(rng, batch):
    """The divergence in both directions over the real frames of real examples, whose views are adjacent rows."""
    logits_xsv = rng.normal(size=(6, 5, VOCAB)).astype(np.float32)
    objective = Objective(auxiliary=(CtcConsistency(0.3),))
    assert objective.views == 2
    outputs = outputs_of(logits_xsv, [5, 5, 3, 3, 4, 4], batch.tokens_bu.shape[1])
    found = jax.jit(objective.__call__)(outputs, batch.repeated(2))
    total = 0.0
    for example, frames in enumerate((5, 3)):
        a, b = (softmax(logits_xsv[2 * example + view, :frames].astype(np.float64)) for view in (0, 1))
        total += np.sum(a * np.log(a / b) + b * np.log(b / a))
    np.testing.assert_allclose(found["ctc_consistency"].value, total, rtol=1e-5)
    np.testing.assert_allclose(found["loss"].value, found["cross_entropy"].value + 0.3 * total, rtol=1e-5)
    assert found["loss"].weight == 2 * ((4 + 1) + (2 + 1))


def test_a_view_learns_from_the_other_one_as_from_a_constant(rng, batch):
    """The gradient of KL(sg(a) || b) with respect to the logits of b is b - a."""
    logits_xsv = rng.normal(size=(6, 5, VOCAB)).astype(np.float32)
    objective = Objective(auxiliary=(CtcConsistency(1.0),))

    def loss(logits_xsv):
        outputs = outputs_of(logits_xsv, [5, 5, 5, 5, 5, 5], batch.tokens_bu.shape[1])
        return objective(outputs, batch.repeated(2))["loss"].value

    gradient = np.asarray(jax.jit(jax.grad(loss))(jnp.asarray(logits_xsv)))
    a, b = softmax(logits_xsv[0]), softmax(logits_xsv[1])
    np.testing.assert_allclose(gradient[0], a - b, atol=1e-5)
    np.testing.assert_allclose(gradient[1], b - a, atol=1e-5)
    assert not np.any(gradient[4:])


def test_copies_are_adjacent_and_the_first_one_is_the_example(batch):
    twice = batch.repeated(2)
    np.testing.assert_array_equal(twice.ids_b[::2], batch.ids_b)
    assert len(set(np.asarray(twice.ids_b).tolist())) == 2 * len(batch.ids_b)
    for name in ("wave_bn", "sample_lengths_b", "tokens_bu", "token_lengths_b", "valid_b"):
        np.testing.assert_array_equal(getattr(twice, name), np.repeat(getattr(batch, name), 2, axis=0))


def test_a_step_compares_two_views_of_each_example(rng, batch):
    """Without augmentation and dropout the views are equal and the loss is 0; with dropout it is not."""
    for dropout, differs in ((0.0, False), (0.4, True)):
        model = seq2seq(encoder=listener(dropout=dropout), decoder=speller(), augment=None, noise=None)
        objective = Objective(ctc_weight=0.5, auxiliary=(CtcConsistency(0.1),))
        sums = one_step(model, objective, batch)
        assert (abs(sums["ctc_consistency"].mean) > 1e-6) == differs
        plain = one_step(model, replace(objective, auxiliary=()), batch)
        assert sums["cross_entropy"].weight == 2 * plain["cross_entropy"].weight
        if not differs:
            np.testing.assert_allclose(sums["cross_entropy"].mean, plain["cross_entropy"].mean, rtol=1e-5)
            np.testing.assert_allclose(sums["ctc"].mean, plain["ctc"].mean, rtol=1e-5)


def one_step(model: nn.Seq2Seq, objective: Objective, batch) -> dict[str, Sum]:
    """Returns the sums of a training step."""

    def apply(variables, batch, step, streams):
        return model.apply(variables, batch, step=step, rngs=dict(streams))

    optimizer = optax.sgd(0.1)
    variables = jax.jit(lambda batch: model.init(jax.random.key(3), batch, step=None))(batch)
    state = new_state(variables, optimizer, jax.random.key(0), keeps_average=False)
    step = jax.jit(make_step(apply, objective, optimizer, ema_decay=0.0, views=objective.views))
    return step(state, batch)[1]


def test_a_model_without_ctc_is_refused_when_the_experiment_is_made():
    calm: Experiment = tiny.experiment()
    objective = Objective(auxiliary=(CtcConsistency(0.1),))
    with pytest.raises(ValueError, match=r"CtcConsistency but model\.ctc is None; give the model a CtcHead or leave"):
        replace(calm, model=calm.model.clone(ctc=None), objective=objective)
