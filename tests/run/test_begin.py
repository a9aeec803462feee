"""What a run begins with: statistics of the training data where the model wants them, and metadata that say whose it is."""

import jax
import numpy as np
import pytest

from jaxasr import tree
from jaxasr.ops.features import QUANTIZATION
from jaxasr.run.begin import initial_state, measured, metadata_of
from tests.reference.features import filtered
from tests.run import tiny


@pytest.fixture
def restless():
    return tiny.restless()


@pytest.fixture
def opened(restless, river):
    return restless.train_data.open(river.data_dir)


def test_statistics_are_those_of_all_real_frames_of_an_epoch(restless, opened):
    """Against the slow twin, frame by frame, at the speeds at which the first epoch plays them."""
    state = measured(initial_state(restless, opened), restless, opened)
    found = state.statistics["statistics"]["frontend"]
    frames = []
    with opened.batches(0, stop_step=len(opened.plan.epoch(0))) as batches:
        for _, _, batch in batches:
            for wave_n, length in zip(batch.wave_bn, batch.sample_lengths_b.tolist(), strict=True):
                frames.append(slow_frames(wave_n / 32_768.0, length))
    frames_tf = np.concatenate(frames)
    assert len(frames_tf) > 100
    np.testing.assert_allclose(found["mean"], frames_tf.mean(axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found["deviation"], frames_tf.std(axis=0), rtol=1e-3, atol=1e-3)


def test_a_model_without_statistics_is_left_as_it_is(river):
    experiment = tiny.experiment()
    opened = experiment.train_data.open(river.data_dir)
    state = jax.eval_shape(lambda: initial_state(experiment, opened))
    assert measured(state, experiment, opened) is state


def test_a_seed_decides_the_parameters(restless, opened):
    def first(seed: int) -> np.ndarray:
        state = initial_state(tree.override(restless, {"seed": seed}), opened)
        assert int(state.step) == 0
        return np.asarray(state.params["encoder"]["lstm_0"]["forward"]["recurrent"])

    np.testing.assert_array_equal(first(0), first(0))
    assert not np.array_equal(first(0), first(1))


def test_metadata_say_whose_checkpoint_it_is(restless, opened):
    metadata = metadata_of(restless, opened)
    assert metadata.experiment == tree.render(restless)
    assert (metadata.fingerprint, metadata.tokenizer) == (tree.fingerprint(restless), tiny.TOKENS.digest)
    assert metadata.data == opened.hash
    assert {"jaxasr", "jax", "flax", "optax", "orbax-checkpoint"} == set(metadata.versions)


def slow_frames(wave_n: np.ndarray, length: int) -> np.ndarray:
    """Of the tiny frontend: windows of 40 ms every 20 ms, a Hann window, triangles filter by filter."""
    window, hop, fft = 640, 320, 1_024
    hann_n = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    starts = range(0, length - window + 1, hop)
    powers = [np.abs(np.fft.rfft(wave_n[start : start + window] * hann_n, fft)) ** 2 for start in starts]
    energies = [filtered(power, 16_000, fft, 16, 20.0, 7_600.0) for power in powers]
    return np.log(np.maximum(QUANTIZATION, np.array(energies).reshape(-1, 16)))
