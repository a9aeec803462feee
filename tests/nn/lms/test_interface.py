"""Every language model: reference implementation, steps against teacher forcing, padding invariance, causality."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import Lm, LstmLm, TransformerLm
from jaxasr.records import Batch
from tests.nn.tiny import VOCAB, near, rows, streams
from tests.reference import language_models

TOKENS = np.array([[1, 5, 2], [3, 0, 0], [0, 0, 0]], np.int32)
LENGTHS = np.array([3, 1, 0], np.int32)
IDS = np.array([3, 1, 4], np.uint32)

LSTM = LstmLm(2, 4, 3, dropout=0.3, recurrent_dropout=0.3, vocab=VOCAB)
TRANSFORMER = TransformerLm(2, 8, 2, expansion=2, dropout=0.3, stochastic_depth=0.2, tied=True, vocab=VOCAB)
REFERENCES = {
    LSTM: language_models.lstm_lm,
    LstmLm(1, 4, tied=True, vocab=VOCAB): language_models.lstm_lm,
    TRANSFORMER: functools.partial(language_models.transformer_lm, heads=2),
}
BOTH = pytest.mark.parametrize("lm", [LSTM, TRANSFORMER], ids=["lstm", "transformer"])


def batch_of(tokens_bu=TOKENS) -> Batch:
    """Returns a batch of texts without waves, of which the last is empty."""
    return Batch(
        wave_bn=np.zeros((3, 0), np.int16),
        sample_lengths_b=np.zeros(3, np.int32),
        tokens_bu=tokens_bu,
        token_lengths_b=LENGTHS,
        ids_b=IDS,
        valid_b=np.ones(3, bool),
    )


@functools.cache
def variables_of(lm: Lm):
    """Returns parameters that are large enough to make every part of the output depend on them."""

    def drawn(path, leaf):
        seed = zlib.crc32(jax.tree_util.keystr(path).encode())
        return jnp.asarray(np.random.default_rng(seed).normal(size=leaf.shape) * 0.5, jnp.float32)

    shapes = jax.eval_shape(functools.partial(lm.init, step=None), jax.random.key(0), batch_of())
    return jax.tree_util.tree_map_with_path(drawn, shapes)


@functools.cache
def with_gradients(lm: Lm, *, train: bool):
    """Returns a jitted function to a number that depends on the logits of `seen_bk` and to outputs, with gradients."""

    def value(variables, batch, seen_bk):
        step, rngs = (jnp.zeros((), int), streams()) if train else (None, None)
        outputs = lm.apply(variables, batch, step=step, rngs=rngs)
        mix_v = jnp.arange(1.0, VOCAB + 1)[None, None]
        total = jnp.sum(jnp.where(seen_bk[..., None], jnp.sin(outputs.logits_buv) * mix_v, 0))
        return total, outputs

    return jax.jit(jax.value_and_grad(value, has_aux=True))


def real(positions: int):
    """Returns a mask that is True at real tokens, the end included."""
    return np.arange(positions) <= LENGTHS[:, None]


@pytest.mark.parametrize("lm", REFERENCES, ids=["lstm", "tied lstm", "tied transformer"])
def test_values_are_those_of_the_reference_and_outputs_those_of_a_model_that_hears_nothing(lm):
    (_, outputs), _ = with_gradients(lm, train=False)(variables_of(lm), batch_of(), real(4))
    params = jax.tree.map(lambda leaf: np.asarray(leaf, float), variables_of(lm)["params"])
    for row, length in enumerate(LENGTHS):
        expected = REFERENCES[lm](params, TOKENS[row, :length].tolist())
        np.testing.assert_allclose(outputs.logits_buv[row, : length + 1], expected, rtol=1e-4, atol=1e-5)
    assert outputs.ctc_logits_bsv is None
    assert outputs.weights_buhs.shape == (3, 4, 1, 0)
    np.testing.assert_array_equal(outputs.hidden_lengths_b, [0, 0, 0])


@BOTH
def test_step_by_step_is_teacher_forced_and_not_jitted_is_jitted(lm):
    (_, outputs), _ = with_gradients(lm, train=False)(variables_of(lm), batch_of(), real(4))
    step = jax.jit(functools.partial(lm.apply, method="step"))
    state = lm.apply(variables_of(lm), 3, method="start")
    assert {leaf.shape[0] for leaf in jax.tree.leaves(state)} == {3}
    eager, _ = lm.apply(variables_of(lm), state, jnp.zeros(3, jnp.int32), method="step")
    np.testing.assert_allclose(eager, outputs.logits_buv[:, 0], rtol=1e-4, atol=1e-5)
    for position, tokens_b in enumerate(np.pad(TOKENS, ((0, 0), (1, 0))).T):
        found, state = step(variables_of(lm), state, jnp.asarray(tokens_b))
        here = real(4)[:, position]
        np.testing.assert_allclose(found[here], outputs.logits_buv[here, position], rtol=1e-4, atol=1e-5)


@BOTH
def test_padding_and_neighbours_change_nothing(lm):
    """Compares every text alone in training to a larger shape with garbage after every text."""
    garbage = np.where(np.arange(5) >= LENGTHS[:, None], 4, np.pad(TOKENS, ((0, 0), (0, 2)))).astype(np.int32)
    value = with_gradients(lm, train=True)
    (found, outputs), gradient = value(variables_of(lm), batch_of(garbage), real(6))
    alone = []
    for row, length in enumerate(LENGTHS):
        (one, own_outputs), d_one = value(
            variables_of(lm), rows(batch_of(), np.s_[row : row + 1]), real(4)[row : row + 1]
        )
        here = np.s_[: length + 1]
        near(outputs.logits_buv[row][here], own_outputs.logits_buv[0][here], rtol=1e-4, atol=1e-5)
        alone.append((one, d_one))
    near((found, gradient), jax.tree.map(lambda *leaves: sum(leaves), *alone), rtol=1e-4, atol=1e-4)
    (_, quiet), _ = with_gradients(lm, train=False)(variables_of(lm), batch_of(), real(4))
    assert np.any(np.abs(quiet.logits_buv - outputs.logits_buv[:, :4]) > 1e-3)  # there is dropout


@pytest.mark.parametrize("lm", [LSTM, TRANSFORMER.clone(tied=False)], ids=["lstm", "transformer"])
def test_a_token_is_seen_by_what_comes_after_it_and_by_nothing_else(lm):
    """Each token of the first row has one position: the gradient of its embedding shows which positions depend on it."""
    for position in range(4):
        seen_bk = np.zeros((3, 4), bool)
        seen_bk[0, position] = True
        _, gradient = with_gradients(lm, train=False)(variables_of(lm), batch_of(), seen_bk)
        seen_v = np.any(gradient["params"]["embed"]["embedding"], axis=-1)
        assert [bool(seen_v[token]) for token in (0, *TOKENS[0])] == [place <= position for place in range(4)]


def test_an_lm_without_methods_says_so():
    with pytest.raises(TypeError, match="Lm is an Lm without hidden"):
        Lm(vocab=4).init(jax.random.key(0), batch_of(), step=None)
    for method, given in (("start", (1,)), ("advance", ((), jnp.zeros(1, int))), ("read_out", (jnp.zeros(1),))):
        with pytest.raises(TypeError, match=f"without {method}"):
            Lm(vocab=4).apply({}, *given, method=method)
