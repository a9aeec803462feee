"""Log-mel frames by loops, in float64: the discrete Fourier transform as its sum, triangles as their definition."""

import cmath
import math

import numpy as np


def log_mel(wave_n, length, *, rate_hz, window_samples, hop_samples, fft_samples, bins, low_hz, high_hz, floor):
    """A list of frames of one wave."""
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * i / window_samples) for i in range(window_samples)]
    frames = []
    start = 0
    while start + window_samples <= length:
        power = []
        for k in range(fft_samples // 2 + 1):
            terms = (
                wave_n[start + i] * hann[i] * cmath.exp(-2j * math.pi * k * i / fft_samples)
                for i in range(window_samples)
            )
            power.append(abs(sum(terms)) ** 2)
        frames.append(
            [math.log(max(floor, energy)) for energy in filtered(power, rate_hz, fft_samples, bins, low_hz, high_hz)]
        )
        start += hop_samples
    return np.array(frames).reshape(-1, bins)


def filtered(power, rate_hz, fft_samples, bins, low_hz, high_hz):
    """HTK: bin j is a triangle between three neighbours of bins + 2 points equally spaced in mel."""
    low, high = (2595 * math.log10(1 + hz / 700) for hz in (low_hz, high_hz))
    points = [700 * (10 ** ((low + (high - low) * j / (bins + 1)) / 2595) - 1) for j in range(bins + 2)]
    energies = []
    for left, peak, right in zip(points[:-2], points[1:-1], points[2:], strict=True):
        energy = 0.0
        for k, p in enumerate(power):
            hz = k * rate_hz / fft_samples
            if left < hz <= peak:
                energy += p * (hz - left) / (peak - left)
            elif peak < hz < right:
                energy += p * (right - hz) / (right - peak)
        energies.append(energy)
    return energies


def normalized(frames, variance_floor):
    """Each bin of one utterance by its own mean and variance."""
    result = np.zeros_like(frames)
    for f in range(frames.shape[1] if len(frames) else 0):
        mean = sum(frames[:, f]) / len(frames)
        variance = sum((x - mean) ** 2 for x in frames[:, f]) / len(frames)
        result[:, f] = [(x - mean) / math.sqrt(variance + variance_floor) for x in frames[:, f]]
    return result
