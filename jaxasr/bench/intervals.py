"""Coverage of confidence intervals by simulation: how often a nominal 95 % interval holds the true error rate.

A simulated test set has speakers who differ in their error rate and in how much they say, and utterances that differ in
length and difficulty. The true rate is known. The intervals of rows of results (`score.rate_interval` over speakers) are
measured beside those over utterances and beside percentile bootstraps over utterances and over speakers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import brentq
from scipy.special import expit

from jaxasr import score

LEVEL = 0.95
RESAMPLES = 300  # of the bootstraps
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)  # for means over a standard normal


@dataclass(frozen=True)
class Population:
    """The distribution that test sets are drawn from.

    The log odds of an error are normal over speakers and over the utterances of a speaker. The number of words is negative
    binomial (2 failures) plus one, times a log-normal factor of the speaker.
    """

    rate: float  # the true error rate
    speaker_spread: float = 0.6  # standard deviation of the log odds over speakers
    utterance_spread: float = 0.7  # and over utterances of one speaker
    words: float = 8.0  # mean words of an utterance
    talk_spread: float = 0.2  # standard deviation of the logarithm of the speakers' factors

    @property
    def log_odds(self) -> float:
        """The mean log odds at which the mean rate is `rate`."""
        spread = np.hypot(self.speaker_spread, self.utterance_spread)

        def excess(mean: float) -> float:
            return float(_WEIGHTS @ expit(mean + spread * _NODES) / _WEIGHTS.sum()) - self.rate

        return float(brentq(excess, -30.0, 30.0))  # pyright: ignore[reportArgumentType]


class SimulatedSet(NamedTuple):
    """The errors, words and speakers of a test set, one an utterance."""

    errors: Int[np.ndarray, " utterances"]
    words: Int[np.ndarray, " utterances"]
    speakers: Int[np.ndarray, " utterances"]


class IntervalCoverage(NamedTuple):
    """The shares of intervals that hold the true rate."""

    rows: float  # the intervals of rows of results, over speakers
    utterances: float  # the same over utterances
    bootstrap_speakers: float
    bootstrap_utterances: float


def simulate(
    population: Population, speakers: int, utterances: int, rng: np.random.Generator, *, talkers: float = 0.0
) -> SimulatedSet:
    """Draws a test set.

    Args:
        utterances: of each speaker.
        talkers: standard deviation of the logarithm of the speakers' numbers of utterances; `utterances` is their mode.
    """
    normal = rng.standard_normal
    counts = np.maximum(1, np.round(utterances * np.exp(talkers * normal(speakers)))).astype(int)
    who = np.repeat(np.arange(speakers), counts)
    easy = population.log_odds + population.speaker_spread * normal(speakers)
    talk = np.exp(population.talk_spread * normal(speakers) - population.talk_spread**2 / 2)
    rates = expit(easy[who] + population.utterance_spread * normal(len(who)))
    words = 1 + rng.negative_binomial(2, 2 / (2 + (population.words - 1) * talk[who]))
    return SimulatedSet(rng.binomial(words, rates), words, who)


def coverage(
    population: Population,
    speakers: int,
    utterances: int,
    *,
    sets: int,
    seed: int = 0,
    talkers: float = 0.0,
    resamples: int = RESAMPLES,
) -> IntervalCoverage:
    """Returns the coverage of each kind of interval on simulated test sets.

    Args:
        utterances: of each speaker.
        sets: the number of test sets.
        talkers: as in `simulate`.
        resamples: of the bootstraps; 0 leaves them out (NaN).
    """
    rng = np.random.default_rng(seed)
    held = np.zeros((sets, 4))
    for trial in range(sets):
        drawn = simulate(population, speakers, utterances, rng, talkers=talkers)
        found = [
            score.rate_interval(drawn.errors, drawn.words, blocks=blocks, level=LEVEL)
            for blocks in (drawn.speakers, None)
        ]
        bounds = [(interval.low, interval.high) for interval in found]
        for units in (drawn.speakers, np.arange(len(drawn.speakers))):
            bounds.append(_bootstrap(drawn, units, rng, resamples) if resamples else (np.nan, np.nan))
        held[trial] = [low <= population.rate <= high for low, high in bounds]
    shares = held.mean(axis=0)
    return IntervalCoverage(
        *(float(share) for share in shares[:2]), *(float(s) if resamples else np.nan for s in shares[2:])
    )


def bench_intervals(*, rounds: int = 1_000) -> Iterator[str]:
    """Measures the coverage of nominal 95 % intervals, by speakers, utterances, error rate and spread between speakers.

    Args:
        rounds: simulated test sets of each line.
    """
    error = 100 * np.sqrt(LEVEL * (1 - LEVEL) / rounds)
    yield f"coverage of nominal {LEVEL:.0%} intervals in %, of {rounds:,} simulated test sets (+- {error:.1f})"
    yield f"{'speakers x utterances':>22} {'rate':>5} {'spread':>6}   rows  utterances  bootstrap: speakers  utterances"
    for speakers, utterances, talkers in ((10, 13, 0.0), (40, 65, 0.0), (66, 13, 0.0), (10, 13, 0.7), (5, 26, 0.0)):
        for rate in (0.05, 0.15, 0.30):
            for spread in (0.3, 0.6, 0.9):
                population = Population(rate, spread)
                found = coverage(population, speakers, utterances, sets=rounds, talkers=talkers)
                title = f"{speakers} x {utterances}{' unequal' * (talkers > 0)}"
                shares = "  ".join(
                    f"{100 * share:{width}.1f}" for share, width in zip(found, (5, 10, 19, 10), strict=True)
                )
                yield f"{title:>22} {rate:5.0%} {spread:6.1f}  {shares}"


def _bootstrap(
    drawn: SimulatedSet, units: Int[np.ndarray, " utterances"], rng: np.random.Generator, resamples: int
) -> tuple[float, float]:
    """Returns the percentile interval of the error rate over units that are drawn with replacement."""
    errors: Float[np.ndarray, " units"] = np.bincount(units, drawn.errors)
    words: Float[np.ndarray, " units"] = np.bincount(units, drawn.words)
    picked = rng.integers(len(errors), size=(resamples, len(errors)))
    rates = errors[picked].sum(axis=1) / words[picked].sum(axis=1)
    low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
