"""Transformer and Conformer: reference implementations, context, scanned and rematerialised layers, sizes."""

import dataclasses
import functools
import math
import zlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.cost.jaxprs import shape_of, trace
from jaxasr.nn import AdditiveAttention, Chunks, Conformer, ConvSubsampling, Speller, TransformerEncoder
from jaxasr.nn.blocks import Layers
from jaxasr.nn.encoders.conformer import Ffn
from jaxasr.nn.module import check_choices
from tests.nn.tiny import near, streams, training_of
from tests.reference import positions, self_attentive

FRAMES = 7
BINS = 3
LENGTHS = np.array([7, 4, 1])
IDS = jnp.array([3, 1, 4], jnp.uint32)
TRANSFORMER = TransformerEncoder(2, 8, 2, expansion=2)
CONFORMER = Conformer(2, 8, 2, expansion=2, kernel_size=3)
REFERENCES = {
    "sinusoids": TRANSFORMER,
    "rotary, chunks": dataclasses.replace(TRANSFORMER, positions="rotary", context=Chunks(2, 1)),
    "conformer": CONFORMER,
    "conformer, even, causal": dataclasses.replace(CONFORMER, kernel_size=4, context=Chunks(1)),
    "relative": dataclasses.replace(TRANSFORMER, positions="relative"),
    "conformer, ReLU, convolution before": dataclasses.replace(CONFORMER, activation="relu", convolution="before"),
    "conformer, full steps, rotary": dataclasses.replace(CONFORMER, ffn="full", positions="rotary"),
    "conformer, one feed, no convolution": dataclasses.replace(
        CONFORMER, ffn="one", convolution="none", positions="sinusoid", expansion=2.5
    ),
    "conformer, side by side": dataclasses.replace(CONFORMER, convolution="beside"),
    "conformer, lightweight, causal": dataclasses.replace(CONFORMER, filters="lightweight", context=Chunks(1)),
}


def drawn(module):
    """Returns parameters that are large enough to make every part of the output depend on them."""

    def of(path, leaf):
        seed = zlib.crc32(jax.tree_util.keystr(path).encode())
        return jnp.asarray(np.random.default_rng(seed).normal(size=leaf.shape) * 0.5, jnp.float32)

    shapes = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.zeros((1, 5, BINS)), jnp.array([5]), training=None)
    )
    return jax.tree_util.tree_map_with_path(of, shapes)


@pytest.fixture
def frames_btf(rng):
    return rng.normal(size=(3, FRAMES, BINS)).astype(np.float32)


@pytest.mark.parametrize("kind", REFERENCES)
def test_values_are_those_of_the_reference(frames_btf, kind):
    module = REFERENCES[kind]
    variables = drawn(module)
    run = jax.jit(functools.partial(module.apply, training=None))
    hidden_bsd, _ = run(variables, jnp.asarray(frames_btf), jnp.asarray(LENGTHS))
    params = jax.tree.map(lambda leaf: np.asarray(leaf, float), variables["params"])
    for row, length in enumerate(LENGTHS):
        x_sd = self_attentive.dense(params["project"], frames_btf[row, :length].astype(float))
        visible_qk = np.ones((length, length), bool)
        for q, k in np.ndindex(length, length):
            if module.context is not None:
                back = q // module.context.size - k // module.context.size
                visible_qk[q, k] = 0 <= back <= (99 if module.context.before is None else module.context.before)
        own_positions = "none" if module.positions == "sinusoid" else module.positions
        if own_positions == "none":
            x_sd = x_sd + np.stack([positions.sinusoid(at, 8) for at in range(length)])
        for layer in range(2):
            own = params[f"block_{layer}"]
            if isinstance(module, Conformer):
                x_sd = self_attentive.conformer(
                    own,
                    x_sd,
                    visible_qk,
                    heads=2,
                    causal=module.context is not None,
                    positions=own_positions,
                    convolution=module.convolution,
                    ffn=module.ffn,
                    bend=getattr(self_attentive, module.activation),
                )
            else:
                x_sd = self_attentive.transformer(own, x_sd, visible_qk, heads=2, positions=own_positions)
        if not isinstance(module, Conformer):
            x_sd = self_attentive.norm(params["norm"], x_sd)
        np.testing.assert_allclose(hidden_bsd[row, :length], x_sd, rtol=1e-4, atol=1e-5)


@functools.cache
def with_gradients(module):
    """Returns a jitted function, in training, to a number that depends on all positions, with gradients."""

    def value(variables, frames_btf):
        training = training_of(IDS)
        hidden_bsd, _ = module.apply(variables, frames_btf, jnp.asarray(LENGTHS), training=training, rngs=streams())
        return jnp.sum(jnp.sin(hidden_bsd) * jnp.arange(1.0, 9)[None, None])

    return jax.jit(jax.value_and_grad(value, argnums=(0, 1)))


def stacked(variables):
    """Returns the parameters of two unrolled layers as those of a scan."""
    params = dict(variables["params"])
    blocks = [params.pop(f"block_{layer}") for layer in range(2)]
    return {"params": params | {"blocks": jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)}}


@pytest.mark.parametrize("remat", ["blocks", "dots"])
def test_layers_in_a_scan_and_layers_computed_twice_are_the_same_layers(frames_btf, remat):
    """Dropout and stochastic depth too: their draws come from the number of the layer."""
    module = dataclasses.replace(CONFORMER, dropout=0.3, stochastic_depth=0.4)
    variables = drawn(module)
    found, (d_variables, d_frames) = with_gradients(module)(variables, frames_btf)
    scanned = dataclasses.replace(module, layers="scan", remat=remat)
    expected = (found, (stacked(d_variables), d_frames))
    near(with_gradients(scanned)(stacked(variables), frames_btf), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["sinusoids", "rotary, chunks", "conformer", "conformer, even, causal"])
def test_scores_in_blocks_are_the_stored_scores(rng, kind):
    """Three blocks of queries, the last one short, with gradients of parameters and frames."""
    module = REFERENCES[kind]
    variables = drawn(module)
    frames_btf = rng.normal(size=(3, 21, BINS)).astype(np.float32)
    lengths = np.array([21, 17, 5])

    def value(score_block, variables, frames_btf):
        changed = dataclasses.replace(module, score_block=score_block)
        hidden_bsd, _ = changed.apply(variables, frames_btf, jnp.asarray(lengths), training=None)
        return jnp.mean(jnp.sin(hidden_bsd) * jnp.arange(1.0, 9)[None, None])

    run = jax.jit(jax.value_and_grad(value, argnums=(1, 2)), static_argnums=0)
    near(run(8, variables, frames_btf), run(0, variables, frames_btf), rtol=1e-3, atol=1e-5)


def kept(remat):
    """Returns the shapes of the residuals of a block's backward pass, without parameters, and the number of products."""
    module = dataclasses.replace(CONFORMER, depth=1, remat=remat)
    shapes = jax.eval_shape(lambda: drawn(module))
    equations = list(trace(with_gradients(module), shapes, jnp.zeros((3, FRAMES, BINS))).everything())
    inside = [equation for equation in equations if equation.name in ("remat", "remat2", "checkpoint")]
    products = sum(equation.name == "dot_general" for equation in equations)
    return [{shape_of(atom) for atom in equation.operands} for equation in inside], products


def test_products_with_weights_are_kept_or_computed_twice():
    """With "dots" two products of attention and one of positions are recomputed, with "blocks" the whole block."""
    products = {remat: kept(remat)[1] for remat in ("none", "blocks", "dots")}
    assert products["none"] < products["dots"] < products["blocks"]
    wide = (3, FRAMES, 16)  # the wide layer: 2 * 8
    assert not any(wide in shapes for shapes in kept("blocks")[0])
    assert any(wide in shapes for shapes in kept("dots")[0])
    scores = (3, 2, FRAMES, FRAMES)
    assert not any(scores in shapes for remat in ("blocks", "dots") for shapes in kept(remat)[0])


def seen(module) -> np.ndarray:
    """Returns a mask that is True where position q of the first row depends on frame t."""
    variables = drawn(module)

    def by_position(frames_tf):
        hidden_bsd, _ = module.apply(variables, frames_tf[None], jnp.array([FRAMES]), training=None)
        return jnp.sum(jnp.sin(hidden_bsd[0]) * jnp.arange(1.0, 9)[None], axis=-1)

    frames_tf = jnp.asarray(np.random.default_rng(5).normal(size=(FRAMES, BINS)), jnp.float32)
    return np.any(np.asarray(jax.jit(jax.jacobian(by_position))(frames_tf)), axis=-1)


def test_a_position_sees_its_chunk_and_those_before_it():
    back = np.arange(FRAMES)[:, None] // 3 - np.arange(FRAMES) // 3
    transformer = dataclasses.replace(TRANSFORMER, depth=1, context=Chunks(3, before=1))
    np.testing.assert_array_equal(seen(transformer), (back >= 0) & (back <= 1))
    conformer = dataclasses.replace(CONFORMER, depth=1, context=Chunks(3))
    np.testing.assert_array_equal(seen(conformer), back >= 0)


def test_frames_of_zeros_leave_gradients_of_the_usual_size(frames_btf):
    """Time masks leave frames of zeros. With an initial projection bias of zero the gradients are NaN."""
    module = dataclasses.replace(CONFORMER, depth=3, subsampling=ConvSubsampling((2,)), layers="scan")
    init = jax.jit(functools.partial(module.init, training=None))
    variables = init(jax.random.key(1), jnp.asarray(frames_btf), jnp.asarray(LENGTHS))
    sizes = []
    for frames in (frames_btf, np.zeros_like(frames_btf)):
        _, gradients = with_gradients(module)(variables, frames)
        sizes.append(max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(gradients)))
    assert 0 < sizes[1] < 20 * sizes[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Conformer(0, 8, 2), "Conformer has depth 0"),
        (lambda: Conformer(1, 6, 2), "the width a multiple of twice the heads"),
        (lambda: Conformer(1, 8, 2, kernel_size=0), "Conformer.kernel_size is 0"),
        (lambda: Conformer(1, 12, 2, convolution="beside"), "the width must be a multiple of 8"),
        (lambda: Conformer(1, 8, 2, convolution="none", filters="lightweight"), "convolution='none' there are none"),
        (
            lambda: check_choices(SimpleNamespace(ffn="two", layers="scan"), layers=Layers, ffn=Ffn),
            "SimpleNamespace.ffn is 'two'; it must be one of 'halves', 'full', 'one'",
        ),
        (lambda: TransformerEncoder(1, 8, 2, stochastic_depth=1.0), "TransformerEncoder.stochastic_depth is 1.0"),
        (lambda: TransformerEncoder(1, 8, 2, positions="table"), "a table needs a number of rows"),
        (lambda: Chunks(0), "a chunk has at least 1 position"),
        (lambda: Chunks(2, -1), "sees at least 0 chunks before it"),
    ],
)
def test_what_can_not_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def size(module, *given):
    variables = jax.eval_shape(functools.partial(module.init, training=None), jax.random.key(0), *given)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize(
    ("depth", "width", "heads", "cell", "encoder", "decoder", "published"),
    [
        (16, 144, 4, 320, 8_710_848, 1_433_376, 10.3e6),
        (16, 256, 4, 640, 27_327_488, 3_903_488, 30.7e6),
        (17, 512, 8, 640, 115_111_424, 5_181_952, 118.8e6),
    ],
    ids=["S", "M", "L"],
)
def test_the_papers_sizes(depth, width, heads, cell, encoder, decoder, published):
    """Gulati et al. 2020, table 1: 10.3, 30.7 and 118.8 M with one LSTM; 32 taps; 1k word pieces.

    The paper gives no widths for the two convolutions of the subsampling, the embedding and the joint layer, and its decoder
    is a transducer's. This test has as many channels as the width, tokens of 128, and a speller with additive attention as
    wide as the encoder. Then no difference is over 2 %. A transducer's prediction and joint network with tokens of 128 and a
    joint layer as wide as the cell would give 9.9, 30.7 and 118.6 M.
    """
    module = Conformer(depth, width, heads, subsampling=ConvSubsampling((width, width)), kernel_size=32)
    found = size(module, jnp.zeros((1, 16, 80)), jnp.array([16]))
    speller = Speller(1, cell, AdditiveAttention(width), vocab=1024, embedding=128)
    decoder_size = size(speller, jnp.zeros((1, 4, width)), jnp.array([4]), jnp.zeros((1, 3), jnp.int32))
    feed = 2 * width + (width + 1) * 4 * width + (4 * width + 1) * width
    attention = 2 * width + 4 * (width + 1) * width + width * width + 2 * width
    convolution = 2 * width + (width + 1) * 2 * width + 32 * width + 2 * width + (width + 1) * width
    subsampling = 10 * width + (9 * width + 1) * width + (20 * width + 1) * width
    assert found == subsampling + depth * (2 * feed + attention + convolution + 2 * width) == encoder
    assert decoder_size == decoder
    assert abs((found + decoder_size) / published - 1) < 0.02


TABLE = TransformerEncoder(
    1, 8, 2, expansion=2, positions="table", max_positions=7, projection="none", activation="gelu", norm_epsilon=1e-5
)


def test_a_table_of_positions_is_added_and_never_trained(rng):
    x_bsd = jnp.asarray(rng.normal(size=(2, 7, 8)).astype(np.float32))
    variables = TABLE.init(jax.random.key(0), x_bsd, jnp.array([7, 3]), training=None)
    table_sd = np.asarray(variables["constants"]["positions"])
    assert table_sd.shape == (7, 8)
    assert not any(
        "positions" in jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(variables["params"])
    )
    apply = jax.jit(lambda variables, x: TABLE.apply(variables, x, jnp.array([7, 3]), training=None)[0])
    blank = {**variables, "constants": {"positions": jnp.zeros((7, 8))}}
    near(apply(variables, x_bsd), apply(blank, x_bsd + table_sd[None]), atol=1e-5)


@pytest.mark.parametrize(
    ("columns", "positions", "message"),
    [(8, 8, r"max_positions is 7, and a batch has 8 positions"), (3, 7, r"width 8, and its input has 3 columns")],
)
def test_input_that_does_not_fit_the_table_or_the_width_is_refused(columns, positions, message):
    x_bsd = jnp.zeros((1, positions, columns))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: TABLE.init(jax.random.key(0), x_bsd, jnp.array([1]), training=None))
