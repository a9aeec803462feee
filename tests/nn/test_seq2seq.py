"""Padding invariance of the whole recogniser, also in training with all random operations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr.nn import Recogniser
from jaxasr.records import Decodable
from jaxasr.training import Objective
from tests.nn.tiny import FRONTEND, VOCAB, batch_of, longer, near, rows, seq2seq, streams

TIGHT = batch_of(np.random.default_rng(0))
BATCH = longer(TIGHT, samples=140, tokens=3)
SMALL = [rows(TIGHT, np.s_[row : row + 1]) for row in range(4)]  # each alone; the last is a row of padding
ON_DEVICE = jax.tree.map(jnp.asarray, BATCH)
MODEL = seq2seq()
OBJECTIVE = Objective(label_smoothing=0.1, ctc_weight=0.3)
HIDDEN = np.array([7, 4, 0, 0])  # of 38 and 23 frames, halved by the subsampling, three to a position


@functools.cache
def variables():
    init = jax.jit(functools.partial(MODEL.init, step=None))
    return init(jax.random.key(3), BATCH)


@functools.cache
def with_gradients():
    """Returns a jitted function, in training, to the loss summed over the batch and outputs, with gradients."""

    def loss(params, batch, rngs):
        outputs = MODEL.apply({"params": params}, batch, step=jnp.zeros((), int), rngs=rngs)
        return OBJECTIVE(outputs, batch)["loss"].value, outputs

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def trained(batch, seed=7):
    return with_gradients()(variables()["params"], batch, streams(seed))


evaluated = jax.jit(functools.partial(MODEL.apply, step=None))


def real(outputs, batch):
    """Returns the outputs without padding, by example."""
    found = []
    for row in np.flatnonzero(batch.valid_b):
        u = batch.token_lengths_b[row] + 1
        s = outputs.hidden_lengths_b[row]
        weights_uhs = outputs.weights_buhs[row, :u]
        assert not np.any(weights_uhs[:, :, s:])
        found.append((outputs.logits_buv[row, :u], outputs.ctc_logits_bsv[row, :s], weights_uhs[:, :, :s]))
    return found


def test_in_training_padding_and_neighbours_change_neither_outputs_nor_loss_nor_gradients():
    """Compares every example alone in the smaller shape to all of them in the larger one."""
    (loss, outputs), d_params = trained(BATCH)
    np.testing.assert_array_equal(outputs.hidden_lengths_b, HIDDEN)
    alone = [trained(one) for one in SMALL]
    losses, gradients_of = zip(*((one[0][0], one[1]) for one in alone), strict=True)
    summed = jax.tree.map(lambda *leaves: np.sum(leaves, axis=0), *gradients_of)
    near((np.sum(losses), summed), (loss, d_params), rtol=1e-4, atol=2e-5)
    for one, batch, expected in zip(alone, SMALL, real(outputs, BATCH), strict=False):
        assert one[0][1].ctc_logits_bsv.shape[1] < outputs.ctc_logits_bsv.shape[1]
        near(real(one[0][1], batch)[0], expected, rtol=1e-4, atol=1e-5)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(d_params))


def test_in_evaluation_padding_and_neighbours_change_no_output():
    outputs = evaluated(variables(), BATCH)
    for batch, expected in zip(SMALL, real(outputs, BATCH), strict=False):
        near(real(evaluated(variables(), batch), batch)[0], expected, rtol=1e-4, atol=1e-5)


def test_a_row_of_padding_adds_nothing():
    (loss, _), d_params = trained(SMALL[3])
    assert loss == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(d_params))


def test_jit_is_eager():
    near(MODEL.apply(variables(), ON_DEVICE, step=None), evaluated(variables(), BATCH), rtol=1e-4, atol=1e-5)


def test_randomness_is_the_keys_and_only_in_training():
    drawn, again, other = (trained(BATCH, seed)[0][1].logits_buv for seed in (7, 7, 8))
    quiet = evaluated(variables(), BATCH).logits_buv
    np.testing.assert_array_equal(drawn, again)
    assert all(np.any(a != b) for a, b in ((drawn, other), (drawn, quiet), (other, quiet)))


def test_the_steps_of_a_search_are_the_teacher_forced_ones():
    outputs = evaluated(variables(), BATCH)
    recogniser = Recogniser(MODEL, variables())
    assert isinstance(recogniser, Decodable)
    assert recogniser.vocab == VOCAB
    start = jax.jit(recogniser.start)(BATCH)
    step = jax.jit(recogniser.step)
    np.testing.assert_array_equal(start.hidden_lengths_b, HIDDEN)
    near(start.ctc_log_probs_bsv, jax.nn.log_softmax(outputs.ctc_logits_bsv), rtol=1e-4, atol=1e-5)
    state = start.state
    for position, tokens_b in enumerate(np.pad(BATCH.tokens_bu, ((0, 0), (1, 0))).T):
        found = step(start.memory, state, jnp.asarray(tokens_b))
        state = found.state
        expected_bv = jax.nn.log_softmax(outputs.logits_buv[:, position])
        near(
            (found.log_probs_bv, found.weights_bhs),
            (expected_bv, outputs.weights_buhs[:, position]),
            rtol=1e-4,
            atol=1e-5,
        )


def test_sums_for_global_normalisation_are_those_of_the_real_frames():
    sums = MODEL.apply(variables(), ON_DEVICE, method="feature_sums")
    energies = FRONTEND.apply(
        {}, ON_DEVICE.wave_bn.astype(jnp.float32) / 32768, ON_DEVICE.sample_lengths_b, method="energies"
    )
    frames_tf = np.concatenate([np.asarray(energies.frames_btf[row, :n], float) for row, n in enumerate((38, 23))])
    assert sums.frames == 61
    np.testing.assert_allclose(sums.values_f, frames_tf.sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(sums.squares_f, np.square(frames_tf).sum(axis=0), rtol=1e-5)


def test_without_a_ctc_head_there_are_no_ctc_logits():
    model = seq2seq(ctc=None, noise=None, augment=None)
    outputs = jax.eval_shape(functools.partial(model.init_with_output, step=None), jax.random.key(0), BATCH)[0]
    assert outputs.ctc_logits_bsv is None


def test_parameters_have_these_names_and_shapes():
    """Checkpoints are read by these names, so a change here breaks all existing checkpoints."""
    shapes = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables()):
        shapes["/".join(str(key.key) for key in path)] = leaf.shape
    assert shapes == {
        "params/ctc/readout/bias": (6,),
        "params/ctc/readout/kernel": (8, 6),
    } | {f"params/decoder/{name}": shape for name, shape in DECODER.items()} | {
        f"params/encoder/{name}": shape for name, shape in ENCODER.items()
    }


DECODER = {
    "attention/energy": (5, 1),
    "attention/filters": (3, 2),
    "attention/key/bias": (5,),
    "attention/key/kernel": (8, 5),
    "attention/location/kernel": (2, 5),
    "attention/query/kernel": (4, 5),
    "embed/embedding": (6, 3),
    "kernels_0/kernel": (12, 16),
    "readout/bias": (6,),
    "readout/kernel": (12, 6),
    "token_gates/bias": (16,),
    "token_gates/kernel": (3, 16),
}
ENCODER = {"subsampling/conv_0/bias": (2,), "subsampling/conv_0/kernel": (3, 3, 1, 2)} | {
    f"lstm_0/{way}/{name}": shape
    for way in ("forward", "backward")
    for name, shape in {"input/bias": (16,), "input/kernel": (12, 16), "recurrent": (4, 16)}.items()
}
