"""Waves to log-mel frames, computed on the device, and their normalisation. Padding is zero on both sides.

A frame exists only where its window lies wholly inside the real samples (no centring), so no frame has ever seen padding.
With reflected edges a frame is centred on each hop instead. Window: periodic Hann. Spectrum: power |X|^2 of an FFT of the
next power of two, or of the window. Filters: triangles of peak 1 on the HTK mel scale (as torchaudio's default), or of
equal area on Slaney's (as librosa's, and Whisper's).
"""

import math
from typing import Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32, Float64, Int16

from jaxasr.ops import masks
from jaxasr.shapes import Frames, Lengths, Wave
from jaxasr.units import samples_from_ms

Count = TypeVar("Count", int, np.ndarray, Array)
MelScale = Literal["htk", "slaney"]
FftSize = Literal["power_of_two", "window"]
Edges = Literal["inside", "reflect"]

QUANTIZATION = 1e-8  # energy of the rounding to 16 bits in one FFT bin of a 25 ms window at 16 kHz
VARIANCE_FLOOR = 1e-3  # in squared natural logarithms: speech has 1 to 10
PEAK_RANGE = 8.0  # powers of ten below the loudest energy of an utterance, of `normalize_peak`


class MelFilterbank(NamedTuple):
    """The log-mel frames, zero at padding, and the number of real frames."""

    frames_btf: Frames
    frame_lengths_b: Lengths


class FeatureSums(NamedTuple):
    """The sums for mean and deviation over a corpus, of one batch. Add those of many batches in float64, on the host."""

    frames: Float[Array, ""]  # their number
    values_f: Float[Array, " f"]
    squares_f: Float[Array, " f"]


def amplitude(wave_bn: Int16[Array | np.ndarray, "b n"]) -> Float32[Array, "b n"]:
    """Scales 16-bit samples to a full scale of 1."""
    return jnp.asarray(wave_bn).astype(jnp.float32) / 32768


def log_mel(
    wave_bn: Wave,
    sample_lengths_b: Lengths,
    *,
    rate_hz: int,
    window_ms: float,
    hop_ms: float,
    bins: int,
    low_hz: float,
    high_hz: float,
    mel_scale: MelScale = "htk",
    fft: FftSize = "power_of_two",
    edges: Edges = "inside",
    floor: float = QUANTIZATION,
) -> MelFilterbank:
    """Returns natural logarithms of the mel energies of every frame.

    Args:
        wave_bn: Amplitude, full scale = 1.
        fft: the size of the FFT: the next power of two of the window, or the window itself.
        edges: "inside": a frame for every window that lies completely inside the real samples. "reflect": a frame centred on
            every hop; the real samples are reflected at both ends (as torch.stft, without its last frame).
        floor: Energies below it count as it; silence becomes log(floor), finite and with gradient zero.

    Raises:
        ValueError: a window or hop that is no whole number of samples; filters that `mel_filters` refuses.

    Source: Davis and Mermelstein 1980, IEEE TASSP 28(4), without the cosine transform.
    """
    window_samples = samples_from_ms(window_ms, rate_hz)
    hop_samples = samples_from_ms(hop_ms, rate_hz)
    fft_samples = window_samples if fft == "window" else 1 << (window_samples - 1).bit_length()
    filters_cf = mel_filters(
        rate_hz=rate_hz, fft_samples=fft_samples, bins=bins, low_hz=low_hz, high_hz=high_hz, mel_scale=mel_scale
    )
    frames = frame_lengths(wave_bn.shape[1], window_samples=window_samples, hop_samples=hop_samples, edges=edges)
    wave_bn = wave_bn.astype(jnp.float32)
    if edges == "reflect":
        wave_bn = _reflected(wave_bn, sample_lengths_b, window_samples // 2)
    windows_btn = _windows(wave_bn, frames, window_samples, hop_samples)
    hann_n = np.hanning(window_samples + 1)[None, None, :-1].astype(np.float32)
    power_btc = power_spectrum(windows_btn * hann_n, fft_samples)
    energies_btf = jnp.matmul(power_btc, filters_cf.astype(np.float32), precision=lax.Precision.HIGHEST)
    frames_btf = jnp.log(jnp.maximum(energies_btf, floor))
    lengths_b = frame_lengths(sample_lengths_b, window_samples=window_samples, hop_samples=hop_samples, edges=edges)
    return MelFilterbank(masks.zero_padding(frames_btf, _valid(frames_btf, lengths_b)), lengths_b)


def power_spectrum(
    windows_btn: Float32[Array, "b t n"], fft_samples: int, *, by: Literal["platform", "fft", "products"] = "platform"
) -> Float32[Array, "b t c"]:
    """Returns |X|^2 at c = fft_samples // 2 + 1 frequencies of windows that are zero-padded to fft_samples.

    Args:
        by: an FFT, or two products with cosines and sines. Before jax 0.12, XLA's partitioner can't split an FFT: every
            device would gather the waves of all and transform them again. So "platform" takes the FFT on a CPU alone;
            elsewhere the products cost next to nothing.
    """

    def by_fft(windows_btn: Array) -> Array:
        spectrum_btc = jnp.fft.rfft(windows_btn, fft_samples)
        return jnp.square(spectrum_btc.real) + jnp.square(spectrum_btc.imag)

    def by_products(windows_btn: Array) -> Array:
        n = windows_btn.shape[-1]
        turns_nc = np.outer(np.arange(n), np.arange(fft_samples // 2 + 1)) % fft_samples * (2 * np.pi / fft_samples)
        parts = (np.cos(turns_nc).astype(np.float32), np.sin(turns_nc).astype(np.float32))
        return sum(jnp.square(jnp.matmul(windows_btn, part, precision=lax.Precision.HIGHEST)) for part in parts)  # pyright: ignore[reportReturnType]

    if by == "platform":
        return lax.platform_dependent(windows_btn, cpu=by_fft, default=by_products)
    return by_fft(windows_btn) if by == "fft" else by_products(windows_btn)


def frame_lengths(samples: Count, *, window_samples: int, hop_samples: int, edges: Edges = "inside") -> Count:
    """Windows that lie wholly inside so many samples: max(0, 1 + (samples - window) // hop). 0 to 399: 0; 560: 2.

    With reflected edges: samples // hop, the hops that are complete.
    """
    if edges == "reflect":
        return samples // hop_samples  # pyright: ignore[reportReturnType]
    frames = 1 + (samples - window_samples) // hop_samples
    return frames * (frames > 0)  # pyright: ignore[reportReturnType]


def mel_filters(
    *, rate_hz: int, fft_samples: int, bins: int, low_hz: float, high_hz: float, mel_scale: MelScale
) -> Float64[np.ndarray, "c f"]:
    """Weights of c = fft_samples // 2 + 1 frequencies in f = `bins` triangles, equally wide in mel.

    Raises:
        ValueError: limits outside 0 <= low < high <= rate / 2, or a triangle so narrow that no frequency lies in it.

    Source: HTK Book 3.4, section 5.4 (peak 1); Slaney 1998, Auditory Toolbox, technical report 1998-010 (area 1).
    """
    if not 0 <= low_hz < high_hz <= rate_hz / 2:
        raise ValueError(f"low_hz={low_hz:g}, high_hz={high_hz:g} at {rate_hz} Hz; 0 <= low < high <= {rate_hz / 2:g}")
    low_mel, high_mel = _mel_from_hz(np.array([low_hz, high_hz]), mel_scale)
    corners_hz = _hz_from_mel(np.linspace(low_mel, high_mel, bins + 2), mel_scale)
    left_f = corners_hz[:-2]
    peak_f = corners_hz[1:-1]
    right_f = corners_hz[2:]
    hz_c1 = np.linspace(0, rate_hz / 2, fft_samples // 2 + 1)[:, None]
    rise_cf = (hz_c1 - left_f) / (peak_f - left_f)
    fall_cf = (right_f - hz_c1) / (right_f - peak_f)
    filters_cf = np.maximum(0, np.minimum(rise_cf, fall_cf))
    empty = np.flatnonzero(filters_cf.max(axis=0) == 0)
    if empty.size:
        raise ValueError(
            f"bins={bins}: filter {empty[0]} ({left_f[empty[0]]:.0f} to {right_f[empty[0]]:.0f} Hz) lies between two "
            f"frequencies of an FFT of {fft_samples} samples; take fewer bins, a longer window or a larger low_hz"
        )
    return filters_cf * 2 / (right_f - left_f) if mel_scale == "slaney" else filters_cf


def normalize_utterance(frames_btf: Frames, frame_lengths_b: Lengths) -> Frames:
    """Normalises each bin of each utterance to mean 0 and variance 1 over its real frames.

    A bin that never changes becomes zero: the variance is raised by VARIANCE_FLOOR, so no gain exceeds 32.
    """
    valid_bt = _valid(frames_btf, frame_lengths_b)
    count_b11 = jnp.maximum(frame_lengths_b, 1)[:, None, None]
    frames_btf = masks.zero_padding(frames_btf.astype(jnp.float32), valid_bt)
    mean_b1f = frames_btf.sum(axis=1, keepdims=True) / count_b11
    centred_btf = masks.zero_padding(frames_btf - mean_b1f, valid_bt)
    variance_b1f = jnp.square(centred_btf).sum(axis=1, keepdims=True) / count_b11
    return centred_btf * lax.rsqrt(variance_b1f + VARIANCE_FLOOR)


def normalize_global(
    frames_btf: Frames, frame_lengths_b: Lengths, *, mean_f: Float[Array, " f"], deviation_f: Float[Array, " f"]
) -> Frames:
    """Frames by the mean and the (positive) standard deviation of a corpus."""
    scaled_btf = (frames_btf - mean_f[None, None, :]) / deviation_f[None, None, :]
    return masks.zero_padding(scaled_btf, _valid(frames_btf, frame_lengths_b))


def normalize_peak(frames_btf: Frames, frame_lengths_b: Lengths) -> Frames:
    """Scales natural logarithms to (log10 + 4) / 4, after raising them to at least PEAK_RANGE below the utterance's largest.

    Source: Radford et al. 2022 (2212.04356), section 2.2; the constants are those of the code of Whisper.
    """
    valid_bt = _valid(frames_btf, frame_lengths_b)
    log10_btf = frames_btf.astype(jnp.float32) / math.log(10)
    peak_b11 = jnp.max(log10_btf, axis=(1, 2), keepdims=True, initial=-1e30, where=valid_bt[..., None])
    return masks.zero_padding((jnp.maximum(log10_btf, peak_b11 - PEAK_RANGE) + 4.0) / 4.0, valid_bt)


def feature_sums(frames_btf: Frames, frame_lengths_b: Lengths) -> FeatureSums:
    """Returns count, sum and sum of squares of the real frames of one batch, in float32."""
    frames_btf = masks.zero_padding(frames_btf.astype(jnp.float32), _valid(frames_btf, frame_lengths_b))
    count = frame_lengths_b.sum().astype(jnp.float32)
    return FeatureSums(count, frames_btf.sum(axis=(0, 1)), jnp.square(frames_btf).sum(axis=(0, 1)))


def _valid(frames_btf: Frames, frame_lengths_b: Lengths):
    return masks.valid_from_lengths(frame_lengths_b, frames_btf.shape[1])


def _reflected(wave_bn: Wave, lengths_b: Lengths, by: int) -> Float[Array, "b _"]:
    """Returns the waves with `by` samples before and behind the real ones, mirrored at the first and the last of them."""
    n = wave_bn.shape[1]
    wave_bn = masks.zero_padding(wave_bn[..., None], masks.valid_from_lengths(lengths_b, n))[..., 0]
    mirrored_m = jnp.arange(1, by + 1)
    left_bm = jnp.take(wave_bn, jnp.minimum(mirrored_m[::-1], n - 1), axis=1)
    behind_bm = jnp.clip(lengths_b[:, None] - 1 - mirrored_m[None, :], 0, n - 1)
    right_bm = jnp.take_along_axis(wave_bn, behind_bm, axis=1)
    padded_bm = jnp.concatenate([left_bm, wave_bn, jnp.zeros_like(right_bm)], axis=1)
    return jax.vmap(lambda wave, right, end: lax.dynamic_update_slice(wave, right, (end,)))(
        padded_bm, right_bm, lengths_b + by
    )


def _windows(wave_bn: Wave, frames: int, window_samples: int, hop_samples: int) -> Float[Array, "b t w"]:
    starts_t = np.arange(frames) * hop_samples
    return wave_bn[:, starts_t[:, None] + np.arange(window_samples)]


def _mel_from_hz(hz: np.ndarray, mel_scale: MelScale) -> np.ndarray:
    if mel_scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / math.log(6.4))


def _hz_from_mel(mel: np.ndarray, mel_scale: MelScale) -> np.ndarray:
    if mel_scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * math.log(6.4) / 27))
