"""Small steps of text normalisation with names, which `normalize` composes: "nfkc+lowercase_tr+no_punctuation".

    nfc, nfkc         the composed form of Unicode; nfkc also writes ligatures and Roman numerals as letters
    lowercase         I becomes i
    lowercase_tr      I becomes dotless i, I with a dot becomes i (Turkish, Azerbaijani); `uppercase_tr` is the inverse
    uppercase         sharp s becomes SS
    uppercase_de      sharp s becomes the capital sharp s
    sharp_s           sharp s becomes ss, as in Switzerland
    no_punctuation    all but letters, marks, digits and apostrophes between two letters become blanks
    no_accents        removes the marks of Latin, Greek and Cyrillic letters
    apostrophes_en    all apostrophes are ', as in it's
    apostrophes_fr    an elided word is a word: l'eau becomes l' eau (`apostrophes_it` is the same step)
    apostrophes_tr    no apostrophe before a suffix: Ankara'da becomes Ankarada

No step changes a digit. Source of the cases: Unicode, SpecialCasing.txt; Rat für
deutsche Rechtschreibung 2017, section 25 E3.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping

APOSTROPHES = str.maketrans({"\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{MODIFIER LETTER APOSTROPHE}": "'"})
_DOTLESS = "\N{LATIN SMALL LETTER DOTLESS I}"
_BETWEEN_LETTERS = re.compile(r"(?<=\w)'(?=\w)")
_TO_LOWER_TR = str.maketrans({"I": _DOTLESS, "İ": "i"})
_TO_UPPER_TR = str.maketrans({_DOTLESS: "I", "i": "İ"})
_SHARP_S = str.maketrans({"ß": "ss", "ẞ": "SS"})


def keep_words(text: str) -> str:
    """Replaces all but letters, marks, digits and the apostrophes between two letters by blanks."""
    text = unicodedata.normalize("NFC", text.translate(APOSTROPHES))
    kept = [char if _is_written(char) else "" if unicodedata.category(char) == "Cf" else " " for char in text]
    for i in range(1, len(text) - 1):
        if text[i] == "'" and _is_written(text[i - 1]) and _is_written(text[i + 1]):
            kept[i] = "'"
    return "".join(kept)


def _is_written(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN"


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _lowercase_tr(text: str) -> str:
    return _composed(text).translate(_TO_LOWER_TR).lower()


def _uppercase_tr(text: str) -> str:
    return _composed(text).translate(_TO_UPPER_TR).upper()


def _uppercase_de(text: str) -> str:
    return text.replace("ß", "ẞ").upper()


def _sharp_s(text: str) -> str:
    return text.translate(_SHARP_S)


def _no_accents(text: str) -> str:
    """Removes the marks of letters of the Latin, Greek and Cyrillic scripts; in other scripts marks are vowels."""
    base = " "
    kept: list[str] = []
    for char in unicodedata.normalize("NFD", text):
        is_mark = unicodedata.category(char) == "Mn"
        base = base if is_mark else char
        if not (is_mark and unicodedata.name(base, "").startswith(("LATIN", "GREEK", "CYRILLIC"))):
            kept.append(char)
    return _composed("".join(kept))


def _apostrophes_en(text: str) -> str:
    return text.translate(APOSTROPHES)


def _apostrophes_fr(text: str) -> str:
    return _BETWEEN_LETTERS.sub("' ", text.translate(APOSTROPHES))


def _apostrophes_tr(text: str) -> str:
    return _BETWEEN_LETTERS.sub("", text.translate(APOSTROPHES))


STEPS: Mapping[str, Callable[[str], str]] = {
    "nfc": _composed,
    "nfkc": _compatible,
    "lowercase": str.lower,
    "uppercase": str.upper,
    "lowercase_tr": _lowercase_tr,
    "uppercase_tr": _uppercase_tr,
    "uppercase_de": _uppercase_de,
    "sharp_s": _sharp_s,
    "no_punctuation": keep_words,
    "no_accents": _no_accents,
    "apostrophes_en": _apostrophes_en,
    "apostrophes_fr": _apostrophes_fr,
    "apostrophes_it": _apostrophes_fr,
    "apostrophes_tr": _apostrophes_tr,
}
