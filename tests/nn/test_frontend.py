import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import AddNoise, LogMel, SpecAugment
from jaxasr.ops.audio.features import amplitude
from tests.nn.tiny import AUGMENT, FRONTEND, batch_of, longer, near, rows, streams

BATCH = jax.tree.map(jnp.asarray, batch_of(np.random.default_rng(0), (400, 250, 131, 0), (1, 1, 1, 0)))
LONGER = jax.tree.map(jnp.asarray, longer(BATCH, samples=77, tokens=0))


def frames(frontend, batch, variables=None):
    return jax.jit(frontend.apply)(variables or {}, amplitude(batch.wave_bn), batch.sample_lengths_b)


def test_normalised_by_utterance_each_bin_has_mean_zero_and_deviation_one():
    found = frames(FRONTEND, BATCH)
    np.testing.assert_array_equal(found.frame_lengths_b, [38, 23, 11, 0])
    for row, length in enumerate([38, 23, 11]):
        real_tf = np.asarray(found.frames_btf[row, :length])
        np.testing.assert_allclose(real_tf.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(real_tf.std(axis=0), 1, atol=0.01)
        assert not np.any(found.frames_btf[row, length:])


def test_normalised_globally_by_statistics_that_are_no_parameters():
    frontend = dataclasses.replace(FRONTEND, normalize="global")
    energies = frames(dataclasses.replace(FRONTEND, normalize="none"), BATCH)
    variables = frontend.init(jax.random.key(0), amplitude(BATCH.wave_bn), BATCH.sample_lengths_b)
    assert set(variables) == {"statistics"}
    near(frames(frontend, BATCH, variables), energies)
    mean_f = np.arange(4.0, dtype=np.float32)
    deviation_f = np.array([1, 2, 3, 4], np.float32)
    measured = {"statistics": {"mean": jnp.asarray(mean_f), "deviation": jnp.asarray(deviation_f)}}
    found = frames(frontend, BATCH, measured)
    near(found.frames_btf[0], (np.asarray(energies.frames_btf[0]) - mean_f) / deviation_f)
    assert not np.any(found.frames_btf[1, 23:])
    assert np.any(energies.frames_btf[1, :23] != 0)


@pytest.mark.parametrize("normalize", ["utterance", "none"])
def test_padding_and_row_change_nothing(normalize):
    frontend = dataclasses.replace(FRONTEND, normalize=normalize)
    found = frames(frontend, BATCH)
    turned = frames(frontend, rows(LONGER, np.s_[::-1]))
    near(turned.frames_btf[::-1, :38], found.frames_btf, atol=1e-5)
    assert not np.any(turned.frames_btf[:, 38:])


def test_energies_are_those_before_normalisation():
    energies = FRONTEND.apply({}, amplitude(BATCH.wave_bn), BATCH.sample_lengths_b, method="energies")
    near(energies, frames(LogMel(4, 1_000, low_hz=50.0, high_hz=450.0, normalize="none"), BATCH))


augment = jax.jit(lambda features, batch, rngs: AUGMENT.apply({}, *features, batch, rngs=rngs))


def augmented(batch, seed=7):
    real = frames(FRONTEND, batch)
    return augment(real, batch, streams(seed)), real.frames_btf


def test_masks_and_warps_belong_to_the_example():
    found_btf, clean_btf = augmented(BATCH)
    turned_btf, _ = augmented(rows(LONGER, np.s_[::-1]))
    near(turned_btf[::-1, :38], found_btf, rtol=1e-4, atol=1e-5)
    assert np.any(found_btf != clean_btf)
    assert np.any(found_btf != augmented(BATCH, seed=8)[0])
    plain = SpecAugment().apply({}, clean_btf, jnp.array([38, 23, 11, 0]), BATCH, rngs=streams())
    np.testing.assert_array_equal(plain, clean_btf)


def test_noise_is_drawn_from_the_stream_of_augmentation():
    wave_bn = amplitude(BATCH.wave_bn)
    add = jax.jit(lambda rngs: AddNoise(share=1.0, low_db=10.0, high_db=10.0).apply({}, wave_bn, BATCH, rngs=rngs))
    noisy_bn = add(streams())
    for row, length in enumerate([400, 250, 131, 0]):
        added = np.asarray(noisy_bn[row] - wave_bn[row], float)
        assert not np.any(added[length:])
        if length:
            ratio = np.sum(np.square(wave_bn[row], dtype=float)) / np.sum(added**2)
            np.testing.assert_allclose(10 * np.log10(ratio), 10.0, atol=0.01)
    assert np.any(noisy_bn != add(streams(8)))


@pytest.mark.parametrize(("share", "low", "high"), [(1.5, 0.0, 1.0), (0.5, 3.0, 2.0)])
def test_noise_that_makes_no_sense_is_refused(share, low, high):
    with pytest.raises(ValueError, match=f"share {share} and decibels {low} to {high}"):
        AddNoise(share, low, high)


@pytest.mark.parametrize("changes", [{"freq_masks": -1}, {"time_frames": -3}, {"time_share": 1.5}, {"warp_frames": -2}])
def test_masks_that_make_no_sense_are_refused(changes):
    ((name, value),) = changes.items()
    with pytest.raises(ValueError, match=f"SpecAugment has .*{name} {value}.*; none may be below 0"):
        SpecAugment(**changes)


WHISPER = LogMel(
    4,
    1_000,
    low_hz=0.0,
    high_hz=500.0,
    normalize="peak",
    mel_scale="slaney",
    fft="window",
    edges="reflect",
    floor=1e-10,
)


@pytest.mark.parametrize("pad_s", [0.0, 0.5])
def test_frames_centred_on_hops_do_not_see_padding(pad_s):
    frontend = dataclasses.replace(WHISPER, pad_s=pad_s)
    found = frames(frontend, BATCH)
    lengths = [50, 50, 50, 0] if pad_s else [40, 25, 13, 0]
    np.testing.assert_array_equal(found.frame_lengths_b, lengths)
    np.testing.assert_array_equal(frontend.frame_lengths(np.asarray(BATCH.sample_lengths_b)), lengths)
    spoilt_bn = np.where(np.arange(477) < np.asarray(LONGER.sample_lengths_b)[:, None], LONGER.wave_bn, 9_000)
    spoilt = dataclasses.replace(LONGER, wave_bn=jnp.asarray(spoilt_bn.astype(np.int16)))
    near(frames(frontend, spoilt).frames_btf[:, : max(lengths)], found.frames_btf[:, : max(lengths)], atol=1e-5)


def test_silence_up_to_a_duration_is_real():
    found = frames(dataclasses.replace(WHISPER, pad_s=0.5), BATCH)
    quietest = max(np.max(found.frames_btf[2]) - 8 / 4, (np.log10(1e-10) + 4) / 4)  # below the loudest, or the floor
    np.testing.assert_allclose(found.frames_btf[2, 49], np.full(4, quietest), atol=1e-5)


def test_an_utterance_longer_than_the_duration_is_refused():
    with pytest.raises(ValueError, match=r"room for 0\.4 s and the frontend takes .* LogMel\.pad_s=0\.3 s"):
        frames(dataclasses.replace(WHISPER, pad_s=0.3), BATCH)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"pad_s": -1.0}, "pad_s"), ({"floor": 0.0}, "floor")],
)
def test_numbers_that_can_not_be_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        LogMel(**changes)
