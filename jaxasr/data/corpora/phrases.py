"""The phrases of the corpus `spoken`: digits, dates, spelled words and commands, 58 words in all.

A hash of the words alone assigns a sequence to a split. So no test sequence is in training, for any seed and sizes.

    digits    FOUR SEVEN ONE NINE
    date      MARCH THE THIRD, THE TENTH OF MAY
    spelling  K I R O
    command   TURN OFF THE RADIO PLEASE, OPEN THE DOOR AND STOP THE MUSIC
"""

import hashlib
from collections.abc import Callable
from typing import Literal

import numpy as np

SplitName = Literal["train", "dev", "test"]

DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
MONTHS = ("JANUARY", "MARCH", "APRIL", "MAY", "JUNE", "AUGUST", "OCTOBER", "DECEMBER")
DAYS = ("FIRST", "SECOND", "THIRD", "FIFTH", "NINTH", "TENTH", "TWELFTH", "TWENTIETH")
CONSONANTS = ("G", "H", "K", "L", "R", "S", "W")
VOWELS = ("I", "O", "U", "Y")
_COMMANDS = (
    (("TURN", "SWITCH"), ("ON", "OFF"), ("THE",), ("LIGHT", "RADIO", "HEATER", "CAMERA")),
    (("OPEN", "CLOSE"), ("THE",), ("WINDOW", "DOOR", "GARAGE")),
    (("PLAY", "STOP", "REPEAT"), ("THE",), ("MUSIC", "RADIO")),
)


def sample_phrase(split: SplitName, rng: np.random.Generator) -> str:
    """Samples a word sequence of the split."""
    while True:
        share = rng.random()
        kind = next(kind for kind, up_to in _KINDS.items() if share < up_to)
        words = " ".join(kind(rng))
        if split_of(words) == split:
            return words


def split_of(words: str) -> SplitName:
    """Returns the split of a sequence. A tenth of all sequences is dev and a tenth is test."""
    tenth = int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "big") % 10
    return "test" if tenth == 0 else "dev" if tenth == 1 else "train"


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _digits(rng: np.random.Generator) -> list[str]:
    return [_pick(rng, DIGITS) for _ in range(int(rng.integers(3, 7)))]


def _date(rng: np.random.Generator) -> list[str]:
    month = _pick(rng, MONTHS)
    day = _pick(rng, DAYS)
    return [[month, "THE", day], ["THE", day, "OF", month], [month, day]][int(rng.integers(3))]


def _spelling(rng: np.random.Generator) -> list[str]:
    return [_pick(rng, CONSONANTS if place % 2 == 0 else VOWELS) for place in range(int(rng.integers(3, 6)))]


def _command(rng: np.random.Generator) -> list[str]:
    words = _one_command(rng)
    if rng.random() < 0.4:
        words += ["AND", *_one_command(rng)]
    return [*words, "PLEASE"] if rng.random() < 0.3 else words


def _one_command(rng: np.random.Generator) -> list[str]:
    return [_pick(rng, words) for words in _COMMANDS[int(rng.integers(len(_COMMANDS)))]]


_KINDS: dict[Callable[[np.random.Generator], list[str]], float] = {  # kinds of phrases with their cumulative shares
    _digits: 0.35,
    _command: 0.65,
    _date: 0.85,
    _spelling: 1.0,
}
