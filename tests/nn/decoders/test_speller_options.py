"""The speller's options: steps against teacher forcing, padding invariance in training, and the effect of each option."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import AdditiveAttention, GumbelSoftmax, HardAttention, LatentAttention, Speller
from tests.nn.tiny import ADDITIVE, VOCAB, near, rows, speller, streams, training_of, with_garbage
from tests.reference.attention import softmax
from tests.reference.lstm import cell as lstm_cell

WIDTH = 3  # of the encoder's output
LENGTHS = np.array([5, 2, 0])
TOKENS = np.array([[1, 5, 2], [3, 0, 0], [4, 0, 0]], np.int32)
TOKEN_LENGTHS = np.array([3, 1, 0])
IDS = np.array([3, 1, 4], np.uint32)
HARD = functools.partial(AdditiveAttention, 5)
SPELLERS = {
    "gru": speller(cell="gru", depth=2),
    "maxout": speller(maxout=8, dropout=0.4),
    "own tokens": speller(sampling=0.6, dropout=0.4),
    "own tokens by a schedule": speller(sampling=lambda step: step / 10.0),
    "sampled": speller(attention=HARD(focus=HardAttention(2))),
    "gumbel": speller(attention=HARD(focus=GumbelSoftmax(0.5))),
    "latent sum": speller(attention=HARD(focus=LatentAttention(3)), maxout=4, dropout=0.4),
    "latent max": speller(attention=HARD(focus=LatentAttention(3, "max")), depth=2),
}


@pytest.fixture
def hidden_bsd(rng):
    return rng.normal(size=(3, 5, WIDTH)).astype(np.float32)


def parameters_of(module: Speller):
    """Returns parameters that are large enough to make every part of the output depend on them."""
    init = functools.partial(module.init, training=None)
    shapes = jax.eval_shape(
        init, jax.random.key(0), jnp.zeros((3, 5, WIDTH)), jnp.asarray(LENGTHS), jnp.asarray(TOKENS)
    )

    def drawn(path, leaf):
        seed = zlib.crc32(jax.tree_util.keystr(path).encode())
        return np.random.default_rng(seed).normal(size=leaf.shape).astype(np.float32) * 0.7

    return jax.tree_util.tree_map_with_path(drawn, shapes)


def forward(module, variables, hidden_bsd, lengths, tokens_bu, *, step=None, ids=IDS):
    training = None if step is None else training_of(ids, step)
    return module.apply(
        variables,
        jnp.asarray(hidden_bsd),
        jnp.asarray(lengths),
        jnp.asarray(tokens_bu),
        training=training,
        rngs=None if step is None else streams(),
    )


@pytest.mark.parametrize("name", SPELLERS)
def test_step_by_step_is_teacher_forced(hidden_bsd, name):
    module = SPELLERS[name]
    variables = parameters_of(module)

    @jax.jit
    def both(variables, hidden_bsd):
        decoded = forward(module, variables, hidden_bsd, LENGTHS, TOKENS)
        memory, state = module.apply(variables, hidden_bsd, jnp.asarray(LENGTHS), method="start")
        steps = []
        for tokens_b in np.pad(TOKENS, ((0, 0), (1, 0))).T:
            logits_bv, weights_bhs, state = module.apply(variables, memory, state, jnp.asarray(tokens_b), method="step")
            steps.append((logits_bv, weights_bhs))
        return (decoded.logits_bkv, decoded.weights_bkhs), jax.tree.map(lambda *x: jnp.stack(x, axis=1), *steps)

    at_once, by_steps = both(variables, jnp.asarray(hidden_bsd))
    near(by_steps, at_once, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SPELLERS)
def test_padding_and_neighbours_change_nothing_in_training(hidden_bsd, name):
    module = SPELLERS[name]
    variables = parameters_of(module)
    samples = module.attention.samples

    @jax.jit
    def value(variables, hidden_bsd, lengths_b, tokens_bu, token_lengths_b, ids_b):
        def loss(variables, hidden_bsd):
            decoded = forward(module, variables, hidden_bsd, lengths_b, tokens_bu, step=4, ids=ids_b)
            real_xk = jnp.repeat(jnp.arange(tokens_bu.shape[1] + 1)[None] <= token_lengths_b[:, None], samples, axis=0)
            mix_v = jnp.arange(1.0, VOCAB + 1)[None, None]
            seen = jnp.sum(jnp.where(real_xk[..., None], jnp.sin(decoded.logits_bkv) * mix_v, 0.0))
            if decoded.draws is not None:
                drawn = decoded.draws.log_probs_bu + decoded.draws.baselines_bu + decoded.draws.entropies_bu
                seen += jnp.sum(jnp.where(real_xk, drawn, 0.0))
            return seen, decoded.weights_bkhs

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(variables, hidden_bsd)

    given = (jnp.asarray(hidden_bsd), *map(jnp.asarray, (LENGTHS, TOKENS, TOKEN_LENGTHS, IDS)))
    (found, weights), (d_variables, d_hidden) = value(variables, *given)
    spoilt = (with_garbage(hidden_bsd, LENGTHS, extra=2), given[1], jnp.pad(given[2], ((0, 0), (0, 1))), *given[3:])
    (longer, longer_weights), (d_longer, d_spoilt) = value(variables, *rows(spoilt, np.s_[::-1]))
    back = np.arange(3 * samples).reshape(3, samples)[::-1].reshape(-1)
    for row, tokens in enumerate(np.repeat(TOKEN_LENGTHS, samples)):
        near(longer_weights[back[row], : tokens + 1, :, :5], weights[row, : tokens + 1])
    near((longer, d_longer, d_spoilt[::-1, :5]), (found, d_variables, d_hidden), rtol=1e-4, atol=1e-5)
    assert not np.any(np.asarray(d_hidden)[np.arange(5) >= LENGTHS[:, None]])


def test_a_latent_position_is_the_exact_sum_over_positions(hidden_bsd):
    """Computes token probabilities in float64: the sum over positions of weight times probability after reading each."""
    module = speller(attention=HARD(focus=LatentAttention(9)))
    variables = parameters_of(module)
    logits = jax.jit(functools.partial(forward, module))(variables, hidden_bsd, LENGTHS, TOKENS).logits_bkv
    p = jax.tree.map(lambda leaf: np.asarray(leaf, float), variables["params"])
    hidden_sd = hidden_bsd[0].astype(float)
    h, c = np.zeros((2, 4))
    context = np.zeros(WIDTH)
    for position, token in enumerate([0, *TOKENS[0]]):
        gates = p["embed"]["embedding"][token] @ p["token_gates"]["kernel"] + p["token_gates"]["bias"]
        h, c = lstm_cell(gates + np.concatenate([context, h]) @ p["kernels_0"]["kernel"], c)
        at = p["attention"]
        keys = hidden_sd @ at["key"]["kernel"] + at["key"]["bias"]
        weights_s = softmax(np.tanh(keys + h @ at["query"]["kernel"]) @ at["energy"][:, 0])
        probabilities = [
            softmax(np.concatenate([h, read]) @ p["readout"]["kernel"] + p["readout"]["bias"]) for read in hidden_sd
        ]
        np.testing.assert_allclose(np.exp(logits[0, position]), weights_s @ np.array(probabilities), rtol=1e-4)
        context = hidden_sd[np.argmax(weights_s)]


def greedy(module, variables, hidden_bsd, steps):
    """Returns the logits of a greedy search."""
    memory, state = module.apply(variables, hidden_bsd, jnp.asarray(LENGTHS), method="start")
    tokens_b = jnp.zeros(len(LENGTHS), jnp.int32)
    logits = []
    for _ in range(steps):
        logits_bv, _, state = module.apply(variables, memory, state, tokens_b, method="step")
        tokens_b = jnp.argmax(logits_bv, axis=-1)
        logits.append(logits_bv)
    return jnp.stack(logits, axis=1)


def test_at_probability_one_a_sure_model_reads_what_it_wrote(hidden_bsd):
    module = speller(sampling=1.0)
    variables = parameters_of(module)
    variables["params"]["readout"]["kernel"] = 1e4 * variables["params"]["readout"]["kernel"]  # draws are the arg max
    found = jax.jit(functools.partial(forward, module, step=0))(variables, hidden_bsd, LENGTHS, TOKENS)
    other = jax.jit(functools.partial(forward, module, step=0))(variables, hidden_bsd, LENGTHS, TOKENS[:, ::-1])
    expected = jax.jit(functools.partial(greedy, module, steps=4))(variables, jnp.asarray(hidden_bsd))
    near(found.logits_bkv, expected, rtol=1e-3)
    near(other.logits_bkv, expected, rtol=1e-3)


def test_the_schedule_says_how_many_tokens_are_its_own(hidden_bsd):
    """A uniform model draws all tokens with equal probability: the share of changed positions is 5 / 6 of the schedule."""
    module = speller(sampling=lambda step: step / 10.0)
    variables = jax.tree.map(jnp.asarray, parameters_of(module))
    variables["params"]["readout"] = jax.tree.map(jnp.zeros_like, variables["params"]["readout"])
    many = 300
    length = 8
    ids = np.arange(many, dtype=np.uint32)
    tokens = np.full((many, length), 3, np.int32)

    @jax.jit
    def sampled_inputs(step):
        hidden = jnp.zeros((many, 1, WIDTH))
        lengths = jnp.ones(many, jnp.int32)

        def run(module):
            memory, state = module._start(hidden, lengths, training_of(ids))
            inputs = jnp.pad(jnp.asarray(tokens), ((0, 0), (1, 0)))
            return module._sampled_inputs(memory, state, inputs, training_of(ids, step))

        return module.apply(variables, method=run, rngs=streams())

    for step, share in ((0, 0.0), (3, 0.3), (10, 1.0)):
        inputs = np.asarray(sampled_inputs(step))
        assert not np.any(inputs[:, 0])
        changed = np.mean(inputs[:, 1:] != 3)
        expected = share * (VOCAB - 1) / VOCAB
        assert abs(changed - expected) <= 4 * np.sqrt(expected * (1 - expected) / (many * length))


def test_a_speller_trains_with_what_its_examples_say_alone(hidden_bsd):
    """An example draws the same tokens in any row, and another id draws others."""
    module = SPELLERS["own tokens"]
    variables = parameters_of(module)
    same = np.repeat(hidden_bsd[:1], 3, axis=0)
    logits = jax.jit(functools.partial(forward, module, step=4, ids=np.array([7, 7, 8], np.uint32)))(
        variables, same, np.array([5, 5, 5]), np.repeat(TOKENS[:1], 3, axis=0)
    ).logits_bkv
    near(logits[0], logits[1])
    assert np.any(logits[0] != logits[2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"maxout": 3}, r"Speller\.maxout is 3; it must be an even number"),
        ({"sampling": 1.5}, r"Speller\.sampling is 1\.5; it must be in \[0, 1\]"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Speller(1, 4, ADDITIVE, vocab=VOCAB, **changes)
