"""Every candidate is decoded once before it is stored: what enters a prepared corpus can be trained on.

A text without audio has nothing to decode; it becomes an utterance of 0 samples.
"""

import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from jaxasr import text
from jaxasr.data.audio import NoSamples, decode_native, refuse_cut_off
from jaxasr.data.corpora.source import Candidate, Reject
from jaxasr.data.prepared.dataset_info import Row

_THREADS = 4  # decoding lets go of the interpreter's lock
_NO_AUDIO = 0, 16_000  # samples and rate of a text that nobody spoke


@dataclass(frozen=True)
class Checked:
    """A good utterance: its row in the index, and its bytes."""

    row: Row
    audio: bytes
    where: str


def examine(
    candidates: Iterable[Candidate | Reject], *, normalizer: text.Kind, seen: set[int]
) -> Iterator[Checked | Reject]:
    """Gives every candidate back, in order, with its exact length or with what is wrong with it.

    A few candidates are decoded at a time, so memory does not grow with the corpus.

    Args:
      normalizer: has to leave something of each transcript.
      seen: hashes of the ids so far; added to. An id may stand once in a corpus, whatever the split.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        window: deque[Future[Checked | Reject]] = deque()
        for candidate in candidates:
            window.append(pool.submit(_look, candidate, normalizer))
            if len(window) > 2 * _THREADS:
                yield _once(window.popleft().result(), seen)
        while window:
            yield _once(window.popleft().result(), seen)


def _look(candidate: Candidate | Reject, normalizer: text.Kind) -> Checked | Reject:
    if isinstance(candidate, Reject):
        return candidate
    bad = _bad_text(candidate, normalizer)
    if bad:
        return bad
    if candidate.audio is None:
        row = Row(candidate.id, *_NO_AUDIO, candidate.text, candidate.speaker, zlib.crc32(b""))
        return Checked(row, b"", candidate.where)
    try:
        audio = candidate.audio()
        wave_n, rate_hz = decode_native(audio, id=candidate.id)
        refuse_cut_off(audio, id=candidate.id)
    except OSError as error:
        return Reject(candidate.where, candidate.id, "missing file", str(error))
    except NoSamples as error:
        return Reject(candidate.where, candidate.id, "zero length", str(error))
    except ValueError as error:
        return Reject(candidate.where, candidate.id, "undecodable", str(error))
    row = Row(candidate.id, len(wave_n), rate_hz, candidate.text, candidate.speaker, zlib.crc32(audio))
    return Checked(row, audio, candidate.where)


def _bad_text(candidate: Candidate, normalizer: text.Kind) -> Reject | None:
    if not candidate.text.strip():
        return Reject(candidate.where, candidate.id, "empty transcript", repr(candidate.text))
    try:
        if text.normalize(normalizer, candidate.text):
            return None
    except ValueError as error:
        return Reject(candidate.where, candidate.id, "refused by the normaliser", f"{normalizer}: {error}")
    return Reject(candidate.where, candidate.id, "emptied by the normaliser", f"{normalizer}: {candidate.text!r}")


def _once(checked: Checked | Reject, seen: set[int]) -> Checked | Reject:
    """The same, unless the id was there before. (Collisions of 61-bit hashes: 1 in 10^7 for a million ids.)"""
    if isinstance(checked, Reject):
        return checked
    number = hash(checked.row.id)
    if number in seen:
        return Reject(checked.where, checked.row.id, "duplicate id", "an earlier row has the same id")
    seen.add(number)
    return checked
