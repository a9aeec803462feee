"""Checks of raw examples before they are stored. Every example is decoded once, so a prepared corpus is safe to train on.

A text without audio becomes an utterance of 0 samples.
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

_THREADS = 4  # decoding releases Python's global lock
_NO_AUDIO = 0, 16_000  # samples and rate of a text without audio


@dataclass(frozen=True)
class GoodExample:
    """A valid example: its row in the index and its audio bytes."""

    row: IndexRow
    audio: bytes
    where: str


def check_examples(
    examples: Iterable[RawExample | Reject], *, normalizer: text.Kind, seen: set[int]
) -> Iterator[GoodExample | Reject]:
    """Decodes and checks every example. Yields it with its exact length, or a Reject with the reason, in the same order.

    Only a few examples are in memory at a time.

    Args:
      normalizer: a transcript that is empty in this form is rejected.
      seen: hashes of the ids so far. The function adds to it, because an id may occur only once in all splits.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        window: deque[Future[GoodExample | Reject]] = deque()
        for example in examples:
            window.append(pool.submit(_check, example, normalizer))
            if len(window) > 2 * _THREADS:
                yield _check_unique(window.popleft().result(), seen)
        while window:
            yield _check_unique(window.popleft().result(), seen)


def _check(example: RawExample | Reject, normalizer: text.Kind) -> GoodExample | Reject:
    if isinstance(example, Reject):
        return example
    bad = _bad_text(example, normalizer)
    if bad:
        return bad
    if example.audio is None:
        row = IndexRow(example.id, *_NO_AUDIO, example.text, example.speaker, zlib.crc32(b""))
        return GoodExample(row, b"", example.where)
    try:
        audio = example.audio()
        wave_n, rate_hz = decode_native(audio, id=example.id)
        check_not_truncated(audio, id=example.id)
    except OSError as error:
        return Reject(example.where, example.id, "missing file", str(error))
    except NoSamplesError as error:
        return Reject(example.where, example.id, "zero length", str(error))
    except ValueError as error:
        return Reject(example.where, example.id, "undecodable", str(error))
    row = IndexRow(example.id, len(wave_n), rate_hz, example.text, example.speaker, zlib.crc32(audio))
    return GoodExample(row, audio, example.where)


def _bad_text(example: RawExample, normalizer: text.Kind) -> Reject | None:
    if not example.text.strip():
        return Reject(example.where, example.id, "empty transcript", repr(example.text))
    try:
        if text.normalize(normalizer, example.text):
            return None
    except ValueError as error:
        return Reject(example.where, example.id, "refused by the normaliser", f"{normalizer}: {error}")
    return Reject(example.where, example.id, "emptied by the normaliser", f"{normalizer}: {example.text!r}")


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
