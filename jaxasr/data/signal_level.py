"""The level of 16-bit audio, the faults that no recogniser can work with (silence, low level, clipping), and statistics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int16

FaultKind = Literal["silent audio", "quiet audio", "clipped audio"]
SILENCE_DBFS = -60.0  # of 10 ms
_HOPS_A_SECOND = 100
_FULL_SCALE = 32_768
_RUN = 3  # equal samples in a row at the highest or lowest level of a file: a flat top
_LEAST_TOP = 328  # lower tops than 1 % of full scale are flat by rounding


@dataclass(frozen=True)
class SignalFault:
    """A fault of a recording as a whole."""

    kind: FaultKind
    detail: str


@dataclass(frozen=True)
class SignalLimits:
    """The limits beyond which a recording cannot be used.

    Raises:
      ValueError: a limit is not a number in its range.
    """

    min_level_dbfs: float = -60.0  # of the root mean square without the constant part, relative to full scale
    max_clipped_share: float = 0.01  # of the samples

    def __post_init__(self):
        if not -math.inf < self.min_level_dbfs <= 0:
            raise ValueError(f"the lowest level is {self.min_level_dbfs} dBFS; a finite number up to 0 is needed")
        if not 0 <= self.max_clipped_share <= 1:
            raise ValueError(f"the share of clipped samples is {self.max_clipped_share}; it has to be from 0 to 1")

    def fault(self, level: "SignalLevel") -> SignalFault | None:
        """Returns the fault of a recording, or None. A recording without samples has none."""
        if level.samples and level.is_constant:
            return SignalFault("silent audio", f"all {level.samples} samples are {level.highest}")
        if level.samples and level.dbfs < self.min_level_dbfs:
            return SignalFault("quiet audio", f"{level.dbfs:.1f} dBFS, at least {self.min_level_dbfs:g} is needed")
        if level.clipped_share > self.max_clipped_share:
            return SignalFault(
                "clipped audio",
                f"{level.clipped_share:.1%} of the samples, at most {self.max_clipped_share:.1%} may be",
            )
        return None


@dataclass(frozen=True)
class UtteranceLevel:
    """The level of one utterance."""

    seconds: float
    dbfs: float
    clipped_share: float  # of the samples
    silent_share: float  # of the hops of 10 ms, below SILENCE_DBFS


@dataclass(frozen=True)
class LevelSummary:
    """The levels of the utterances of a split."""

    low_dbfs: float  # 5 % of the utterances are at most so loud
    median_dbfs: float
    high_dbfs: float  # 95 % are at most so loud
    clipped: int  # utterances with clipped samples
    most_clipped_share: float  # of the samples of one of them
    silent_share: float  # of the audio
    mostly_silent: int  # utterances of which more than half is silent

    @classmethod
    def of(cls, levels: Sequence[UtteranceLevel]) -> "LevelSummary | None":
        """Returns the summary of a split; None if it has no audio."""
        if not levels:
            return None
        low, median, high = np.quantile([level.dbfs for level in levels], (0.05, 0.5, 0.95)).round(2).tolist()
        clipped = [level.clipped_share for level in levels if level.clipped_share > 0.0]
        seconds_b = np.array([level.seconds for level in levels])
        silent_b = np.array([level.silent_share for level in levels])
        return cls(
            low_dbfs=low,
            median_dbfs=median,
            high_dbfs=high,
            clipped=len(clipped),
            most_clipped_share=round(max(clipped, default=0.0), 6),
            silent_share=round(float(seconds_b @ silent_b / seconds_b.sum()), 4),
            mostly_silent=int((silent_b > 0.5).sum()),
        )

    def line(self) -> str:
        """Returns the summary for the terminal."""
        most = f", at most {self.most_clipped_share:.2%} of the samples" if self.clipped else ""
        half = f", more than half of {self.mostly_silent:,} utterances" if self.mostly_silent else ""
        return (
            f"level {self.median_dbfs:.1f} dBFS (5 %: {self.low_dbfs:.1f}, 95 %: {self.high_dbfs:.1f}); clipping in "
            f"{self.clipped:,} utterances{most}; silence (below {SILENCE_DBFS:g} dBFS) {self.silent_share:.1%}{half}"
        )


class SignalLevel:
    """A running measurement of the level of 16-bit audio.

    Clipped are samples at full scale, and flat tops: runs of at least three equal samples at the highest or the lowest
    level of the recording. A run that crosses the border of two blocks counts less.
    """

    def __init__(self):
        self.samples = 0
        self.highest = -_FULL_SCALE
        self.lowest = _FULL_SCALE - 1
        self._sum = self._squares = 0.0
        self._at_highest = self._at_lowest = 0

    def add(self, wave_n: Int16[np.ndarray, " n"]) -> None:
        """Adds a block of the recording."""
        if not len(wave_n):
            return
        self.samples += len(wave_n)
        x_n = wave_n.astype(np.float64)
        self._sum += float(x_n.sum())
        self._squares += float(x_n @ x_n)
        highest = int(wave_n.max())
        lowest = int(wave_n.min())
        if highest > self.highest:
            self.highest = highest
            self._at_highest = 0
        if lowest < self.lowest:
            self.lowest = lowest
            self._at_lowest = 0
        if highest == self.highest:
            self._at_highest += _clipped(wave_n == highest, full_scale=highest == _FULL_SCALE - 1)
        if lowest == self.lowest:
            self._at_lowest += _clipped(wave_n == lowest, full_scale=lowest <= 1 - _FULL_SCALE)

    @property
    def is_constant(self) -> bool:
        """A flag that all samples are equal."""
        return self.highest <= self.lowest

    @property
    def dbfs(self) -> float:
        """The root mean square without the constant part, in dB relative to full scale."""
        power = self._squares / self.samples - (self._sum / self.samples) ** 2 if self.samples else 0.0
        return 10 * math.log10(power / _FULL_SCALE**2) if power > 0 else -math.inf

    @property
    def clipped_share(self) -> float:
        """The share of clipped samples."""
        if not self.samples or self.is_constant:
            return 0.0
        clipped = self._at_highest * (self.highest >= _LEAST_TOP) + self._at_lowest * (self.lowest <= -_LEAST_TOP)
        return clipped / self.samples


def _clipped(at_n: np.ndarray, *, full_scale: bool) -> int:
    """Returns the number of clipped samples among those at the top: all at full scale, else those in runs."""
    if full_scale:
        return int(at_n.sum())
    edges = np.flatnonzero(np.diff(at_n, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    return int(runs[runs >= _RUN].sum())


def silent_share(wave_n: Int16[np.ndarray, " n"], rate_hz: int) -> float:
    """Returns the share of hops of 10 ms whose mean square is below SILENCE_DBFS; 0 for audio shorter than a hop."""
    hop = max(1, rate_hz // _HOPS_A_SECOND)
    hops = len(wave_n) // hop
    if not hops:
        return 0.0
    powers_t = np.square(wave_n[: hops * hop].astype(np.float32) / _FULL_SCALE).reshape(hops, hop).mean(axis=1)
    return float((powers_t < 10.0 ** (SILENCE_DBFS / 10.0)).mean())
