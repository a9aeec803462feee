"""Segmentation of a recording of any length into windows: cut in pauses, overlapping where there are none.

A pure generator from blocks of samples to windows. It holds at most one and a half windows and one block.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int16

HOP_S = 0.01  # of the energies in which pauses are searched
_LOUD_QUANTILE = 0.9  # quantile of the energies of a window that defines its loud level
_FULL_SCALE = 32_768.0
_LEAST = 1e-12  # the energy of digital silence, so that its level is finite (-120 dB)


@dataclass(frozen=True)
class Windows:
    """The rules by which a recording is cut. Levels are those of the mean square, 0 dB at full scale.

    A pause is a stretch of at least `pause_s` that stays `pause_db` below the loud level of the window, or below
    `silence_db`. A window ends in the middle of a pause: the first one of at least `clear_s`, which is usually the end of a
    sentence, so that windows resemble the utterances of training; otherwise the longest one. Pauses in the first quarter of a
    window are ignored. Without a pause a window has the full length, and the next one begins a quarter of a window earlier,
    so that every word up to this length is complete in one of the two.

    Quiet ends of a window are removed up to a margin, so that it resembles an utterance; a recording of a single window is
    not changed. The best margin depends on the silence in the training data. Measured: the quickstart's model, trained on
    hardly any silence, has 5.4 % WER on 150 unseen sentences joined by 0.4 s of faint noise with a margin of 0.1 s, and
    17.2 % with 0.2 s (1.1 % on the separate sentences). The AN4 model, trained on recordings with silence, has 17.1 % and
    16.4 % on the 100 utterances of the dev set, each trimmed in this way (16.1 % untrimmed).
    """

    longest_s: float
    pause_s: float = 0.2
    clear_s: float = 0.35
    pause_db: float = 20.0
    quiet_db: float = 30.0  # ends of a window that stay this far below the loud level are cut to `margin_s`
    margin_s: float = 0.1
    silence_db: float = -70.0  # the level of silence: 10 steps of 16 bits
    whole_s: float = 0.0  # a recording up to this long is one window

    def __post_init__(self):
        if not self.pause_s >= HOP_S or not self.longest_s >= 4 * self.pause_s:
            raise ValueError(
                f"windows of {self.longest_s:g} s with pauses of {self.pause_s:g} s: a pause must be at least {HOP_S:g} s, "
                "a window at least four pauses"
            )

    def longest(self, rate_hz: int) -> int:
        """Returns the samples of the longest window."""
        return int(self.longest_s * rate_hz)

    def whole(self, rate_hz: int) -> int:
        """Returns the samples of the longest recording that is one window."""
        return max(self.longest(rate_hz), int(self.whole_s * rate_hz))

    def held(self, rate_hz: int) -> int:
        """Returns the most samples that are held, besides one block."""
        return max(self.longest(rate_hz) * 3 // 2, self.whole(rate_hz))


class Segment(NamedTuple):
    """A window of a recording."""

    wave_n: Int16[np.ndarray, " n"]
    start: int  # sample of the recording at which it begins
    overlap: int  # samples at its beginning that the window before contains as well; 0: cut in a pause
    begin: int  # first sample of the window that is not silent
    end: int  # end of the part that is not silent; begin == end: only silence
    last: bool


def segments(blocks: Iterable[Int16[np.ndarray, " n"]], windows: Windows, *, rate_hz: int) -> Iterator[Segment]:
    """Yields the windows of a recording in order: together they cover it, none of several is longer than `longest_s`.

    Args:
        blocks: consecutive samples, in pieces of any length.
    """
    waiting = iter(blocks)
    longest = windows.longest(rate_hz)
    held_n = np.zeros(0, np.int16)
    start = 0
    overlap = 0
    ended = False
    while True:
        fresh = [held_n]
        size = len(held_n)
        while not ended and size <= windows.held(rate_hz):
            block_n = next(waiting, None)
            ended = block_n is None
            if block_n is not None:
                fresh.append(block_n)
                size += len(block_n)
        held_n = np.concatenate(fresh)
        if ended and len(held_n) <= (longest if start else windows.whole(rate_hz)):
            begin, end = audible(held_n, windows, rate_hz)
            if not start and end:  # a recording of one window is not trimmed
                begin = 0
                end = len(held_n)
            yield Segment(held_n, start, overlap, begin, end, last=True)
            return
        cut = _pause(held_n, windows, rate_hz=rate_hz, ended=ended)
        shared = 0 if cut is not None else longest // 4
        cut = longest if cut is None else cut
        wave_n = held_n[:cut].copy()  # a view would keep the samples that follow in memory
        yield Segment(wave_n, start, overlap, *audible(wave_n, windows, rate_hz), last=False)
        held_n = held_n[cut - shared :]
        start += cut - shared
        overlap = shared


def _pause(held_n: Int16[np.ndarray, " n"], windows: Windows, *, rate_hz: int, ended: bool) -> int | None:
    """Returns the sample at which to cut, the middle of a pause as `Windows` defines it; None: there is none.

    The last one and a half windows of a recording are cut around their middle, so that no tiny window remains.
    """
    longest = windows.longest(rate_hz)
    hop = max(1, round(HOP_S * rate_hz))
    low = longest / 4
    high = float(longest)
    if ended and len(held_n) <= longest * 3 // 2:
        low = len(held_n) / 2 - longest / 4
        high = len(held_n) / 2 + longest / 4
    width = round(windows.pause_s / HOP_S)
    stretches = _means(_energies(held_n, hop), width)
    loud = _decibels(float(np.quantile(stretches[: longest // hop], _LOUD_QUANTILE)))
    limit = 10 ** (max(loud - windows.pause_db, windows.silence_db) / 10)
    edges = np.flatnonzero(np.diff(np.pad(stretches <= limit, 1).astype(np.int8)))
    begins = edges[::2] * hop  # of each pause, in samples
    ends = (edges[1::2] - 1 + width) * hop
    middles = np.minimum((begins + ends) // 2, int(high))
    usable = (middles >= low) & (2 * (middles - begins) >= width * hop)
    if not usable.any():
        return None
    durations = (ends - begins)[usable]
    clear = durations >= windows.clear_s * rate_hz
    return int(middles[usable][np.argmax(clear) if clear.any() else np.argmax(durations)])


def audible(wave_n: Int16[np.ndarray, " n"], windows: Windows, rate_hz: int) -> tuple[int, int]:
    """Returns the range from `margin_s` before the first loud hop to `margin_s` behind the last, without digital silence.

    The range of a wave without anything louder is (0, 0).
    """
    hop = min(max(1, round(HOP_S * rate_hz)), max(1, len(wave_n)))
    levels_t = 10 * np.log10(np.maximum(_energies(wave_n, hop), _LEAST))
    audible = np.flatnonzero(levels_t > windows.silence_db)
    if not len(audible):
        return 0, 0
    quiet_db = float(np.quantile(levels_t[audible], _LOUD_QUANTILE)) - windows.quiet_db
    loud = np.flatnonzero(levels_t > max(quiet_db, windows.silence_db))
    margin = round(windows.margin_s / HOP_S)
    begin = max(loud[0] - margin, audible[0])
    end = min(loud[-1] + margin, audible[-1]) + 1
    stop = int(end) * hop
    return int(begin) * hop, stop if stop + hop <= len(wave_n) else len(wave_n)  # an incomplete hop is kept


def _energies(wave_n: Int16[np.ndarray, " n"], hop: int) -> Float64[np.ndarray, " t"]:
    """Returns the mean squares of consecutive pieces, full scale = 1; an incomplete last piece is left out."""
    pieces = len(wave_n) // hop
    return np.square(wave_n[: pieces * hop].astype(np.float64) / _FULL_SCALE).reshape(pieces, hop).mean(axis=1)


def _means(energies_t: Float64[np.ndarray, " t"], width: int) -> Float64[np.ndarray, " k"]:
    """Returns the means of every `width` neighbours; empty if there are fewer."""
    if len(energies_t) < width:
        return np.zeros(0)
    sums = np.concatenate([[0.0], np.cumsum(energies_t)])
    return np.maximum((sums[width:] - sums[:-width]) / width, _LEAST)  # differences of sums may fall below it


def _decibels(energy: float | np.floating) -> float:
    return float(10 * np.log10(max(float(energy), _LEAST)))
