"""Deep and cold fusion: the gates by hand, steps against teacher forcing, and a language model that nothing trains."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import (
    AdditiveAttention,
    ColdFusion,
    DeepFusion,
    Fusion,
    LatentAttention,
    LstmLm,
    Monotonic,
    Speller,
    TransformerLm,
)
from jaxasr.nn.streaming import stream_reader
from tests.nn.tiny import VOCAB, near, rows, speller, streams, training_of

LENGTHS = np.array([5, 2, 0])
TOKENS = np.array([[1, 5, 2], [3, 0, 0], [4, 0, 0]], np.int32)
IDS = np.array([3, 1, 4], np.uint32)
FUSED = {
    "deep": speller(fusion=DeepFusion(LstmLm(1, 3, vocab=VOCAB)), sampling=0.5),
    "cold": speller(fusion=ColdFusion(TransformerLm(1, 4, 2, vocab=VOCAB), 7), maxout=4),
}
ONE = pytest.mark.parametrize("module", FUSED.values(), ids=FUSED)


@pytest.fixture
def hidden_bsd(rng):
    return jnp.asarray(rng.normal(size=(3, 5, 3)), jnp.float32)


@functools.cache
def variables_of(module: Speller):
    """Returns parameters that are large enough to make every part of the output depend on them."""
    given = (jnp.zeros((3, 5, 3)), jnp.asarray(LENGTHS), jnp.asarray(TOKENS))
    shapes = jax.eval_shape(functools.partial(module.init, training=None), jax.random.key(0), *given)

    def drawn(path, leaf):
        seed = zlib.crc32(jax.tree_util.keystr(path).encode())
        return jnp.asarray(np.random.default_rng(seed).normal(size=leaf.shape) * 0.7, leaf.dtype)

    return jax.tree_util.tree_map_with_path(drawn, shapes)


@functools.cache
def logits_of(module: Speller, *, train: bool):
    """Returns a jitted function to the logits."""

    def logits(variables, hidden_bsd, lengths_b, tokens_bu, ids_b):
        training, rngs = (training_of(ids_b), streams()) if train else (None, None)
        return module.apply(variables, hidden_bsd, lengths_b, tokens_bu, training=training, rngs=rngs).logits_bkv

    return jax.jit(logits)


@ONE
def test_step_by_step_is_teacher_forced(hidden_bsd, module):
    variables = variables_of(module)
    logits_bkv = logits_of(module, train=False)(variables, hidden_bsd, LENGTHS, TOKENS, IDS)
    memory, state = jax.jit(functools.partial(module.apply, method="start"))(variables, hidden_bsd, LENGTHS)
    state = state.with_capacity(4)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(state)} == {3}
    step = jax.jit(functools.partial(module.apply, method="step"))
    for position, tokens_b in enumerate(np.pad(TOKENS, ((0, 0), (1, 0))).T):
        found_bv, _, state = step(variables, memory, state, jnp.asarray(tokens_b))
        np.testing.assert_allclose(found_bv, logits_bkv[:, position], rtol=1e-4, atol=1e-5)


@ONE
def test_the_language_model_is_no_parameter_and_gets_no_gradient(hidden_bsd, module):
    variables = variables_of(module)
    assert "lm" not in variables["params"]["fusion"]
    frozen = variables["lm"]["fusion"]["variables"]
    blank = jax.eval_shape(
        lambda: module.fusion.lm.init(jax.random.key(0), jnp.zeros((1, 1), int), jnp.ones(1, int), None, method="read")
    )
    assert jax.tree.map(jnp.shape, frozen) == jax.tree.map(lambda leaf: leaf.shape, blank)
    logits = logits_of(module, train=True)
    gradient = jax.jit(jax.grad(lambda *given: jnp.sum(jnp.sin(logits(*given)[:, 0]))))(
        variables, hidden_bsd, LENGTHS, TOKENS, IDS
    )
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["lm"]))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient["params"]["fusion"]))
    without_lm = {**variables, "lm": jax.tree.map(jnp.zeros_like, variables["lm"])}
    given = (hidden_bsd, LENGTHS, TOKENS, IDS)
    assert np.any(np.abs(logits(variables, *given) - logits(without_lm, *given)) > 1e-3)


@ONE
def test_padding_and_neighbours_change_nothing(hidden_bsd, module):
    """Compares every transcript alone in training to a shape with two more tokens of garbage."""
    logits = logits_of(module, train=True)
    garbage = np.pad(TOKENS, ((0, 0), (0, 2)), constant_values=4)
    together = logits(variables_of(module), hidden_bsd, LENGTHS, garbage, IDS)
    for row in range(2):
        one = rows((hidden_bsd, LENGTHS, TOKENS, IDS), np.s_[row : row + 1])
        alone = logits(variables_of(module), *one)
        real = [4, 2][row]
        near(together[row, :real], alone[0, :real], rtol=1e-4, atol=1e-5)


def test_a_language_model_has_room_for_all_that_the_model_says_itself(hidden_bsd):
    """Scheduled sampling sets the capacity, not `max_tokens`: beyond the capacity logits would be NaN."""

    def own(max_tokens):
        lm = TransformerLm(1, 4, 2, vocab=VOCAB, max_tokens=max_tokens)
        module = speller(fusion=ColdFusion(lm, 7), sampling=1.0)
        return logits_of(module, train=True)(variables_of(module), hidden_bsd, LENGTHS, TOKENS, IDS)

    near(own(1), own(20), rtol=1e-4, atol=1e-5)


def test_a_stream_has_no_room_for_a_language_model_that_keeps_every_token():
    attention = AdditiveAttention(5, focus=Monotonic())
    assert stream_reader(speller(attention=attention, fusion=DeepFusion(LstmLm(1, 2, vocab=VOCAB)))).lookback == 0
    with pytest.raises(ValueError, match="a TransformerLm, which keeps something of every token"):
        stream_reader(speller(attention=attention, fusion=DeepFusion(TransformerLm(1, 2, 1, vocab=VOCAB))))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def applied(fusion: Fusion, features, lm_output):
    features, lm_output = (jnp.asarray(x, jnp.float32)[None] for x in (features, lm_output))
    found, variables = jax.jit(fusion.init_with_output)(jax.random.key(0), features, lm_output)
    return np.asarray(found)[0], jax.tree.map(np.asarray, variables["params"])


def test_the_gate_of_deep_fusion():
    """Equations 7 and 8: one gate for the whole state, nearly closed at initialisation."""
    found, params = applied(DeepFusion(LstmLm(1, 2, vocab=3)), [1.0, 2.0, 3.0], [4.0, 5.0])
    gate = sigmoid(np.array([4.0, 5.0]) @ params["gate"]["kernel"][:, 0] - 1.0)
    np.testing.assert_allclose(found, [1.0, 2.0, 3.0, 4.0 * gate, 5.0 * gate], rtol=1e-5)


def test_the_gates_of_cold_fusion():
    """Equations 4a to 4d: logits minus their largest, a gate for each unit, two layers of ReLU."""
    fusion = ColdFusion(LstmLm(1, 2, vocab=3), 4)
    s = np.array([1.0, -2.0])
    logits = np.array([7.0, 9.0, 8.0])
    found, params = applied(fusion, s, logits)
    hidden = np.maximum([-2.0, 0.0, -1.0] @ params["inner"]["kernel"], 0)
    gates = sigmoid(np.concatenate([s, hidden]) @ params["gate"]["kernel"])
    expected = np.maximum(np.concatenate([s, gates * hidden]) @ params["outer"]["kernel"], 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_what_can_not_be_is_refused():
    lm = LstmLm(1, 2, vocab=VOCAB)
    with pytest.raises(ValueError, match=r"ColdFusion\.width is 0"):
        ColdFusion(lm, 0)
    with pytest.raises(ValueError, match="a language model of 3 tokens, the Speller has 6"):
        speller(fusion=DeepFusion(LstmLm(1, 2, vocab=3)))
    with pytest.raises(ValueError, match="an attention that mixes nothing"):
        speller(attention=AdditiveAttention(5, focus=LatentAttention(3)), fusion=DeepFusion(lm))
    with pytest.raises(TypeError, match="Fusion is a Fusion without"):
        applied(Fusion(lm), [1.0], [1.0])
