import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.cost.hlo import read_program
from jaxasr.ops.audio import features
from tests.reference import features as reference

SMALL = {"rate_hz": 1_000, "window_ms": 20.0, "hop_ms": 8.0, "bins": 5, "low_hz": 20.0, "high_hz": 450.0}
log_mel = jax.jit(lambda wave_bn, lengths_b: features.log_mel(wave_bn, lengths_b, **SMALL))


def test_frames_against_the_formula(rng):
    lengths_b = np.array([0, 19, 20, 61, 100])
    wave_bn = rng.normal(size=(5, 100)).astype(np.float32) * 0.1
    frames_btf, frame_lengths_b = log_mel(wave_bn, jnp.asarray(lengths_b))
    np.testing.assert_array_equal(frame_lengths_b, [0, 0, 1, 6, 11])
    for row, length in enumerate(lengths_b):
        expected_tf = reference.log_mel(
            wave_bn[row].astype(float),
            length,
            rate_hz=1_000,
            window_samples=20,
            hop_samples=8,
            fft_samples=32,
            bins=5,
            low_hz=20.0,
            high_hz=450.0,
            floor=features.QUANTIZATION,
        )
        np.testing.assert_allclose(frames_btf[row, : len(expected_tf)], expected_tf, atol=2e-5)
        assert not np.any(frames_btf[row, len(expected_tf) :])


@pytest.mark.parametrize(("window", "fft_samples"), [(20, 32), (400, 512), (31, 31)])
def test_products_with_cosines_and_sines_are_the_power_of_the_fft(rng, window, fft_samples):
    windows_btn = jnp.asarray(rng.normal(size=(2, 3, window)).astype(np.float32))
    expected_btc = np.abs(np.fft.rfft(np.asarray(windows_btn, np.float64), fft_samples)) ** 2
    for by in ("fft", "products", "platform"):
        power_btc = features.power_spectrum(windows_btn, fft_samples, by=by)
        np.testing.assert_allclose(power_btc, expected_btc, rtol=1e-4, atol=1e-4 * window)


@pytest.mark.parametrize("by", ["products", "fft"])
def test_over_a_mesh_no_device_gathers_the_waves_of_the_others(rng, by):
    """But by the FFT of jax before 0.12 (0.10.2 and 0.11.2 were seen to gather); the numbers are those of one device."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    windows_btn = rng.normal(size=(8, 6, 20)).astype(np.float32)
    placed_btn = jax.device_put(windows_btn, rows)
    power = jax.jit(lambda windows_btn: features.power_spectrum(windows_btn, 32, by=by), out_shardings=rows)
    gathers = by == "fft" and jax.__version_info__ < (0, 12)
    program = read_program(power.lower(placed_btn).compile().as_text())
    assert ("all-gather" in program.opcodes) == gathers
    alone_btc = features.power_spectrum(jnp.asarray(windows_btn), 32, by=by)
    np.testing.assert_allclose(power(placed_btn), alone_btc, rtol=1e-5, atol=1e-5)


def test_frame_lengths_of_integers_and_arrays():
    lengths = {0: 0, 399: 0, 400: 1, 559: 1, 560: 2, 16_000: 98}
    for samples, frames in lengths.items():
        assert features.frame_lengths(samples, window_samples=400, hop_samples=160) == frames
    arrays = np.array(list(lengths))
    for array in (arrays, jnp.asarray(arrays)):
        found = features.frame_lengths(array, window_samples=400, hop_samples=160)
        np.testing.assert_array_equal(found, list(lengths.values()))


def test_a_window_longer_than_the_batch_gives_no_frames():
    frames_btf, frame_lengths_b = features.log_mel(jnp.ones((2, 10)), jnp.array([10, 3]), **SMALL)
    assert frames_btf.shape == (2, 0, 5)
    np.testing.assert_array_equal(frame_lengths_b, [0, 0])


def test_padding_and_rows_change_nothing(rng):
    wave_bn = rng.normal(size=(2, 90)).astype(np.float32)
    frames_btf, lengths_b = log_mel(wave_bn, jnp.array([90, 50]))
    dirty_bn = np.concatenate([wave_bn, rng.normal(size=(2, 60))], axis=1).astype(np.float32)[::-1]
    long_btf, long_lengths_b = log_mel(dirty_bn, jnp.array([50, 90]))
    np.testing.assert_array_equal(long_lengths_b[::-1], lengths_b)
    np.testing.assert_allclose(long_btf[::-1, : frames_btf.shape[1]], frames_btf, atol=1e-5)
    assert not np.any(long_btf[:, frames_btf.shape[1] :])


def test_silence_has_a_finite_gradient():
    for wave_bn in (jnp.zeros((1, 60)), jnp.ones((1, 60))):
        value, gradient = jax.value_and_grad(lambda w: log_mel(w, jnp.array([60]))[0].sum())(wave_bn)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_amplitude_has_full_scale_one():
    np.testing.assert_array_equal(
        features.amplitude(np.array([[-32768, 0, 16384]], np.int16)), np.array([[-1.0, 0.0, 0.5]], np.float32)
    )


def test_a_tone_lands_in_the_filter_that_holds_it():
    time_s = np.arange(16_000) / 16_000
    filters_cf = features.mel_filters(
        rate_hz=16_000, fft_samples=512, bins=40, low_hz=20.0, high_hz=8_000.0, mel_scale="htk"
    )
    for hz in (1_000.0, 2_500.0, 5_000.0):
        wave_bn = jnp.asarray(0.5 * np.sin(2 * np.pi * hz * time_s), jnp.float32)[None]
        frames_btf, _ = features.log_mel(
            wave_bn, jnp.array([16_000]), rate_hz=16_000, window_ms=25.0, hop_ms=10.0, bins=40, low_hz=20.0, high_hz=8e3
        )
        assert (np.argmax(frames_btf[0], axis=-1) == np.argmax(filters_cf[round(hz / 31.25)])).all()


@pytest.mark.parametrize(
    ("mel_scale", "hz", "mel"),
    [
        # librosa's documentation of hz_to_mel, and HTK's anchor of 1000 mel at 1 kHz
        ("slaney", [60.0, 110.0, 220.0, 440.0, 6_400.0], [0.9, 1.65, 3.3, 6.6, 42.0]),
        ("htk", [0.0, 700.0, 1_000.0], [0.0, 2595 * np.log10(2), 999.9855]),
    ],
)
def test_mel_scales(mel_scale, hz, mel):
    np.testing.assert_allclose(features._mel_from_hz(np.array(hz), mel_scale), mel, rtol=1e-6)
    np.testing.assert_allclose(features._hz_from_mel(np.array(mel), mel_scale), hz, rtol=1e-6)


def test_slaney_filters_have_equal_area():
    filters_cf = features.mel_filters(
        rate_hz=16_000, fft_samples=4_096, bins=20, low_hz=0.0, high_hz=8_000.0, mel_scale="slaney"
    )
    np.testing.assert_allclose(filters_cf.sum(axis=0) * 16_000 / 4_096, 1, rtol=2e-2)


def test_impossible_filters_are_refused():
    with pytest.raises(ValueError, match=r"high_hz=9000 at 16000 Hz; 0 <= low < high <= 8000"):
        features.mel_filters(rate_hz=16_000, fft_samples=512, bins=8, low_hz=0.0, high_hz=9e3, mel_scale="htk")
    with pytest.raises(ValueError, match=r"bins=128: filter \d+ .* take fewer bins"):
        features.mel_filters(rate_hz=16_000, fft_samples=256, bins=128, low_hz=0.0, high_hz=8e3, mel_scale="htk")


def test_utterance_normalisation_against_the_formula_and_under_padding(rng):
    frames_btf = rng.normal(3, 2, size=(3, 7, 4)).astype(np.float32)
    lengths_b = np.array([7, 0, 4])
    found_btf = features.normalize_utterance(jnp.asarray(frames_btf), jnp.asarray(lengths_b))
    for row, length in enumerate(lengths_b):
        expected_tf = reference.normalized(frames_btf[row, :length].astype(float), features.VARIANCE_FLOOR)
        np.testing.assert_allclose(found_btf[row, :length], expected_tf, atol=1e-5)
        assert not np.any(found_btf[row, length:])
    padded_btf = jnp.pad(frames_btf, ((0, 0), (0, 5), (0, 0)), constant_values=jnp.nan)
    long_btf = features.normalize_utterance(padded_btf, jnp.asarray(lengths_b))
    np.testing.assert_allclose(long_btf[:, :7], found_btf, atol=1e-6)


def test_constant_frames_normalise_to_nothing_with_finite_gradients():
    frames_btf, lengths_b = jnp.full((2, 5, 3), -18.42), jnp.array([5, 1])
    value = features.normalize_utterance(frames_btf, lengths_b)
    np.testing.assert_allclose(value, 0, atol=1e-3)
    gradient = jax.grad(lambda x: jnp.sum(features.normalize_utterance(x, lengths_b) ** 2))(frames_btf)
    assert np.isfinite(gradient).all()


def test_sums_of_batches_make_the_global_mean_and_deviation(rng):
    frames_btf = rng.normal(-8, 3, size=(4, 9, 3)).astype(np.float32)
    lengths_b = jnp.array([9, 3, 0, 5])
    real_tf = np.concatenate([row[:length] for row, length in zip(frames_btf, lengths_b, strict=True)]).astype(float)
    parts = [features.feature_sums(jnp.asarray(frames_btf[i : i + 2]), lengths_b[i : i + 2]) for i in (0, 2)]
    count, values_f, squares_f = (sum(np.asarray(x, np.float64) for x in sums) for sums in zip(*parts, strict=True))
    mean_f = values_f / count
    deviation_f = np.sqrt(squares_f / count - mean_f**2)
    np.testing.assert_allclose(mean_f, real_tf.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(deviation_f, real_tf.std(axis=0), rtol=1e-4)
    normal_btf = features.normalize_global(
        jnp.asarray(frames_btf),
        lengths_b,
        mean_f=jnp.asarray(mean_f, jnp.float32),
        deviation_f=jnp.asarray(deviation_f, jnp.float32),
    )
    np.testing.assert_allclose(normal_btf[0], (frames_btf[0] - real_tf.mean(axis=0)) / real_tf.std(axis=0), atol=1e-3)
    assert not np.any(normal_btf[1, 3:])
