"""bfloat16: the operations that use it, and the distance of its losses, gradients and searches to those of float32.

All models are inspected as jaxprs, which needs no compilation. One model of each family is compiled.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxasr import nn
from jaxasr.decode import Beam, Greedy, MaxTokens
from jaxasr.nn.precision import check_compute, in_precision
from jaxasr.ops.products import wide_einsum
from jaxasr.records import Outputs
from jaxasr.training import Objective, make_step, new_state
from tests.nn.attention.test_interface import MECHANISMS
from tests.nn.encoders.kinds import ENCODERS
from tests.nn.precision import cosine, narrow_sums, products
from tests.nn.tiny import VOCAB, batch_of, listener, longer, near, rows, seq2seq, speller, streams

TIGHT = batch_of(np.random.default_rng(0), (400, 250, 90, 0), (4, 2, 1, 0))
ON_DEVICE = jax.tree.map(jnp.asarray, TIGHT)
OBJECTIVE = Objective(label_smoothing=0.1, ctc_weight=0.3)
ALONE = nn.DotAttention(4, 2)
TRANSFORMER = nn.TransformerDecoder(1, 4, 2, ALONE, vocab=VOCAB, expansion=2, dropout=0.3, max_tokens=8)
DECODERS = {
    "speller, GRU, maxout": speller(depth=2, cell="gru", maxout=4, dropout=0.3),
    "speller, two layers, scheduled sampling": speller(depth=2, sampling=0.5),
    "speller, latent": speller(attention=nn.AdditiveAttention(5, focus=nn.LatentAttention(2))),
    "speller, drawn": speller(attention=nn.AdditiveAttention(5, focus=nn.HardAttention(2))),
    "speller, deep fusion": speller(fusion=nn.DeepFusion(nn.LstmLm(1, 3, vocab=VOCAB, compute="bfloat16"))),
    "speller, cold fusion": speller(fusion=nn.ColdFusion(nn.LstmLm(1, 3, vocab=VOCAB, compute="bfloat16"), 4)),
    "transformer": TRANSFORMER,
    "transformer that steps": dataclasses.replace(
        TRANSFORMER, attention=nn.LocationAttention(4, filters=2, kernel_size=3)
    ),
}
PLAIN = seq2seq(encoder=listener(time_reduction=(3,)))
MODELS = (
    {f"encoder {name}": seq2seq(encoder=encoder) for name, encoder in ENCODERS.items()}
    | {f"attention {name}": dataclasses.replace(PLAIN, decoder=speller(attention=a)) for name, a in MECHANISMS.items()}
    | {f"decoder {name}": dataclasses.replace(PLAIN, decoder=decoder) for name, decoder in DECODERS.items()}
)
LMS = {
    "LSTM": nn.LstmLm(1, 4, vocab=VOCAB, tied=True, dropout=0.3, recurrent_dropout=0.3),
    "transformer": nn.TransformerLm(1, 4, 2, vocab=VOCAB, expansion=2, dropout=0.3, max_tokens=8),
}
QUICK = (  # the others are slow
    "encoder listener, pyramid",
    "encoder conformer",
    "attention chunkwise",
    "decoder transformer",
    "listener, location, everything random",
)
SHORT = MaxTokens(per_position=0.6, extra=2)


def some_slow(names):
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


def in_bfloat16(model):
    return dataclasses.replace(model, compute="bfloat16")


def fresh(model):
    return model.init(jax.random.key(3), ON_DEVICE, step=None)


def with_gradients(model, objective=OBJECTIVE):
    """Returns a function, in training, to the loss summed over the batch and outputs, with gradients."""

    def loss(params, others, batch):
        step = jax.lax.optimization_barrier(jnp.zeros((), int))  # a value of the trace, as in a run: no constant
        outputs: Outputs = model.apply({"params": params, **others}, batch, step=step, rngs=streams())
        return objective(outputs, batch)["loss"].value, outputs

    return jax.value_and_grad(loss, has_aux=True)


def strength(leaf):
    return str(leaf.dtype), getattr(leaf, "weak_type", False)


def split(variables):
    return variables["params"], {name: value for name, value in variables.items() if name != "params"}


def gradient_function(model, objective=OBJECTIVE):
    """Returns the function of a training step's gradients, and the shapes of its arguments."""
    return with_gradients(model, objective), (*split(jax.eval_shape(lambda: fresh(model))), TIGHT)


def of_the_model(operations):
    """Returns the operations without those of features and log-mel noise, which stay in float32, and of fused models."""
    others = ("frontend", "bn,", "bnk", "btk", "lm")
    return [operation for operation in operations if not any(name in operation.where for name in others)]


@pytest.mark.parametrize("name", some_slow(MODELS))
def test_products_are_of_bfloat16_and_nothing_long_is_added_up_in_it(name):
    """Outputs and gradients are in float32, with strong dtypes."""
    run, given = gradient_function(in_bfloat16(MODELS[name]))
    operations = of_the_model(products(run, *given))
    assert len(operations) > 20
    assert [operation for operation in operations if set(operation.operands) != {"bfloat16"}] == []
    assert narrow_sums(run, *given) == []
    (_, outputs), gradients = jax.eval_shape(run, *given)
    floats = [leaf for leaf in jax.tree.leaves((outputs, gradients)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {str(leaf.dtype) for leaf in floats} == {"float32"}
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("name", LMS)
def test_so_it_is_with_language_models(name):
    run, given = gradient_function(in_bfloat16(LMS[name]), Objective())
    operations = products(run, *given)
    assert operations
    assert {operation.operands for operation in operations} == {("bfloat16", "bfloat16")}
    assert narrow_sums(run, *given) == []
    (_, outputs), gradients = jax.eval_shape(run, *given)
    assert outputs.logits_buv.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", some_slow(name for name in MODELS if "drawn" not in name))
def test_a_search_keeps_the_dtypes_of_what_it_carries(name):
    """JAX rejects a loop whose carry changes its dtype when it traces it."""
    model = in_bfloat16(MODELS[name])
    variables = jax.eval_shape(lambda: fresh(model))
    for search in (Greedy(SHORT), Beam(2, max_tokens=SHORT)):
        found = jax.eval_shape(
            lambda variables, search=search: search(nn.Recogniser(model, variables), ON_DEVICE), variables
        )
        assert found.scores_bw.dtype == jnp.float32


NEAR = {  # one of each family, compiled; the draws are the same in both
    "listener, location, everything random": seq2seq(),
    "GRU, speller of two layers": seq2seq(encoder=listener(cell="gru"), decoder=DECODERS["speller, GRU, maxout"]),
    "conformer, transformer": seq2seq(encoder=ENCODERS["conformer"], decoder=TRANSFORMER),
    "QuartzNet, MoChA": seq2seq(encoder=ENCODERS["QuartzNet"], decoder=speller(attention=MECHANISMS["chunkwise"])),
}


@functools.cache
def both(name):
    """Returns variables, and one program to losses, outputs and gradients in float32 and bfloat16."""
    model = NEAR[name]
    variables = jax.jit(lambda: fresh(model))()
    runs = [with_gradients(variant) for variant in (model, in_bfloat16(model))]
    compiled = jax.jit(lambda *given: [run(*given) for run in runs])
    return variables, compiled


@pytest.mark.parametrize("name", some_slow(NEAR))
def test_losses_and_gradients_are_near_those_of_float32(name):
    """Losses agree within 1 %, gradients within an angle of 0.1 (cosine 0.995), and padding changes only the rounding."""
    variables, compiled = both(name)
    (wide, wide_gradients), (found, gradients) = compiled(*split(variables), TIGHT)
    assert float(found[0]) == pytest.approx(float(wide[0]), rel=0.01)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))
    assert cosine(gradients, wide_gradients) > 0.995
    near(found[1].logits_buv, wide[1].logits_buv, rtol=0.05, atol=0.05)
    _, (padded, padded_gradients) = compiled(*split(variables), longer(TIGHT, samples=140, tokens=3))
    assert float(padded[0]) == pytest.approx(float(found[0]), rel=0.003)
    assert cosine(padded_gradients, gradients) > 0.999


def test_a_tiny_one_trains_as_low_as_in_float32():
    """In thirty steps of Adam parameters and moments stay float32, and one program serves all steps."""
    lows = {}
    for model in (seq2seq(augment=None, noise=None), in_bfloat16(seq2seq(augment=None, noise=None))):
        variables = jax.jit(lambda model=model: fresh(model))()

        def apply(variables, batch, step, streams, model=model):
            return model.apply(variables, batch, step=step, rngs=dict(streams))

        optimizer = optax.adam(0.03)
        step = jax.jit(make_step(apply, OBJECTIVE, optimizer, ema_decay=0.9))
        state = new_state(variables, optimizer, jax.random.key(0), keeps_average=True)
        losses = []
        dtypes = jax.tree.map(strength, state)
        for _ in range(30):
            state, sums = step(state, TIGHT)
            losses.append(sums["loss"].mean)
        assert jax.tree.map(strength, state) == dtypes
        assert step._cache_size() == 1
        lows[model.compute] = (losses[0], min(losses))
    assert lows["float32"][1] < 0.8 * lows["float32"][0]
    assert lows["bfloat16"][1] == pytest.approx(lows["float32"][1], rel=0.1)


def test_a_search_and_a_stream_of_it_run_in_bfloat16():
    """The memory of a stream is that of the whole utterance, and its parameters are bfloat16."""
    model = in_bfloat16(
        seq2seq(
            frontend=dataclasses.replace(PLAIN.frontend, normalize="global"),
            encoder=nn.LatencyControlledBlstm(4, (1, 2), chunk=8, lookahead=4, subsampling=nn.ConvSubsampling((2,))),
            decoder=speller(attention=nn.AdditiveAttention(5, focus=nn.MoChA(nn.AdditiveAttention(4), 2))),
        )
    )
    variables = jax.jit(lambda: fresh(model))()
    one = rows(TIGHT, np.s_[:1])
    recogniser = nn.StreamingRecogniser(model, variables)
    assert {leaf.dtype for leaf in jax.tree.leaves(recogniser.variables["params"])} == {jnp.dtype("bfloat16")}
    window = recogniser.window_spec
    stream = jax.jit(lambda: recogniser.init_stream(1, 20))()
    advance = jax.jit(recogniser.advance)
    wave_bn = np.pad(one.wave_bn, ((0, 0), (0, window.samples)))
    for start in range(0, 400, window.new_samples):
        real = np.clip([400 - start], 0, window.samples)
        stream = advance(stream, wave_bn[:, start : start + window.samples], real)
    assert advance._cache_size() == 1
    assert stream.memory.values_bse.dtype == jnp.bfloat16
    whole = jax.jit(nn.Recogniser(model, variables).start)(one)
    held = int(stream.encoded_b[0] - stream.dropped_b[0])
    assert held == whole.hidden_lengths_b[0]
    found, expected = (np.asarray(memory.values_bse[0, :held], np.float32) for memory in (stream.memory, whole.memory))
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02)


def test_steps_of_a_search_are_near_the_teacher_forced_ones():
    model = in_bfloat16(PLAIN)
    variables = jax.jit(lambda: fresh(model))()
    outputs = jax.jit(functools.partial(model.apply, step=None))(variables, TIGHT)
    recogniser = nn.Recogniser(model, variables)
    start = jax.jit(recogniser.start)(TIGHT)
    step = jax.jit(recogniser.step)
    state = start.state
    for position, tokens_b in enumerate(np.pad(TIGHT.tokens_bu, ((0, 0), (1, 0))).T):
        found = step(start.memory, state, jnp.asarray(tokens_b))
        assert jax.tree.map(jnp.result_type, found.state) == jax.tree.map(jnp.result_type, state)
        state = found.state
        expected_bv = jax.nn.log_softmax(outputs.logits_buv[:, position])
        near(found.log_probs_bv, expected_bv, rtol=0.02, atol=0.02)


def test_weights_are_multiplied_alike_as_arguments_and_closed_over(rng):
    """Covers small weights: jaxlib 0.12 can't run the parts of a product with constants on a CPU."""
    weights = {"params": {"w": jnp.asarray(rng.normal(size=(12, 6)), jnp.float32)}}
    x_bd, y_be = (jnp.asarray(rng.normal(size=(4, d)), jnp.bfloat16) for d in (4, 8))

    def product(weights, x_bd, y_be):
        narrow_weights = in_precision(weights, "bfloat16")["params"]["w"]
        return wide_einsum("bd,de->be", jnp.concatenate([x_bd, y_be], axis=1), narrow_weights)

    def steps(weights, x_bd, y_be):
        narrow_weights = in_precision(weights, "bfloat16")["params"]["w"][:, :4]

        def step(x_bd, _):
            return wide_einsum("bd,de->be", jnp.concatenate([x_bd, y_be], axis=1), narrow_weights).astype(
                x_bd.dtype
            ), None

        return jax.lax.scan(step, x_bd, length=3)[0].astype(jnp.float32)

    for function in (product, steps):
        expected = jax.jit(function)(weights, x_bd, y_be)
        near(jax.jit(functools.partial(function, weights))(x_bd, y_be), expected)
        near(jax.jit(functools.partial(function, in_precision(weights, "bfloat16")))(x_bd, y_be), expected)
        near(function(weights, x_bd, y_be), expected)
    exact = np.concatenate([x_bd, y_be], axis=1).astype(float) @ weights["params"]["w"].astype(jnp.bfloat16).astype(
        float
    )
    near(product(weights, x_bd, y_be), exact)


def test_other_collections_and_integers_stay_as_they_are():
    variables = {"params": {"w": jnp.ones(2), "n": jnp.ones(2, int)}, "statistics": {"mean": jnp.ones(2)}}
    assert in_precision(variables, "float32") is variables
    found = jax.tree.map(lambda leaf: str(leaf.dtype), in_precision(variables, "bfloat16"))
    assert found == {"params": {"w": "bfloat16", "n": "int32"}, "statistics": {"mean": "float32"}}


def test_a_precision_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"Seq2Seq\.compute is 'float16'; it must be one of float32, bfloat16"):
        check_compute("Seq2Seq", "float16")
