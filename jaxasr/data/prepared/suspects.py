"""The search for rows that are probably wrong. They are prepared and listed, because only a person can decide about them.

* Audio and text that hardly belong together: more characters a second than speech can have, or next to none.
* The same audio in two splits, or the same text of the same speaker: a test on it measures memory.
* The same audio with two texts.
"""

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int16

MOST_CHARACTERS_A_SECOND = 35.0  # the fastest of 3,000 utterances of LibriSpeech, AN4 and Arctic has 23
_LONG_S = 30.0
_FEWEST_CHARACTERS_A_SECOND = 1.0  # of a recording longer than _LONG_S

SuspectReason = Literal[
    "more text than can be spoken",
    "hardly any text for the audio",
    "same audio in two splits",
    "same audio with another text",
    "same text and speaker in two splits",
]


@dataclass(frozen=True)
class Suspect:
    """A row that is prepared but probably wrong."""

    where: str
    id: str
    reason: SuspectReason
    detail: str


@dataclass(frozen=True)
class ComparedRow:
    """The part of a good row that suspicion needs."""

    where: str
    id: str
    text: str  # normalised
    speaker: str
    seconds: float  # 0: a text without audio
    wave_hash: bytes


def wave_hash(wave_n: Int16[np.ndarray, " n"], rate_hz: int) -> bytes:
    """Returns a hash of decoded audio. It is the same for every lossless format."""
    return hashlib.blake2b(rate_hz.to_bytes(4, "big") + wave_n.tobytes(), digest_size=12).digest()


class Suspicion:
    """A search for suspicious rows among all rows of a corpus. It remembers a hash and the id of each."""

    def __init__(self):
        self._audio: dict[bytes, tuple[str, str, bytes]] = {}  # split, id, hash of the text
        self._spoken: dict[bytes, tuple[str, str]] = {}  # split, id

    def suspects(self, split: str, row: ComparedRow) -> list[Suspect]:
        """Adds a row and returns what is suspicious about it, by itself or beside the rows before."""
        found = [*self._pace(row), *self._same_audio(split, row), *self._same_words(split, row)]
        return [Suspect(row.where, row.id, reason, detail) for reason, detail in found]

    def _pace(self, row: ComparedRow) -> list[tuple[SuspectReason, str]]:
        if not row.seconds:
            return []
        characters = sum(3 if unicodedata.east_asian_width(char) in "WF" else 1 for char in row.text)  # 3 of a syllable
        pace = characters / row.seconds
        detail = f"{pace:.3g} characters a second: {len(row.text)} in {row.seconds:.2f} s"
        if pace > MOST_CHARACTERS_A_SECOND:
            return [("more text than can be spoken", detail)]
        if row.seconds > _LONG_S and pace < _FEWEST_CHARACTERS_A_SECOND:
            return [("hardly any text for the audio", detail)]
        return []

    def _same_audio(self, split: str, row: ComparedRow) -> list[tuple[SuspectReason, str]]:
        if not row.seconds:
            return []
        text_hash = _hash(row.text)
        first_split, first_id, first_text = self._audio.setdefault(row.wave_hash, (split, row.id, text_hash))
        if first_id == row.id:
            return []
        found: list[tuple[SuspectReason, str]] = []
        if first_split != split:
            found.append(("same audio in two splits", f"{first_id!r} of {first_split} has it as well"))
        if first_text != text_hash:
            found.append(("same audio with another text", f"that of {first_id!r} of {first_split}"))
        return found

    def _same_words(self, split: str, row: ComparedRow) -> list[tuple[SuspectReason, str]]:
        if not row.seconds or not row.speaker:
            return []
        first_split, first_id = self._spoken.setdefault(_hash(f"{row.speaker}\0{row.text}"), (split, row.id))
        if first_split == split:
            return []
        return [("same text and speaker in two splits", f"{first_id!r} of {first_split}, speaker {row.speaker!r}")]


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=12).digest()
