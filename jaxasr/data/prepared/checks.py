"""Every candidate is decoded once before it is stored: what enters a prepared corpus can be trained on.

A text without audio has nothing to decode; it becomes an utterance of 0 samples.
"""

import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from jaxasr import text
from jaxasr.data.audio import NoSamplesError, check_not_truncated, decode_native
from jaxasr.data.corpora.source import RawExample, Reject
from jaxasr.data.prepared.dataset_info import IndexRow

_THREADS = 4  # decoding lets go of the interpreter's lock
_NO_AUDIO = 0, 16_000  # samples and rate of a text that nobody spoke


@dataclass(frozen=True)
class GoodExample:
    """A good utterance: its row in the index, and its bytes."""

    row: IndexRow
    audio: bytes
    where: str


def check_examples(
    candidates: Iterable[RawExample | Reject], *, normalizer: text.Kind, seen: set[int]
) -> Iterator[GoodExample | Reject]:
    """Gives every candidate back, in order, with its exact length or with what is wrong with it.

    A few candidates are decoded at a time, so memory does not grow with the corpus.

    Args:
      normalizer: has to leave something of each transcript.
      seen: hashes of the ids so far; added to. An id may stand once in a corpus, whatever the split.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        window: deque[Future[GoodExample | Reject]] = deque()
        for candidate in candidates:
            window.append(pool.submit(_check, candidate, normalizer))
            if len(window) > 2 * _THREADS:
                yield _check_unique(window.popleft().result(), seen)
        while window:
            yield _check_unique(window.popleft().result(), seen)


def _check(candidate: RawExample | Reject, normalizer: text.Kind) -> GoodExample | Reject:
    if isinstance(candidate, Reject):
        return candidate
    bad = _bad_text(candidate, normalizer)
    if bad:
        return bad
    if candidate.audio is None:
        row = IndexRow(candidate.id, *_NO_AUDIO, candidate.text, candidate.speaker, zlib.crc32(b""))
        return GoodExample(row, b"", candidate.where)
    try:
        audio = candidate.audio()
        wave_n, rate_hz = decode_native(audio, id=candidate.id)
        check_not_truncated(audio, id=candidate.id)
    except OSError as error:
        return Reject(candidate.where, candidate.id, "missing file", str(error))
    except NoSamplesError as error:
        return Reject(candidate.where, candidate.id, "zero length", str(error))
    except ValueError as error:
        return Reject(candidate.where, candidate.id, "undecodable", str(error))
    row = IndexRow(candidate.id, len(wave_n), rate_hz, candidate.text, candidate.speaker, zlib.crc32(audio))
    return GoodExample(row, audio, candidate.where)


def _bad_text(candidate: RawExample, normalizer: text.Kind) -> Reject | None:
    if not candidate.text.strip():
        return Reject(candidate.where, candidate.id, "empty transcript", repr(candidate.text))
    try:
        if text.normalize(normalizer, candidate.text):
            return None
    except ValueError as error:
        return Reject(candidate.where, candidate.id, "refused by the normaliser", f"{normalizer}: {error}")
    return Reject(candidate.where, candidate.id, "emptied by the normaliser", f"{normalizer}: {candidate.text!r}")


def _check_unique(checked: GoodExample | Reject, seen: set[int]) -> GoodExample | Reject:
    """The same, unless the id was there before. (Collisions of 61-bit hashes: 1 in 10^7 for a million ids.)"""
    if isinstance(checked, Reject):
        return checked
    number = hash(checked.row.id)
    if number in seen:
        return Reject(checked.where, checked.row.id, "duplicate id", "an earlier row has the same id")
    seen.add(number)
    return checked
