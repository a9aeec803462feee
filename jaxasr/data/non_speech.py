"""Made sounds that hold no speech: noises, hum, tones, chords, drums. For calibration and tests of the no-speech decision."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64, Int16

_FULL_SCALE = 32_767.0
_LOWEST_HZ = 20.0  # of coloured noise; a lower frequency has the power of this one

Sound: TypeAlias = Float64[np.ndarray, " n"]
SoundFn: TypeAlias = Callable[[int, int, np.random.Generator], Sound]  # (samples, rate_hz, generator)


def made_sound(
    kind: str, *, seconds: float, level_db: float, rate_hz: int, generator: np.random.Generator
) -> Int16[np.ndarray, " n"]:
    """Returns a sound of a kind of `SOUNDS` with this mean square, in dB of full scale; loud peaks are clipped.

    Raises:
        KeyError: there is no such kind.
    """
    if kind not in SOUNDS:
        raise KeyError(f"no made sound {kind!r}; there are {', '.join(SOUNDS)}")
    sound_n = SOUNDS[kind](max(1, round(seconds * rate_hz)), rate_hz, generator)
    return to_int16(_FULL_SCALE * sound_n / np.sqrt(np.mean(np.square(sound_n)) + 1e-12), level_db)


def changed_speech(
    wave_n: Int16[np.ndarray, " n"],
    *,
    gain_db: float,
    snr_db: float | None,
    rate_hz: int,
    generator: np.random.Generator,
) -> Int16[np.ndarray, " n"]:
    """Returns speech at another level, with noise between white and pink at this ratio to its mean square; None: no noise."""
    sound_n = wave_n.astype(np.float64)
    if snr_db is not None:
        sound_n = mixed(sound_n, noise(generator.uniform(0.0, 1.0))(len(wave_n), rate_hz, generator), snr_db)
    return to_int16(sound_n, gain_db)


def mixed(speech_n: Sound, sound_n: Sound, snr_db: float) -> Sound:
    """Returns speech with a sound, whose mean square is so many decibels below that of the speech."""
    ratio = np.mean(np.square(speech_n)) / (np.mean(np.square(sound_n)) + 1e-12)
    return speech_n + np.sqrt(ratio) * 10 ** (-snr_db / 20) * sound_n


def to_int16(sound_n: Sound, gain_db: float) -> Int16[np.ndarray, " n"]:
    """Returns a sound in units of 16 bits at another level; loud peaks are clipped."""
    return np.clip(np.round(10 ** (gain_db / 20) * sound_n), -_FULL_SCALE, _FULL_SCALE).astype(np.int16)


def noise(slope: float) -> SoundFn:
    """Returns a generator of noise with a power of 1 / frequency ** slope: 0 is white, 1 pink, 2 brown."""

    def make(samples: int, rate_hz: int, generator: np.random.Generator) -> Sound:
        spectrum_f = np.fft.rfft(generator.standard_normal(samples))
        hz_f = np.maximum(np.fft.rfftfreq(samples, 1 / rate_hz), _LOWEST_HZ)
        return np.fft.irfft(spectrum_f * hz_f ** (-slope / 2), samples)

    return make


def tone(hz: float, harmonics: int = 1) -> SoundFn:
    """Returns a generator of a steady tone; harmonic k has the amplitude 1 / k, as in the hum of the mains."""

    def make(samples: int, rate_hz: int, generator: np.random.Generator) -> Sound:
        t_n = np.arange(samples) / rate_hz
        partials = range(1, min(harmonics, int(rate_hz / 2 / hz)) + 1)
        return np.sum([np.sin(2 * np.pi * (hz * k * t_n + generator.random())) / k for k in partials], axis=0)

    return make


def _sweep(samples: int, rate_hz: int, generator: np.random.Generator) -> Sound:
    """Makes a siren: a tone whose frequency swings around 800 Hz, with a period drawn from 0.5 to 2 s."""
    t_n = np.arange(samples) / rate_hz
    hz_n = 800 + 300 * np.sin(2 * np.pi * t_n / generator.uniform(0.5, 2.0))
    return np.sin(2 * np.pi * np.cumsum(hz_n) / rate_hz)


def _throb(samples: int, rate_hz: int, generator: np.random.Generator) -> Sound:
    """Makes an engine: pink noise whose level swings 2 to 8 times a second, as often as syllables come."""
    swell_n = 1 + 0.9 * np.sin(2 * np.pi * generator.uniform(2.0, 8.0) * np.arange(samples) / rate_hz)
    return swell_n * noise(1.0)(samples, rate_hz, generator)


def _clicks(samples: int, rate_hz: int, generator: np.random.Generator) -> Sound:
    """Makes about six clicks of 2 ms a second over faint noise."""
    ring = np.exp(-np.arange(max(1, rate_hz // 80)) / (rate_hz * 0.002))
    strokes_n = (generator.random(samples) < 6 / rate_hz) * 1.0
    strokes_n[samples // 2] = 1.0
    return np.convolve(strokes_n, ring)[:samples] * generator.standard_normal(samples) + 1e-3 * noise(0.0)(
        samples, rate_hz, generator
    )


def chords(attack_s: float, decay_s: float, partials: int) -> SoundFn:
    """Returns a generator of chords of one to three notes of a major scale; a short decay resembles a piano."""

    def make(samples: int, rate_hz: int, generator: np.random.Generator) -> Sound:
        sound_n = np.zeros(samples)
        beat_s = generator.uniform(0.25, 0.6)
        start = 0
        while start < samples:
            stop = min(samples, start + round(1.2 * beat_s * rate_hz))
            t_n = np.arange(stop - start) / rate_hz
            envelope_n = np.minimum(1, t_n / attack_s) * np.exp(-t_n / decay_s)
            steps = generator.choice([0, 2, 4, 5, 7, 9, 11]) + np.array([0, 4, 7])[: generator.integers(1, 4)]
            for hz in 220 * 2 ** (steps / 12):
                sound_n[start:stop] += envelope_n * tone(hz, partials)(stop - start, rate_hz, generator)
            start += round(beat_s * rate_hz)
        return sound_n

    return make


def _drums(samples: int, rate_hz: int, generator: np.random.Generator) -> Sound:
    """Makes a beat of bass drum, snare and hi-hat."""
    sound_n = np.zeros(samples)
    step = round(generator.uniform(0.1, 0.2) * rate_hz)
    for number, start in enumerate(range(0, samples, step)):
        t_n = np.arange(min(rate_hz // 4, samples - start)) / rate_hz
        hiss_n = generator.standard_normal(len(t_n))
        bass_n = 2 * np.sin(2 * np.pi * (50 * t_n + 2 * (1 - np.exp(-t_n / 0.05)))) * np.exp(-t_n / 0.1)
        snare_n = (0.6 * hiss_n + np.sin(2 * np.pi * 180 * t_n)) * np.exp(-t_n / 0.06)
        hat_n = 0.3 * np.diff(hiss_n, prepend=0.0) * np.exp(-t_n / 0.02)
        sound_n[start : start + len(t_n)] += (bass_n, hat_n, snare_n, hat_n)[number % 4]
    return sound_n


def _song(samples: int, rate_hz: int, generator: np.random.Generator) -> Sound:
    """Makes chords with drums of the same mean square."""
    parts = (chords(0.01, 0.4, 8)(samples, rate_hz, generator), _drums(samples, rate_hz, generator))
    return np.sum([part_n / np.sqrt(np.mean(np.square(part_n)) + 1e-12) for part_n in parts], axis=0)


SOUNDS: Mapping[str, SoundFn] = {
    "white noise": noise(0.0),
    "pink noise": noise(1.0),
    "50 Hz hum": tone(50.0, 12),
    "440 Hz tone": tone(440.0),
    "piano chords": chords(0.01, 0.4, 8),
    "drums": _drums,
    "brown noise": noise(2.0),
    "60 Hz hum": tone(60.0, 30),
    "1 kHz tone": tone(1_000.0),
    "siren": _sweep,
    "engine": _throb,
    "clicks": _clicks,
    "organ chords": chords(0.05, 10.0, 3),
    "song": _song,
}
FOR_CALIBRATION = tuple(SOUNDS)[:6]  # `jaxasr bench non-speech` measures the others as well
