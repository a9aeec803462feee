"""A whole training step counted, against its matrix products by hand."""

from dataclasses import replace

import jax
import pytest

from jaxasr import nn
from jaxasr.cost.flops import count
from jaxasr.data import Shape
from jaxasr.records import Batch
from jaxasr.run.train_step import make_train_step, step_without_remat
from jaxasr.training import new_state
from tests import tiny_experiments as tiny

VOCAB = tiny.TOKENS.size


def batch_of(examples, samples, tokens):
    return Batch.blank(Shape(samples=samples, tokens=tokens, examples=examples))


def state_of(experiment):
    def make(key, batch):
        variables = experiment.model.init(key, batch, step=None)
        return new_state(variables, experiment.optimizer.build(), key, keeps_average=experiment.keeps_average)

    return jax.eval_shape(make, jax.random.key(0), batch_of(4, 4_000, 3))


def counted(experiment, *shape):
    step = step_without_remat(experiment, experiment.objective, make_train_step(experiment, experiment.objective))
    return count(step, state_of(experiment), batch_of(*shape))


def products_by_hand(b, samples, tokens):
    """Returns the products of tiny.experiment(), whose widths stand here as numbers."""
    t = (samples - 640) // 320 + 1
    s = -(-t // 2)
    u = tokens + 1
    once = b * t * 513 * 16  # power spectra to mel bins: no parameters before it, and so no gradient
    twice = 2 * b * s * 32 * 64  # two directions' inputs, which need no gradient themselves
    twice += b * s * (u - 1) * VOCAB  # CTC picks its labels
    thrice = b * s * 32 * VOCAB  # CTC's logits
    thrice += b * s * 32 * 16  # the keys
    thrice += b * u * (8 * 64 + 16 * 16 + 48 * 64 + 48 * VOCAB)  # token gates, query, cell, readout
    thrice += b * u * s * (5 * 4 + 4 * 16 + 16 + 32)  # convolution of the last weights, its features, energy, reading
    recurrence = 2 * b * 16 * 64 * (3 * s - 1)  # the last state goes into no gates
    return 2 * (once + 2 * twice + 3 * thrice + recurrence)


@pytest.mark.parametrize("shape", [(8, 16_000, 8), (4, 32_000, 20)])
def test_a_step_of_training_by_hand(shape):
    found = counted(tiny.experiment(), *shape)
    assert found.of_products == pytest.approx(products_by_hand(*shape), rel=0.005)  # metrics are the rest
    assert not found.notes
    b, samples, _ = shape
    windows = (samples - 640) // 320 + 1
    assert found.other == pytest.approx(b * windows * 2.5 * 1024 * 10, rel=0.01)  # spectra of 1024 points


@pytest.mark.parametrize("again", [{"remat": "blocks"}, {"score_block": 8}])
def test_what_is_computed_again_is_no_work_of_the_model(again):
    def with_encoder(**fields):
        encoder = nn.TransformerEncoder(depth=2, width=16, heads=2, **fields)
        model = tiny.experiment().model.clone(encoder=encoder)
        return replace(tiny.experiment(), model=model)

    plain = with_encoder()
    changed = with_encoder(**again)
    objective = plain.objective
    state = state_of(plain)
    batch = batch_of(4, 16_000, 8)
    kept = count(make_train_step(plain, objective), state, batch).of_products
    compiled = make_train_step(changed, objective)
    assert count(compiled, state, batch).of_products > 1.01 * kept
    assert count(step_without_remat(changed, objective, compiled), state, batch).of_products == kept
    compiled = jax.jit(make_train_step(plain, objective))
    assert step_without_remat(plain, objective, compiled) is compiled
