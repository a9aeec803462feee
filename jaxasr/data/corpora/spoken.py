"""The synthetic corpus `spoken`, for a first run without a download. The seed determines it completely.

eSpeak NG synthesizes short phrases with many voices, accents, speeds and pitches; simulated small rooms and noise are
added. The voices and the word sequences (phrases.py) of dev and test occur in no other split.
"""

import functools
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import soundfile
import soxr
import tensorflow_datasets as tfds
from jaxtyping import Float, Int16
from tensorflow_datasets.core.download.checksums import UrlInfo

from jaxasr.data.corpora.espeak import RATE_HZ as ESPEAK_HZ
from jaxasr.data.corpora.espeak import Request, Synthesizer
from jaxasr.data.corpora.phrases import SplitName, sample_phrase
from jaxasr.data.corpora.source import RawExample, SourceSplit
from jaxasr.tree import check_numbers

RATE_HZ = 16_000
ACCENTS = ("en", "en-us", "en-us-nyc", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
# Voice variants of eSpeak. Similar voices (Diogo and miguel, linda and f4) are in one split. Breathy voices are left out,
# because their noise comes from memory that eSpeak does not initialise; robot voices are left out as well.
_TRAIN = "Andrea Andy Annie Denis Diogo Jacky Mario Michael Mike Nguyen anika antonio aunty belinda boris edward2 f4 "
_TRAIN += "grandpa iven3 linda m1 m3 m6 m7 marcelo max miguel paul rob robert shelby steph steph2"
VARIANTS: dict[SplitName, tuple[str, ...]] = {
    "train": tuple(_TRAIN.split()),
    "dev": ("Gene", "ed", "m4"),
    "test": ("Alex", "f1", "grandma", "m2", "m5", "pedro"),
}


@dataclass(frozen=True)
class SpokenPhrases:
    """A corpus of synthesized phrases, given by the number of utterances of each split and the seed."""

    name: str = "spoken"
    train: int = 2000
    dev: int = 100
    test: int = 150
    seed: int = 0
    url_infos: ClassVar[Mapping[str, UrlInfo]] = {}

    def __post_init__(self):
        check_numbers(self)
        if min(self.train, self.dev, self.test) < 1 or self.seed < 0:
            raise ValueError(f"spoken needs an utterance at least in each split and a seed from 0 on; got {self}")

    @property
    def description(self) -> str:
        """The contents of the corpus."""
        return "Digits, dates, spelled words and commands, synthesised with eSpeak NG in many voices, rooms and noises."

    def splits(self, downloads: tfds.download.DownloadManager) -> dict[str, SourceSplit]:
        """Returns train, dev and test. Utterance i of a split does not depend on the sizes."""
        del downloads  # nothing to download
        sizes: dict[SplitName, int] = {"train": self.train, "dev": self.dev, "test": self.test}
        return {split: SourceSplit(_examples(split, size, self.seed), size) for split, size in sizes.items()}


def _examples(split: SplitName, size: int, seed: int) -> Iterator[RawExample]:
    with Synthesizer() as synthesizer:
        for number in range(size):
            rng = np.random.default_rng([seed, get_args(SplitName).index(split), number])
            request = _request(split, rng)
            samples = np.frombuffer(synthesizer.synthesize(request), np.int16)
            audio = functools.partial(_record, samples, rng)
            yield RawExample(f"{split}-{number:05d}", request.text, request.voice, f"utterance {number}", audio)


def _request(split: SplitName, rng: np.random.Generator) -> Request:
    return Request(
        text=sample_phrase(split, rng),
        voice=f"{rng.choice(ACCENTS)}+{rng.choice(VARIANTS[split])}",
        speed_wpm=int(rng.integers(140, 191)),
        pitch=int(rng.integers(35, 66)),
        pitch_range=int(rng.integers(30, 71)),
        word_gap=int(rng.integers(0, 4)),
    )


def _record(samples_n: Int16[np.ndarray, " n"], rng: np.random.Generator) -> bytes:
    """Simulates a recording of the voice in a room. Returns FLAC."""
    wave_n = soxr.resample(samples_n.astype(np.float32) / 32_768, ESPEAK_HZ, RATE_HZ)
    wave_n = np.pad(wave_n, rng.integers(800, 3200, size=2))  # 50 to 200 ms of room before and after
    wave_n = _add_reverberation(wave_n, rng)
    wave_n = wave_n + _noise(wave_n, rng)
    peak = rng.uniform(0.2, 0.9) / np.abs(wave_n).max()
    file = io.BytesIO()
    soundfile.write(file, np.round(wave_n * peak * 32_767).astype(np.int16), RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _add_reverberation(wave_n: Float[np.ndarray, " n"], rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Convolves with a direct path and exponentially decaying noise.

    The noise decays by 60 dB in 0.1 to 0.35 s and is 5 to 20 dB below the direct path.
    """
    decay_s = rng.uniform(0.1, 0.35)
    direct_db = rng.uniform(5.0, 20.0)
    time_k = np.arange(round(decay_s * RATE_HZ)) / RATE_HZ
    tail_k = rng.standard_normal(len(time_k)) * 10 ** (-3 * time_k / decay_s)
    tail_k[:32] = 0.0  # 2 ms until the first reflection
    tail_k *= 10 ** (-direct_db / 20) / np.linalg.norm(tail_k)
    tail_k[0] = 1.0
    size = _fast_size(len(wave_n) + len(tail_k))
    return np.fft.irfft(np.fft.rfft(wave_n, size) * np.fft.rfft(tail_k, size), size)[: len(wave_n)]


def _noise(wave_n: Float[np.ndarray, " n"], rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Samples noise between white and brown, 10 to 30 dB below the speech."""
    slope = rng.uniform(0.0, 1.0)
    snr_db = rng.uniform(10.0, 30.0)
    size = _fast_size(len(wave_n))
    spectrum_k = np.fft.rfft(rng.standard_normal(size))
    spectrum_k /= np.maximum(np.arange(len(spectrum_k)), 1.0) ** slope
    noise_n = np.fft.irfft(spectrum_k, size)[: len(wave_n)]
    return noise_n * np.sqrt(np.mean(wave_n**2) / np.mean(noise_n**2)) * 10 ** (-snr_db / 20)


def _fast_size(samples: int) -> int:
    """Returns the next power of two. An FFT of a prime length takes four times as long."""
    return 1 << (samples - 1).bit_length()
