"""Every model is exported with any number of rows, and the programs compute what the model does."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import nn
from jaxasr.decode import Beam, CtcGreedy, Greedy, MaxTokens, SuppressTokens
from jaxasr.records import Batch
from jaxasr.stablehlo.programs import by_path, programs_of
from tests import zoo

SAMPLES = 1_200
LIMIT = MaxTokens(0.0, 4)
LENGTHS = np.array([1_200, 0, 700], np.int32)


def batch(wave_bn, lengths_b):
    b = len(lengths_b)
    return Batch(
        jnp.asarray(wave_bn),
        jnp.asarray(lengths_b),
        jnp.zeros((b, 1), jnp.int32),
        jnp.zeros(b, jnp.int32),
        jnp.zeros(b, jnp.uint32),
        jnp.asarray(lengths_b > 0),
    )


@pytest.fixture
def wave_bn(rng):
    wave_bn = (rng.normal(size=(len(LENGTHS), SAMPLES)) * 3_000).astype(np.int16)
    wave_bn[np.arange(SAMPLES)[None] >= LENGTHS[:, None]] = 0
    return wave_bn


def variables_of(model, wave_bn):
    return jax.jit(lambda b: model.init(jax.random.key(0), b, step=None))(batch(wave_bn, LENGTHS))


@pytest.mark.parametrize(
    "search",
    [
        Greedy(LIMIT),
        CtcGreedy(),
        Beam(3, ctc_weight=0.3, max_tokens=LIMIT),
        Beam(1, scorers=(SuppressTokens((1,), (2,)),), max_tokens=LIMIT),
    ],
    ids=["greedy", "ctc", "beam with CTC", "suppressed"],
)
def test_a_search_finds_what_it_finds_here(search, wave_bn):
    """The program is exported once, and called with three rows and with one."""
    model = zoo.MODELS["speller, location"].clone(ctc=nn.CtcHead(zoo.VOCAB))
    variables = variables_of(model, wave_bn)
    program = programs_of(model, variables, search, samples=SAMPLES, platforms=("cpu",))["search"]
    want = search(nn.Recogniser(model, variables), batch(wave_bn, LENGTHS))
    for rows in (slice(0, 3), slice(2, 3)):
        found = program.call(by_path(variables), wave_bn[rows], LENGTHS[rows])
        np.testing.assert_array_equal(found["tokens_bu"], want.tokens_bwu[rows, 0])
        np.testing.assert_array_equal(found["token_lengths_b"], want.token_lengths_bw[rows, 0])
        np.testing.assert_allclose(found["log_probs_b"], want.log_probs_bw[rows, 0], rtol=1e-5)
        np.testing.assert_array_equal(found["finished_b"], want.finished_bw[rows, 0])


@pytest.mark.parametrize("name", ["transformer, dot", "latency controlled", "speller, MoChA"])
def test_encoder_and_step_compute_the_search_token_by_token(name, wave_bn):
    model = zoo.MODELS[name].clone(ctc=None)
    variables = variables_of(model, wave_bn)
    programs = programs_of(model, variables, Greedy(LIMIT), samples=SAMPLES, platforms=("cpu",))
    params = by_path(variables)
    want = programs["search"].call(params, wave_bn, LENGTHS)
    encoded = programs["encode"].call(params, wave_bn, LENGTHS)
    assert encoded["hidden_lengths_b"][1] == 0
    assert "ctc_log_probs_bsv" not in encoded
    state = encoded["state"]
    tokens_b = np.zeros(3, np.int32)
    for place in range(4):
        step = programs["step"].call(params, encoded["memory"], state, tokens_b)
        tokens_b = np.argmax(step["log_probs_bv"], axis=1).astype(np.int32)
        np.testing.assert_allclose(np.sum(np.exp(step["log_probs_bv"]), axis=1), 1.0, rtol=1e-5)
        state = step["state"]
        for row in (0, 2):
            if place < want["token_lengths_b"][row]:
                assert tokens_b[row] == want["tokens_bu"][row, place]


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_model_is_exported_for_all_platforms(name, wave_bn):
    model = zoo.MODELS[name].clone(ctc=nn.CtcHead(zoo.VOCAB))
    variables: Any = jax.eval_shape(lambda b: model.init(jax.random.key(0), b, step=None), batch(wave_bn, LENGTHS))
    programs = programs_of(model, variables, Beam(2, ctc_weight=0.3, max_tokens=LIMIT), samples=SAMPLES)
    for program in programs.values():
        assert program.platforms == ("cpu", "cuda", "tpu")
        assert program.serialize()


class Counting:
    """A search that needs the number of rows."""

    def __call__(self, decodable, batch):
        return next(batch for _ in range(batch.wave_bn.shape[0]))


def test_what_cannot_be_exported_is_named(wave_bn):
    model = zoo.MODELS["speller, location"]
    message = r"the program 'search' of Listener, Speller and Counting cannot be exported: .*--batch-size N"
    with pytest.raises(ValueError, match=message):
        programs_of(model, variables_of(model, wave_bn), Counting(), samples=SAMPLES)
