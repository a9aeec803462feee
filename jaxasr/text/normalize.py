"""Text normalisers, chosen by name. The name is stored in every result row, because scores under different normalisers
are not comparable.

    in                     verbatim               upper                 lower                 librispeech
    `"Don't," — she said`  `"Don't," — she said`  `DON'T SHE SAID`      `don't she said`      `DON'T SHE SAID`
    `goin' to the  café`   `goin' to the café`    `GOIN TO THE CAFÉ`    `goin to the café`    `GOIN' TO THE CAFE`
    `Room 12`              `Room 12`              `ROOM 12`             `room 12`             refused: 12

The normalisers of Whisper, `whisper_english` and `whisper_basic`, are those of the package whisper-normalizer (the extra
`whisper`): `"Don't," — she said` becomes `do not she said` and `do not she said`, `Room twelve` `room 12` and `room twelve`.

A normaliser can also be composed of names and of the steps of text/steps.py: `lowercase_tr+no_punctuation`.
"""

import functools
import importlib
import unicodedata
from collections.abc import Callable
from typing import Literal

from jaxasr.text.steps import APOSTROPHES, STEPS, keep_words

Kind = str  # a name of KINDS, or names of KINDS and STEPS joined by "+", which are applied from left to right
KINDS: tuple[Kind, ...] = ("verbatim", "upper", "lower", "librispeech", "whisper_english", "whisper_basic")
_JOINED = "+"

_SILENT_PUNCTUATION = frozenset(
    '.,;:!?"()[]{}<>-_/\\`~*|\u2010\u2011\u2012\u2013\u2014\u2015\u2018\u201a\u201c\u201d\u201e\u2026«»¿¡'
)
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def check_normalizer(kind: Kind) -> None:
    """Raises ValueError if there is no normaliser of this name; the message lists names and steps."""
    unknown = [name for name in kind.split(_JOINED) if name not in KINDS and name not in STEPS]
    if unknown:
        raise ValueError(
            f"there is no text normaliser {unknown[0]!r}; there are {', '.join(KINDS)}, and the steps {', '.join(STEPS)}, "
            f"which are joined by {_JOINED}"
        )


def normalize(kind: Kind, text: str) -> str:
    """Normalises a transcript to a named form. The result may be empty. All names but Whisper's are idempotent.

    Args:
        kind: a name, or names and steps joined by "+", which are applied from left to right. `verbatim` keeps every visible
            character: Unicode NFC, runs of blanks become one space, none at the ends. `upper` and `lower` also fold case and
            replace every character that is no letter, mark or digit by a space; an apostrophe between two letters stays.
            `librispeech` is the alphabet of that corpus: A-Z, apostrophe (also at the ends of words) and space; accents are
            removed, silent punctuation becomes a space. `whisper_english` folds case, spells contractions out, writes
            numbers in digits and British words in American spelling; `whisper_basic` folds case and removes punctuation
            (Radford et al. 2022, 2212.04356, appendix C).
        text: the raw transcript.

    Raises:
        ModuleNotFoundError: a form of Whisper, and its package is not installed.
        ValueError: there is no such kind, or `librispeech` has no letters for a spoken character (digits, currency, other
            scripts).
    """
    check_normalizer(kind)
    for name in kind.split(_JOINED):
        text = STEPS[name](text) if name in STEPS else _named_form(name, text)
    return _one_spaced(text)


def _named_form(kind: Kind, text: str) -> str:
    """Returns the form of a name of KINDS."""
    match kind:
        case "upper":
            return keep_words(text.upper())
        case "lower":
            return keep_words(text.lower())
        case "librispeech":
            return _librispeech(text)
        case "whisper_english" | "whisper_basic":
            return _whisper(kind)(text)
        case _:
            return text  # verbatim


@functools.cache
def _whisper(kind: Literal["whisper_english", "whisper_basic"]) -> Callable[[str], str]:
    """Returns a normaliser of the package whisper-normalizer."""
    module, name = {
        "whisper_english": ("english", "EnglishTextNormalizer"),
        "whisper_basic": ("basic", "BasicTextNormalizer"),
    }[kind]
    try:
        return getattr(importlib.import_module(f"whisper_normalizer.{module}"), name)()
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the text normaliser {kind!r} is that of the package whisper-normalizer, which is not installed ({error}): "
            "pip install 'jaxasr[whisper]', or choose another normaliser"
        ) from error


def _one_spaced(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _librispeech(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.translate(APOSTROPHES)).upper()
    return "".join(_librispeech_char(char, text) for char in folded)


def _librispeech_char(char: str, text: str) -> str:
    if char in _LETTERS or char == "'":
        return char
    if char.isspace() or char in _SILENT_PUNCTUATION:
        return " "
    if unicodedata.category(char) in ("Mn", "Cf"):
        return ""
    raise ValueError(
        f"{char!r} in {text!r} has no form in A-Z and apostrophe, which is all that the normaliser 'librispeech' has: "
        f"spell it out as it was spoken, or choose another of {', '.join(KINDS)}"
    )
