"""The speller: a reference implementation in float64, steps against teacher forcing, padding invariance, causality."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import Speller
from tests.nn.tiny import ADDITIVE, LOCATION, VOCAB, near, rows, speller, streams, training_of, with_garbage
from tests.reference.gradient import gradients
from tests.reference.speller import spell

WIDTH = 3  # of the encoder's output
LENGTHS = np.array([5, 2, 0])
TOKENS = np.array([[1, 5, 2], [3, 0, 0], [4, 0, 0]], np.int32)
TOKEN_LENGTHS = np.array([3, 1, 0])
KINDS = {
    f"{name} depth {depth}": (depth, kind)
    for name, kind in (("additive", ADDITIVE), ("location", LOCATION))
    for depth in (1, 2)
} | {"gru depth 2, maxout": (2, LOCATION, {"cell": "gru", "maxout": 6})}


@functools.cache
def made(kind: str):
    """Returns the module, and parameters that are large enough to make every part of the output depend on them."""
    depth, attention, *changes = KINDS[kind]
    module = speller(depth=depth, attention=attention, dropout=0.4, **dict(*changes))
    shapes = jax.eval_shape(
        functools.partial(module.init, training=None), jax.random.key(0), *given(np.zeros((3, 5, WIDTH)))
    )

    def drawn(path, leaf):
        seed = zlib.crc32(jax.tree_util.keystr(path).encode())
        return np.random.default_rng(seed).normal(size=leaf.shape).astype(np.float32) * 0.7

    return module, jax.tree_util.tree_map_with_path(drawn, shapes)


def given(hidden_bsd, lengths=LENGTHS, tokens_bu=TOKENS):
    return jnp.asarray(hidden_bsd), jnp.asarray(lengths), jnp.asarray(tokens_bu)


@functools.cache
def forward(kind: str, *, train: bool = False):
    """Returns a jitted function to teacher-forced logits and weights."""
    module, _ = made(kind)

    def run(variables, hidden_bsd, lengths_b, tokens_bu, ids_b):
        training, rngs = (training_of(ids_b), streams()) if train else (None, None)
        decoded = module.apply(variables, hidden_bsd, lengths_b, tokens_bu, training=training, rngs=rngs)
        return decoded.logits_bkv, decoded.weights_bkhs

    return jax.jit(run)


@functools.cache
def with_gradients(kind: str, *, train: bool):
    """Returns a jitted function to a number that depends on the logits of `seen_bk`, with gradients."""

    def value(variables, hidden_bsd, seen_bk, *rest):
        outputs = forward(kind, train=train)(variables, hidden_bsd, *rest)
        mix_v = jnp.arange(1.0, VOCAB + 1)[None, None]
        return jnp.sum(jnp.where(seen_bk[..., None], jnp.sin(outputs[0]) * mix_v, 0)), outputs

    return jax.jit(jax.value_and_grad(value, argnums=(0, 1), has_aux=True))


def real(positions):
    """Returns a mask that is True at real tokens, the end included."""
    return jnp.asarray(np.arange(positions) <= TOKEN_LENGTHS[:, None])


@pytest.fixture
def hidden_bsd(rng):
    return rng.normal(size=(3, 5, WIDTH)).astype(np.float32)


IDS = jnp.array([3, 1, 4], jnp.uint32)


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_the_reference(hidden_bsd, kind):
    _, variables = made(kind)
    logits, weights = forward(kind)(variables, *given(hidden_bsd), IDS)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, float), variables["params"])
    assert weights.shape == (3, 4, 1, 5)
    for row, (length, tokens) in enumerate(zip(LENGTHS, TOKEN_LENGTHS, strict=True)):
        expected, expected_weights = spell(params, hidden_bsd[row, :length].astype(float), TOKENS[row, :tokens])
        np.testing.assert_allclose(logits[row, : tokens + 1], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(weights[row, : tokens + 1, 0, :length], expected_weights, rtol=1e-4, atol=1e-6)
        assert not np.any(weights[row, :, 0, length:])


@pytest.mark.parametrize("kind", ["location depth 2", "gru depth 2, maxout"])
def test_all_gradients_are_those_of_the_reference(hidden_bsd, kind):
    _, variables = made(kind)
    hidden, *rest = given(hidden_bsd)
    d_variables, d_hidden_bsd = with_gradients(kind, train=False)(variables, hidden, real(4), *rest, IDS)[1]
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda leaf: np.asarray(leaf, float), variables["params"]))
    totals = [np.zeros_like(leaf) for leaf in leaves]
    for row, (length, tokens) in enumerate(zip(LENGTHS, TOKEN_LENGTHS, strict=True)):

        def value(hidden_sd, *leaves, row=row, tokens=tokens):
            logits, _ = spell(jax.tree.unflatten(structure, leaves), hidden_sd, TOKENS[row, :tokens])
            return np.sum(np.sin(logits) * np.arange(1.0, VOCAB + 1))

        d_hidden_sd, *d_leaves = gradients(value, hidden_bsd[row, :length].astype(float), *leaves)
        np.testing.assert_allclose(d_hidden_bsd[row, :length], d_hidden_sd, rtol=1e-4, atol=1e-4)
        assert not np.any(d_hidden_bsd[row, length:])
        totals = [total + d for total, d in zip(totals, d_leaves, strict=True)]
    near(d_variables["params"], jax.tree.unflatten(structure, totals), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_is_teacher_forced(hidden_bsd, kind):
    module, variables = made(kind)
    logits, weights = forward(kind)(variables, *given(hidden_bsd), IDS)
    start = jax.jit(functools.partial(module.apply, method="start"))
    step = jax.jit(functools.partial(module.apply, method="step"))
    memory, state = start(variables, *given(hidden_bsd)[:2])
    for position, tokens_b in enumerate(np.pad(TOKENS, ((0, 0), (1, 0))).T):
        found, output, state = step(variables, memory, state, jnp.asarray(tokens_b))
        np.testing.assert_allclose(found, logits[:, position], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(output, weights[:, position], rtol=1e-5, atol=1e-6)


def test_padding_and_neighbours_change_nothing(hidden_bsd):
    """Compares every example alone, with dropout, to a larger shape with garbage after every utterance."""
    kind = "location depth 2"
    _, variables = made(kind)
    value = with_gradients(kind, train=True)
    spoilt_bsd = with_garbage(hidden_bsd, LENGTHS, extra=4)
    _, *rest = given(spoilt_bsd, tokens_bu=np.pad(TOKENS, ((0, 0), (0, 2))))
    (found, (logits, weights)), (d_variables, d_hidden) = value(variables, spoilt_bsd, real(6), *rest, IDS)
    alone = []
    for row, tokens in enumerate(TOKEN_LENGTHS):
        hidden, *rest = rows((*given(hidden_bsd), IDS), np.s_[row : row + 1])
        (one, outputs), d_one = value(variables, hidden, real(4)[row : row + 1], *rest)
        near(rows((logits, weights[..., :5]), np.s_[row, : tokens + 1]), rows(outputs, np.s_[0, : tokens + 1]))
        near(d_hidden[row, :5], d_one[1][0])
        alone.append((one, d_one[0]))
    near((found, d_variables), jax.tree.map(lambda *leaves: sum(leaves), *alone), rtol=1e-4, atol=1e-5)
    behind_bs = np.arange(9) >= LENGTHS[:, None]
    assert not np.any(d_hidden[behind_bs])
    assert not np.any(np.asarray(weights).swapaxes(1, 3)[behind_bs])


def test_a_token_is_seen_by_what_comes_after_it_and_by_nothing_else(hidden_bsd):
    """Each token of the first row has one position: the gradient of its embedding shows which positions depend on it."""
    kind = "location depth 2"
    _, variables = made(kind)
    hidden, *rest = given(hidden_bsd)
    for position in range(4):
        seen_bk = jnp.zeros((3, 4), bool).at[0, position].set(True)
        d_variables, _ = with_gradients(kind, train=False)(variables, hidden, seen_bk, *rest, IDS)[1]
        seen_v = np.any(d_variables["params"]["embed"]["embedding"], axis=-1)
        assert [seen_v[token] for token in (0, *TOKENS[0])] == [place <= position for place in range(4)]


def test_dropout_is_drawn_in_training_only(hidden_bsd):
    kind = "additive depth 1"
    _, variables = made(kind)
    quiet, _ = forward(kind)(variables, *given(hidden_bsd), IDS)
    drawn, other = (forward(kind, train=True)(variables, *given(hidden_bsd), ids_b)[0] for ids_b in (IDS, IDS + 1))
    assert np.any(quiet != drawn)
    assert np.any(drawn != other)


@pytest.mark.parametrize(
    "sizes", [{"depth": 0}, {"width": 0}, {"embedding": 0}, {"vocab": 1}], ids=lambda sizes: next(iter(sizes))
)
def test_a_speller_that_can_say_nothing_is_refused(sizes):
    ((name, size),) = sizes.items()
    with pytest.raises(
        ValueError, match=f"Speller has .*{name} {size}.* must be positive, with a token beside the end"
    ):
        Speller(**({"depth": 1, "width": 4, "attention": ADDITIVE, "vocab": 6} | sizes))
