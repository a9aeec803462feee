"""Checks of raw examples before they are stored. Every example is decoded once, so a prepared corpus is safe to train on.

A text without audio becomes an utterance of 0 samples.
"""

import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from jaxasr import text
from jaxasr.data.audio import NoSamplesError, decode_whole
from jaxasr.data.av_audio import without_av
from jaxasr.data.corpora.source import OutsideError, RawExample, Reject
from jaxasr.data.prepared.dataset_info import IndexRow
from jaxasr.data.prepared.markup_policy import MarkupPolicy
from jaxasr.data.prepared.suspects import wave_hash
from jaxasr.data.signal_level import SignalLevel, SignalLimits, UtteranceLevel, silent_share

_THREADS = 4  # decoding releases Python's global lock
_NO_AUDIO = 0, 16_000  # samples and rate of a text without audio


@dataclass(frozen=True)
class GoodExample:
    """A valid example: its row in the index and its audio bytes."""

    row: IndexRow
    audio: bytes
    where: str
    normalized: str  # the transcript in the form of the check
    wave_hash: bytes  # of the decoded audio
    level: UtteranceLevel | None = None  # None: a text without audio


@dataclass(frozen=True)
class Checks:
    """The checks that every example has to pass."""

    normalizer: text.Kind = "upper"  # a transcript that is empty in this form is rejected
    limits: SignalLimits = SignalLimits()
    markup: MarkupPolicy = field(default_factory=MarkupPolicy)


def check_examples(
    examples: Iterable[RawExample | Reject], checks: Checks, *, seen: set[int]
) -> Iterator[GoodExample | Reject]:
    """Decodes and checks every example. Yields it with its exact length, or a Reject with the reason, in the same order.

    Only a few examples are in memory at a time.

    Args:
      seen: hashes of the ids so far. The function adds to it, because an id may occur only once in all splits.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        window: deque[Future[GoodExample | Reject]] = deque()
        for example in examples:
            window.append(pool.submit(_check, example, checks))
            if len(window) > 2 * _THREADS:
                yield _check_unique(window.popleft().result(), seen)
        while window:
            yield _check_unique(window.popleft().result(), seen)


def _check(example: RawExample | Reject, checks: Checks) -> GoodExample | Reject:
    if isinstance(example, Reject):
        return example
    example = replace(example, text=checks.markup.apply(example.text))
    normalized = _normalized(example, checks.normalizer)
    if isinstance(normalized, Reject):
        return normalized
    if example.audio is None:
        row = IndexRow(example.id, *_NO_AUDIO, example.text, example.speaker, zlib.crc32(b""))
        return GoodExample(row, b"", example.where, normalized, b"")
    try:
        audio = without_av(example.audio(), id=example.id)
        wave_n, rate_hz = decode_whole(audio, id=example.id)
    except OSError as error:
        return Reject(example.where, example.id, "missing file", str(error))
    except NoSamplesError as error:
        return Reject(example.where, example.id, "zero length", str(error))
    except OutsideError as error:
        return Reject(example.where, example.id, "segment outside the recording", str(error))
    except ValueError as error:
        return Reject(example.where, example.id, "undecodable", str(error))
    row = IndexRow(example.id, len(wave_n), rate_hz, example.text, example.speaker, zlib.crc32(audio))
    seconds = len(wave_n) / rate_hz
    signal = SignalLevel()
    signal.add(wave_n)
    if bad := _bad_duration(example, seconds) or _bad_signal(example, signal, checks.limits):
        return bad
    level = UtteranceLevel(seconds, signal.dbfs, signal.clipped_share, silent_share(wave_n, rate_hz))
    return GoodExample(row, audio, example.where, normalized, wave_hash(wave_n, rate_hz), level)


def _normalized(example: RawExample, normalizer: text.Kind) -> str | Reject:
    if not example.text.strip():
        return Reject(example.where, example.id, "empty transcript", repr(example.text))
    try:
        normalized = text.normalize(normalizer, example.text)
    except ValueError as error:
        return Reject(example.where, example.id, "refused by the normaliser", f"{normalizer}: {error}")
    if normalized:
        return normalized
    return Reject(example.where, example.id, "emptied by the normaliser", f"{normalizer}: {example.text!r}")


def _bad_duration(example: RawExample, seconds: float) -> Reject | None:
    stated = example.duration
    if stated is None or abs(stated.seconds - seconds) <= stated.tolerance_s:
        return None
    detail = f"{stated.seconds:g} s are stated, {seconds:.3f} s are decoded"
    return Reject(example.where, example.id, "another duration than stated", detail)


def _bad_signal(example: RawExample, level: SignalLevel, limits: SignalLimits) -> Reject | None:
    fault = limits.fault(level)
    return Reject(example.where, example.id, fault.kind, fault.detail) if fault else None


def _check_unique(checked: GoodExample | Reject, seen: set[int]) -> GoodExample | Reject:
    """Rejects an example whose id occurred before.

    61-bit hashes of a million ids collide with a probability of 10^-7.
    """
    if isinstance(checked, Reject):
        return checked
    number = hash(checked.row.id)
    if number in seen:
        return Reject(checked.where, checked.row.id, "duplicate id", "an earlier row has the same id")
    seen.add(number)
    return checked
