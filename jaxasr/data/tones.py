"""The data of the synthetic alignment task: strings of noisy tone patterns of varying length, generated in memory.

Each symbol is a pair of successive tones, so that no single frame identifies it. Durations, gaps and loudness vary, so that
the position in time does not determine the position in the string. The task needs no file, no corpus and little time.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from jaxasr.data.batching.shape import Shape
from jaxasr.records import Batch
from jaxasr.tree import check_numbers


@dataclass(frozen=True)
class Tones:
    """A generator of strings of `shortest` to `longest` symbols, uniform in length.

    Token k + 1 is the k-th ordered pair of different tones.
    """

    shortest: int = 1
    longest: int = 10
    symbols: int = 8
    tones_hz: tuple[float, ...] = (400.0, 700.0, 1_100.0, 1_600.0)
    symbol_ms: tuple[float, float] = (80.0, 160.0)  # shortest and longest duration
    gap_ms: tuple[float, float] = (30.0, 90.0)
    noise_db: float = -20.0  # below a tone of full loudness
    rate_hz: int = 4_000

    def __post_init__(self):
        check_numbers(self, positive=("tones_hz", "symbol_ms", "rate_hz"), not_negative=("gap_ms",))
        pairs = len(self.tones_hz) * (len(self.tones_hz) - 1)
        if not 1 <= self.symbols <= pairs:
            raise ValueError(f"Tones.symbols is {self.symbols}; {len(self.tones_hz)} tones make 1 to {pairs} symbols")
        if not 1 <= self.shortest <= self.longest:
            raise ValueError(f"Tones has strings of {self.shortest} to {self.longest}; 1 <= shortest <= longest")
        if 2 * max(self.tones_hz) >= self.rate_hz:
            raise ValueError(f"a tone of {max(self.tones_hz):g} Hz needs a rate_hz above {2 * max(self.tones_hz):g}")

    @property
    def vocab(self) -> int:
        """The number of tokens, the end included."""
        return self.symbols + 1

    @property
    def samples(self) -> int:
        """The samples of the static shape. No string of `longest` symbols is longer."""
        return round(self.longest * (self.symbol_ms[1] + self.gap_ms[1]) * self.rate_hz / 1_000) + self.rate_hz // 10

    def batch(self, number: int, *, examples: int, seed: int) -> Batch:
        """Generates a batch. The result is a pure function of the arguments."""
        rng = np.random.default_rng((seed, number))
        batch = Batch.blank(Shape(samples=self.samples, tokens=self.longest, examples=examples))
        lengths_b = rng.integers(self.shortest, self.longest + 1, examples).astype(np.int32)
        for row, length in enumerate(lengths_b):
            tokens_u = rng.integers(1, self.symbols + 1, length)
            wave_n = self.wave(tokens_u, rng)
            batch.tokens_bu[row, :length] = tokens_u
            batch.wave_bn[row, : len(wave_n)] = np.round(wave_n * 32_767)
            batch.sample_lengths_b[row] = len(wave_n)
        ids_b = rng.integers(0, 2**32, examples, dtype=np.uint32)
        return replace(batch, token_lengths_b=lengths_b, ids_b=ids_b, valid_b=np.ones(examples, bool))

    def wave(self, tokens_u: Int[np.ndarray, " u"], rng: np.random.Generator) -> Float[np.ndarray, " n"]:
        """Generates one string, with silence before, between and after its symbols and with noise over the whole."""
        pairs = list(itertools.permutations(self.tones_hz, 2))
        pieces = [self._silence(rng)]
        for token in tokens_u:
            pieces += [self._symbol(pairs[token - 1], rng), self._silence(rng)]
        clean_n = np.concatenate(pieces)
        return np.clip(clean_n + rng.normal(size=len(clean_n)) * 0.3 * 10 ** (self.noise_db / 20), -1.0, 1.0)

    def _symbol(self, pair: tuple[float, float], rng: np.random.Generator) -> Float[np.ndarray, " n"]:
        samples = self._samples(self.symbol_ms, rng)
        hz_n = np.where(np.arange(samples) < samples // 2, pair[0], pair[1])
        return rng.uniform(0.1, 0.3) * np.sin(2 * np.pi * np.cumsum(hz_n) / self.rate_hz)

    def _silence(self, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
        return np.zeros(self._samples(self.gap_ms, rng))

    def _samples(self, ms: tuple[float, float], rng: np.random.Generator) -> int:
        return int(rng.uniform(*ms) * self.rate_hz / 1_000)
