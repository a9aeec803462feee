"""The Transformer decoder: reference implementation, steps against teacher forcing, padding invariance, causality."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import DotAttention, FixedVector, HardAttention, LatentAttention, LocationAttention, TransformerDecoder
from jaxasr.nn.attention.scored import AdditiveAttention
from tests.nn.tiny import VOCAB, near, rows, streams, training_of, with_garbage
from tests.reference import self_attentive

WIDTH = 3  # of the encoder's output
LENGTHS = np.array([5, 2, 0])
TOKENS = np.array([[1, 5, 2], [3, 0, 0], [4, 0, 0]], np.int32)
TOKEN_LENGTHS = np.array([3, 1, 0])
IDS = jnp.array([3, 1, 4], jnp.uint32)


def decoder(attention, **changes) -> TransformerDecoder:
    return TransformerDecoder(2, 8, 2, attention, vocab=VOCAB, expansion=2, **changes)


DOT = decoder(DotAttention(4, 2), dropout=0.3, stochastic_depth=0.2)
LOCATION = decoder(LocationAttention(5, filters=2, kernel_size=3))
PROMPTED = decoder(
    DotAttention(4, 2),
    prompt=(4, 2, 3),
    positions="learned",
    max_positions=259,
    embedding_scale="none",
    tied=True,
    activation="gelu",
    alignment_heads=((1, 0), (0, 1)),
)


def given(hidden_bsd, lengths=LENGTHS, tokens_bu=TOKENS):
    return jnp.asarray(hidden_bsd), jnp.asarray(lengths), jnp.asarray(tokens_bu)


@functools.cache
def variables_of(module):
    """Returns parameters that are large enough to make every part of the output depend on them."""

    def drawn(path, leaf):
        seed = zlib.crc32(jax.tree_util.keystr(path).encode())
        return np.random.default_rng(seed).normal(size=leaf.shape).astype(np.float32) * 0.5

    init = functools.partial(module.init, training=None)
    return jax.tree_util.tree_map_with_path(drawn, jax.eval_shape(init, jax.random.key(0), *given(np.zeros((3, 5, 3)))))


@functools.cache
def with_gradients(module, *, train: bool):
    """Returns a jitted function to a number that depends on the logits of `seen_bk`, with gradients."""

    def value(variables, hidden_bsd, seen_bk, lengths_b, tokens_bu, ids_b):
        training, rngs = (training_of(ids_b), streams()) if train else (None, None)
        decoded = module.apply(variables, hidden_bsd, lengths_b, tokens_bu, training=training, rngs=rngs)
        mix_v = jnp.arange(1.0, VOCAB + 1)[None, None]
        total = jnp.sum(jnp.where(seen_bk[..., None], jnp.sin(decoded.logits_bkv) * mix_v, 0))
        return total, (decoded.logits_bkv, decoded.weights_bkhs)

    return jax.jit(jax.value_and_grad(value, argnums=(0, 1), has_aux=True))


def real(positions):
    """Returns a mask that is True at real tokens, the end included."""
    return jnp.asarray(np.arange(positions) <= TOKEN_LENGTHS[:, None])


@pytest.fixture
def hidden_bsd(rng):
    return rng.normal(size=(3, 5, WIDTH)).astype(np.float32)


def test_values_are_those_of_the_reference(hidden_bsd):
    variables = variables_of(DOT)
    hidden, *rest = given(hidden_bsd)
    (_, (logits, weights)), _ = with_gradients(DOT, train=False)(variables, hidden, real(4), *rest, IDS)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, float), variables["params"])
    assert weights.shape == (3, 4, 4, 5)  # two heads of the first layer, two of the second
    for row, (length, tokens) in enumerate(zip(LENGTHS, TOKEN_LENGTHS, strict=True)):
        expected, expected_weights = self_attentive.decode(
            params, hidden_bsd[row, :length].astype(float), TOKENS[row, :tokens], heads=2, cross_heads=2
        )
        np.testing.assert_allclose(logits[row, : tokens + 1], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(weights[row, : tokens + 1, :, :length], expected_weights, rtol=1e-4, atol=1e-6)
        assert not np.any(weights[row, ..., length:])


@pytest.mark.parametrize("module", [DOT, LOCATION, PROMPTED], ids=["dot", "location", "prompted"])
def test_step_by_step_is_teacher_forced(hidden_bsd, module):
    """The capacity is just enough, or grows on the way as in a search."""
    variables = variables_of(module)
    hidden, *rest = given(hidden_bsd)
    (_, (logits, weights)), _ = with_gradients(module, train=False)(variables, hidden, real(4), *rest, IDS)
    start = jax.jit(functools.partial(module.apply, method="start"))
    step = jax.jit(functools.partial(module.apply, method="step"))
    memory, state = start(variables, *given(hidden_bsd)[:2])
    assert {leaf.shape[0] for leaf in jax.tree.leaves((memory, state))} == {3}
    assert state.capacity == 256
    state = state.with_capacity(2)
    for position, tokens_b in enumerate(np.pad(TOKENS, ((0, 0), (1, 0))).T):
        state = state.with_capacity(4) if position == 2 else state
        found, output, state = step(variables, memory, state, jnp.asarray(tokens_b))
        np.testing.assert_allclose(found, logits[:, position], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(output, weights[:, position], rtol=1e-4, atol=1e-6)
    assert np.all(np.isnan(step(variables, memory, state, jnp.asarray([1, 1, 1]))[0]))


def test_padding_and_neighbours_change_nothing(hidden_bsd):
    """Compares every example alone, with dropout and stochastic depth, to a larger shape with garbage as padding."""
    variables = variables_of(DOT)
    value = with_gradients(DOT, train=True)
    spoilt_bsd = with_garbage(hidden_bsd, LENGTHS, extra=4)
    _, *rest = given(spoilt_bsd, tokens_bu=np.pad(TOKENS, ((0, 0), (0, 2))))
    (found, (logits, weights)), (d_variables, d_hidden) = value(variables, spoilt_bsd, real(6), *rest, IDS)
    alone = []
    for row, tokens in enumerate(TOKEN_LENGTHS):
        hidden, *rest = rows((*given(hidden_bsd), IDS), np.s_[row : row + 1])
        (one, outputs), d_one = value(variables, hidden, real(4)[row : row + 1], *rest)
        near(
            rows((logits, weights[..., :5]), np.s_[row, : tokens + 1]),
            rows(outputs, np.s_[0, : tokens + 1]),
            rtol=1e-4,
            atol=1e-5,
        )
        near(d_hidden[row, :5], d_one[1][0], rtol=1e-4, atol=1e-5)
        alone.append((one, d_one[0]))
    near((found, d_variables), jax.tree.map(lambda *leaves: sum(leaves), *alone), rtol=1e-4, atol=1e-4)
    behind_bs = np.arange(9) >= LENGTHS[:, None]
    assert not np.any(d_hidden[behind_bs])
    assert not np.any(np.asarray(weights).swapaxes(1, 3)[behind_bs])
    _, (quiet, _) = with_gradients(DOT, train=False)(
        variables, *given(hidden_bsd)[:1], real(4), *given(hidden_bsd)[1:], IDS
    )[0]
    assert np.any(np.abs(quiet - logits[:, :4]) > 1e-3)


def test_a_token_is_seen_by_what_comes_after_it_and_by_nothing_else(hidden_bsd):
    """Each token of the first row has one position: the gradient of its embedding shows which positions depend on it."""
    hidden, *rest = given(hidden_bsd)
    for position in range(4):
        seen_bk = jnp.zeros((3, 4), bool).at[0, position].set(True)
        d_variables, _ = with_gradients(DOT, train=False)(variables_of(DOT), hidden, seen_bk, *rest, IDS)[1]
        seen_v = np.any(d_variables["params"]["embed"]["embedding"], axis=-1)
        assert [seen_v[token] for token in (0, *TOKENS[0])] == [place <= position for place in range(4)]


def test_a_prompt_is_read_before_the_first_token(hidden_bsd):
    """The prompt takes the place of END: with two more tokens in the transcript the same decoder computes the same."""
    hidden, lengths_b, tokens_bu = given(hidden_bsd)
    variables = jax.tree.map(jnp.asarray, variables_of(PROMPTED))

    @functools.partial(jax.jit, static_argnums=0)
    def apply(module, tokens_bu):
        return module.apply(variables, hidden, lengths_b, tokens_bu, training=None)

    prompted = apply(PROMPTED, tokens_bu)
    longer = apply(PROMPTED.clone(prompt=(4,)), jnp.pad(tokens_bu, ((0, 0), (2, 0))).at[:, :2].set(jnp.array([2, 3])))
    assert prompted.logits_bkv.shape == (3, 4, VOCAB)
    near(prompted.logits_bkv, longer.logits_bkv[:, 2:], rtol=1e-4, atol=1e-5)
    every = apply(PROMPTED.clone(alignment_heads=None), tokens_bu)
    near(prompted.weights_bkhs, every.weights_bkhs[:, :, [2, 1]])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": (VOCAB,)}, rf"prompt has the tokens \[{VOCAB}\]"),
        ({"positions": "learned"}, "a learned table needs a number of rows"),
        ({"max_positions": 9}, "a learned table needs a number of rows"),
        ({"positions": "learned", "max_positions": 9}, "more than max_positions=9; lower max_tokens"),
        ({"alignment_heads": ((2, 0),)}, "pairs of a layer below 2 and a head below 2"),
    ],
)
def test_tables_that_can_not_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        decoder(DotAttention(4, 2), **fields)


def test_more_tokens_than_positions_are_refused(hidden_bsd):
    module = decoder(DotAttention(4, 2), positions="learned", max_positions=3, max_tokens=3)
    with pytest.raises(ValueError, match=r"max_positions is 3, and a batch has 4 tokens"):
        jax.eval_shape(functools.partial(module.init, training=None), jax.random.key(0), *given(hidden_bsd))
    variables = jax.tree.map(jnp.asarray, variables_of(PROMPTED))
    memory, state = jax.jit(functools.partial(PROMPTED.apply, method="start"))(variables, *given(hidden_bsd)[:2])
    with pytest.raises(ValueError, match=r"max_positions is 259, and a search may write 302 tokens"):
        PROMPTED.apply(variables, memory, state.with_capacity(300), jnp.array([0, 0, 0]), method="step")


def test_what_the_layers_drew_is_one_draw(hidden_bsd):
    """Several samples repeat each example; log probabilities and entropies of the layers are added up."""
    attention = AdditiveAttention(5, focus=HardAttention(samples=2))

    def run(depth):
        module = TransformerDecoder(depth, 8, 2, attention, vocab=VOCAB, expansion=1)
        train = functools.partial(module.init_with_output, training=training_of(IDS))
        return jax.jit(lambda: train({"params": jax.random.key(0)} | streams(), *given(hidden_bsd))[0])()

    one = run(1)
    two = run(2)
    weights = np.asarray(two.weights_bkhs)[:4]
    assert two.logits_bkv.shape == (6, 4, VOCAB)
    assert set(np.unique(weights)) == {0.0, 1.0}
    np.testing.assert_array_equal(np.sum(weights, axis=-1), np.ones((4, 4, 2)))
    assert two.draws.log_probs_bu.shape == two.draws.baselines_bu.shape == (6, 4)
    assert np.mean(two.draws.entropies_bu[:2]) > 1.5 * np.mean(one.draws.entropies_bu[:2])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"depth": 0}, "has depth 0"),
        ({"vocab": 1}, "and vocab 1; all must be positive, with a token beside the end"),
        ({"width": 7}, "width 7 and heads 2; the width must be even"),
        ({"stochastic_depth": 1.0}, "TransformerDecoder.stochastic_depth is 1.0"),
        ({"max_tokens": 0}, "max_tokens 0"),
        ({"attention": FixedVector(read="never")}, "read nothing"),
        (
            {"attention": AdditiveAttention(4, focus=LatentAttention())},
            "marginalisation='sum', positions that only a Speller can mix",
        ),
    ],
)
def test_what_can_not_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        TransformerDecoder(
            **({"depth": 1, "width": 8, "heads": 2, "attention": DotAttention(4, 2), "vocab": 6} | wrong)
        )
