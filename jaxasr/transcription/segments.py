"""A recording of any length as windows that a model can read: cut in its pauses, overlapping where it has none.

A pure generator: blocks of samples go in, windows come out, and never more is held than one and a half windows and a block.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int16

HOP_S = 0.01  # of the energy that pauses are found by
_LOUD_QUANTILE = 0.9  # of the stretches of a window: what is called loud in it
_FULL_SCALE = 32_768.0
_LEAST = 1e-12  # energy of nothing at all, so that its level is a number (-120 dB)


@dataclass(frozen=True)
class Windows:
    """How a recording is cut. Levels are those of the mean square, 0 dB at full scale.

    A pause is what stays `pause_db` below what is loud in the window, or below `silence_db`, for at least `pause_s`. A window
    ends in the middle of one: of the first that lasts `clear_s`, which is as a rule the end of a sentence, as windows are
    best that look like the utterances of training; else of the longest there is. The first quarter of a window is not
    looked at, so that there is something to hear in each. Where nobody pauses a window is as long as can be, and the next one
    begins a quarter of a window earlier, so that every word not longer than this is whole in one of the two.

    What is quiet at the two ends of a window is left out but for a margin, again so that it looks like an utterance; a
    recording of one window is left as it is. How much is best depends on what a small model has heard in training. The
    quickstart's, which knows hardly any silence, hears 150 unseen sentences with 0.4 s of faint noise between them at 5.4 %
    WER with a margin of 0.1 s, 17.2 % with 0.2 s (1.1 % cut as they were recorded); that of AN4, recorded with silence, the
    100 utterances of the dev set, each trimmed so, at 17.1 % and 16.4 % (16.1 % untouched).
    """

    longest_s: float
    pause_s: float = 0.2
    clear_s: float = 0.35
    pause_db: float = 20.0
    quiet_db: float = 30.0  # below what is loud, at the ends of a window: what is more than `margin_s` of it goes
    margin_s: float = 0.1
    silence_db: float = -70.0  # below it there is nothing to hear: 10 steps of 16 bits

    def __post_init__(self):
        if not self.pause_s >= HOP_S or not self.longest_s >= 4 * self.pause_s:
            raise ValueError(
                f"windows of {self.longest_s:g} s with pauses of {self.pause_s:g} s: a pause must be at least {HOP_S:g} s, "
                "a window at least four pauses"
            )

    def longest(self, rate_hz: int) -> int:
        """Samples of the longest window."""
        return int(self.longest_s * rate_hz)

    def held(self, rate_hz: int) -> int:
        """Samples that are held at most, besides one block."""
        return self.longest(rate_hz) * 3 // 2


class Segment(NamedTuple):
    """A window of a recording."""

    wave_n: Int16[np.ndarray, " n"]
    start: int  # sample of the recording at which it begins
    overlap: int  # samples at its beginning that the window before has as well; 0: they were cut in a pause
    begin: int  # sample of the window at which something is to be heard
    end: int  # and up to where; begin == end: nothing at all
    last: bool


def segments(blocks: Iterable[Int16[np.ndarray, " n"]], windows: Windows, *, rate_hz: int) -> Iterator[Segment]:
    """The windows of a recording, in order: together they are the recording, none of them longer than `longest_s`.

    Args:
        blocks: consecutive samples, in pieces of any length.
    """
    waiting = iter(blocks)
    longest = windows.longest(rate_hz)
    held_n, start, overlap, ended = np.zeros(0, np.int16), 0, 0, False
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
        if ended and len(held_n) <= longest:
            begin, end = _audible(held_n, windows, rate_hz)
            if not start and end:  # a recording of one window is heard as it is
                begin, end = 0, len(held_n)
            yield Segment(held_n, start, overlap, begin, end, last=True)
            return
        cut = _pause(held_n, windows, rate_hz=rate_hz, ended=ended)
        shared = 0 if cut is not None else longest // 4
        cut = longest if cut is None else cut
        wave_n = held_n[:cut].copy()  # what follows is not kept alive by it
        yield Segment(wave_n, start, overlap, *_audible(wave_n, windows, rate_hz), last=False)
        held_n, start, overlap = held_n[cut - shared :], start + cut - shared, shared


def _pause(held_n: Int16[np.ndarray, " n"], windows: Windows, *, rate_hz: int, ended: bool) -> int | None:
    """Where to cut: the middle of a pause, as `Windows` says; None: there is none.

    What is left of a recording that fits into one and a half windows is cut around its middle, so that no crumb remains.
    """
    longest, hop = windows.longest(rate_hz), max(1, round(HOP_S * rate_hz))
    low, high = longest / 4, float(longest)
    if ended and len(held_n) <= longest * 3 // 2:
        low, high = len(held_n) / 2 - longest / 4, len(held_n) / 2 + longest / 4
    width = round(windows.pause_s / HOP_S)
    stretches = _means(_energies(held_n, hop), width)
    loud = _decibels(float(np.quantile(stretches[: longest // hop], _LOUD_QUANTILE)))
    limit = 10 ** (max(loud - windows.pause_db, windows.silence_db) / 10)
    edges = np.flatnonzero(np.diff(np.pad(stretches <= limit, 1).astype(np.int8)))
    begins, ends = edges[::2] * hop, (edges[1::2] - 1 + width) * hop  # of each pause, in samples
    middles = np.minimum((begins + ends) // 2, int(high))
    there = (middles >= low) & (2 * (middles - begins) >= width * hop)
    if not there.any():
        return None
    lasting, middles = (ends - begins)[there], middles[there]
    clear = lasting >= windows.clear_s * rate_hz
    return int(middles[np.argmax(clear) if clear.any() else np.argmax(lasting)])


def _audible(wave_n: Int16[np.ndarray, " n"], windows: Windows, rate_hz: int) -> tuple[int, int]:
    """From `margin_s` before the first hop that is not quiet to as much behind the last, digital silence apart."""
    hop = min(max(1, round(HOP_S * rate_hz)), max(1, len(wave_n)))
    levels_t = 10 * np.log10(np.maximum(_energies(wave_n, hop), _LEAST))
    there = np.flatnonzero(levels_t > windows.silence_db)
    if not len(there):
        return 0, 0
    quiet_db = float(np.quantile(levels_t[there], _LOUD_QUANTILE)) - windows.quiet_db
    loud = np.flatnonzero(levels_t > max(quiet_db, windows.silence_db))
    margin = round(windows.margin_s / HOP_S)
    begin, end = max(loud[0] - margin, there[0]), min(loud[-1] + margin, there[-1]) + 1
    stop = int(end) * hop
    return int(begin) * hop, stop if stop + hop <= len(wave_n) else len(wave_n)  # the rest of a hop is not judged


def _energies(wave_n: Int16[np.ndarray, " n"], hop: int) -> Float64[np.ndarray, " t"]:
    """Mean squares of consecutive pieces, full scale = 1; a rest shorter than one is left out."""
    pieces = len(wave_n) // hop
    return np.square(wave_n[: pieces * hop].astype(np.float64) / _FULL_SCALE).reshape(pieces, hop).mean(axis=1)


def _means(energies_t: Float64[np.ndarray, " t"], width: int) -> Float64[np.ndarray, " k"]:
    """Of every `width` neighbours; empty where there are fewer."""
    if len(energies_t) < width:
        return np.zeros(0)
    sums = np.concatenate([[0.0], np.cumsum(energies_t)])
    return np.maximum((sums[width:] - sums[:-width]) / width, _LEAST)  # so that silence is as quiet as silence


def _decibels(energy: float | np.floating) -> float:
    return float(10 * np.log10(max(float(energy), _LEAST)))
