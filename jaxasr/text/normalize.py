"""Named ways to make transcripts comparable. The name travels in every result row: two scores under different
normalisers are not comparable.

    in                     verbatim               upper                 lower                 librispeech
    `"Don't," — she said`  `"Don't," — she said`  `DON'T SHE SAID`      `don't she said`      `DON'T SHE SAID`
    `goin' to the  café`   `goin' to the café`    `GOIN TO THE CAFÉ`    `goin to the café`    `GOIN' TO THE CAFE`
    `Room 12`              `Room 12`              `ROOM 12`             `room 12`             refused: 12
"""

import unicodedata
from typing import Literal, get_args

Kind = Literal["verbatim", "upper", "lower", "librispeech"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_APOSTROPHES = str.maketrans({"\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{MODIFIER LETTER APOSTROPHE}": "'"})
_SILENT_PUNCTUATION = frozenset(
    '.,;:!?"()[]{}<>-_/\\`~*|\u2010\u2011\u2012\u2013\u2014\u2015\u2018\u201a\u201c\u201d\u201e\u2026«»¿¡'
)
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def normalize(kind: Kind, text: str) -> str:
    """The transcript in one of the named forms; applying it twice changes nothing more. May come out empty.

    Args:
        kind: `verbatim` keeps every visible character: Unicode NFC, runs of blanks become one space, none at the ends.
            `upper` and `lower` also fold case and turn whatever is no letter, mark or digit into a space; an
            apostrophe stays between two letters. `librispeech` is the alphabet of that corpus: A-Z, apostrophe (at
            the ends of words too) and space; accents are dropped, silent punctuation becomes a space.
        text: as it was written.

    Raises:
        ValueError: no such kind; or `librispeech` and a character that is spoken and has no letters there (digits,
            currency, other scripts).
    """
    match kind:
        case "verbatim":
            return _one_spaced(text)
        case "upper":
            return _one_spaced(_words(text.upper()))
        case "lower":
            return _one_spaced(_words(text.lower()))
        case "librispeech":
            return _one_spaced(_librispeech(text))
    raise ValueError(f"there is no text normaliser {kind!r}; there are {', '.join(KINDS)}")


def _one_spaced(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _words(text: str) -> str:
    """Letters, marks, digits and the apostrophes between two letters; the rest becomes blank."""
    text = unicodedata.normalize("NFC", text.translate(_APOSTROPHES))
    kept = [char if _is_written(char) else "" if unicodedata.category(char) == "Cf" else " " for char in text]
    inner = range(1, len(text) - 1)
    for i in inner:
        if text[i] == "'" and _is_written(text[i - 1]) and _is_written(text[i + 1]):
            kept[i] = "'"
    return "".join(kept)


def _is_written(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN"


def _librispeech(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES)).upper()
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
