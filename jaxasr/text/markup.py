"""Markup in transcripts: the units that are no spoken words, in the styles of the corpora that are in use.

    kind           units                                                     used by
    bracketed      [noise] [laughter-yes] <unk> <v Anna> <|en|> {breath}     Switchboard, WSJ, GigaSpeech, WebVTT, TED-LIUM
    parenthesised  ((not sure)) (laughs) (be)cause                           Fisher, CHiME, WSJ
    unclosed       [noise   noise]                                           typing errors in these
    marked         %uh #hes &-um *foreign* ++garbage++ ~A I_B_M unk xxx      LDC, CallHome, GlobalPhone, CHILDES, Sphinx
    fragment       be- -cause                                                LDC
    punctuation    ,COMMA .PERIOD "DOUBLE-QUOTE QUESTION-MARK                verbalised punctuation of WSJ
    speaker        A: SPEAKER_01: Interviewer: >>                            interviews, captions
    entity         &amp; &#39;                                               text of web pages
    music          ♪                                                         captions

Words such as UH are words. COMMA and PERIOD are words in one row and markup in a corpus that has them everywhere
(`punctuation_words`).
"""

# ruff: noqa: RUF001 - full-width signs are meant

import html
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from jaxasr.files import limited_lines

MarkupKind = Literal[
    "bracketed", "parenthesised", "unclosed", "marked", "fragment", "punctuation", "speaker", "entity", "music"
]
MARKUP_KINDS: tuple[MarkupKind, ...] = get_args(MarkupKind)


class Markup(NamedTuple):
    """A unit of markup and its place in a text."""

    kind: MarkupKind
    unit: str
    start: int
    stop: int


_SIGN_NAMES = (
    r"COMMA|PERIOD|FULL-?STOP|POINT|DOT|COLON|SEMI-?COLON|HYPHEN|DASH|ELLIPSIS|SLASH|PERCENT|AMPERSAND|APOSTROPHE|"
    r"QUESTION-?MARK|EXCLAMATION-?(?:POINT|MARK)|(?:LEFT-?|RIGHT-?|OPEN-?|CLOSE-?)?(?:PAREN|BRACE|BRACKET)\w*"
)
_QUOTES = r"(?:SINGLE-?|DOUBLE-?|OPEN-?|CLOSE-?|END-?|UN)?QUOTE|QUOTATION-?MARK"
_HYPHENATED = (
    r"(?:FULL-STOP|SEMI-COLON|QUESTION-MARK|QUOTATION-MARK|EXCLAMATION-(?:POINT|MARK)|(?:SINGLE|DOUBLE|OPEN|CLOSE|END)-QUOTE|"
    r"(?:LEFT|RIGHT|OPEN|CLOSE)-(?:PAREN|BRACE|BRACKET)\w*)"
)
_NAME = r"(?:[A-Z][\w.'-]*(?:[ _](?:[A-Z][\w.'-]*|\d+))?|(?i:speaker|spk)[ _]?\w{0,3}|[a-z]\d{1,2})"
_SPANS = (
    ("entity", r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[A-Za-z]{2,8});"),
    (
        "punctuation",
        rf"(?<!\S)(?i:\\?[,.;:!?(){{}}\[\]/%&…-]+(?:{_SIGN_NAMES})|\\?[\"'`]+(?:{_QUOTES})|{_HYPHENATED})(?!\S)",
    ),
    (
        "speaker",
        rf"^\s*{_NAME}\s?:(?=\s|$)|^\s*\w{{1,12}}：|(?<!\S)(?:[A-Z][A-Z0-9_]*|(?i:speaker|spk)[ _]?\w{{0,3}}):(?=\s)|>>+",
    ),
    (
        "bracketed",
        r"\[[^\[\]]*\]|<[^<>\s][^<>]*>|\{[^{}]*\}|［[^［］]*］|＜[^＜＞]*＞|｛[^｛｝]*｝|【[^【】]*】|〈[^〈〉]*〉|〔[^〔〕]*〕",
    ),
    ("parenthesised", r"\(\([^()]*\)\)|\([^()]*\)|（[^（）]*）"),
    ("music", "[♪♫♩♬]+"),
)
_TOKENS: tuple[tuple[MarkupKind, str], ...] = (
    ("unclosed", r".*[\[\]<>{}()［］＜＞｛｝【】〈〉〔〕（）].*"),
    (
        "marked",
        r"[%#*+@~=_^\\|/&][-%#*+@~=_^\\|/&.]*[^\W\d].*|[*+%#@~=^_|\\]{2,}|.*[^\W_].*[*~=_^\\|/]|.*\w[*~=^_]+\w.*",
    ),
    ("marked", r"[Uu]nk|UNK|xxx|yyy|www"),
    ("fragment", r".*[^\W_][-\u2010\u2011]|[-\u2010\u2011][^\W\d_].*"),
)
_SPAN = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _SPANS))
_ENDING = ".,;:!?…\"'”’»"  # of a token, not part of its unit
_SIGN = re.compile(r"[^\w\s'’]|_|(?<!\w)(?:[Uu]nk|UNK|xxx|yyy|www)(?!\w)")  # what every unit has
_ALWAYS = ("COMMA", "SEMICOLON", "QUESTION MARK", "EXCLAMATION MARK", "EXCLAMATION POINT")
_AT_THE_END = ("PERIOD", "FULL STOP")


def find_markup(text: str) -> list[Markup]:
    """Returns the units of a transcript that look like markup, in their order."""
    if not _SIGN.search(text):
        return []
    found = [Markup(_kind(match), *_place(match)) for match in _SPAN.finditer(text)]
    rest = _SPAN.sub(lambda match: "\0" * len(match[0]), text)  # as long as the text; a unit may be part of a token
    for match in re.finditer(r"[^\s\0]+", rest):
        token = match[0].rstrip(_ENDING)
        if token and (kind := _token_kind(token)):
            found.append(Markup(kind, token, match.start(), match.start() + len(token)))
    return sorted(found, key=lambda markup: markup.start)


def replace_markup(text: str, replacement: Callable[[Markup], str]) -> str:
    """Returns the transcript with each unit replaced. A transcript without markup stays as it is, blanks included."""
    units = find_markup(text)
    if not units:
        return text
    pieces: list[str] = []
    end = 0
    for unit in units:
        pieces += [text[end : unit.start], replacement(unit)]
        end = unit.stop
    return " ".join("".join([*pieces, text[end:]]).split())


def inside(unit: str) -> str:
    """Returns a unit without its signs: `((not sure))` is `not sure`, `&amp;` is `&`."""
    return html.unescape(unit) if unit.startswith("&") and unit.endswith(";") else re.sub(r"^[\W_]+|[\W_]+$", "", unit)


def punctuation_words(text: str) -> list[str]:
    """Returns the names of punctuation in a transcript of plain words, which are markup if most transcripts have some.

    COMMA and QUESTION MARK count anywhere, PERIOD and FULL STOP at the end, because they are also ordinary words.
    """
    words = " ".join(text.upper().split())
    found = [name for name in _ALWAYS for _ in re.finditer(rf"(?<!\S){name}(?!\S)", words)]
    return found + [name for name in _AT_THE_END if re.search(rf"(?<!\S){name}$", words)]


def map_words(text: str, words: Mapping[str, str]) -> str:
    """Returns the transcript with whole words replaced. One without such a word stays as it is, blanks included."""
    if words.keys().isdisjoint(text.split()):
        return text
    return " ".join(filter(None, (words.get(word, word) for word in text.split())))


def read_markup_map(path: Path) -> dict[str, str]:
    """Reads the replacements of units: lines of UNIT, a tab and the text, or of JSON objects with "unit" and "text".

    A unit may be `kind:KIND`, for all units of a kind that have no line of their own. The text `*` is the unit without its
    signs. An empty text drops the unit.

    Raises:
      OSError: the file cannot be read.
      ValueError: a line has another form, or a unit occurs twice.
    """
    replacements: dict[str, str] = {}
    with path.open("rb") as file:
        for number, line in enumerate(limited_lines(file.readline, path), start=1):
            if not line.strip():
                continue
            try:
                unit, replacement = _parsed(line.decode().rstrip("\r\n"))
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(
                    f'{path} line {number} is no UNIT, tab and TEXT, and no {{"unit": UNIT, "text": TEXT}} ({error})'
                ) from error
            if unit in replacements:
                raise ValueError(f"{path} line {number}: {unit!r} has a line before")
            if unit.startswith("kind:") and unit[5:] not in MARKUP_KINDS:
                raise ValueError(f"{path} line {number}: there is no {unit}; kinds are {', '.join(MARKUP_KINDS)}")
            replacements[unit] = replacement
    return replacements


def _parsed(line: str) -> tuple[str, str]:
    if line.startswith("{") and line.endswith("}") and "\t" not in line:
        content = json.loads(line)
        if not isinstance(content["unit"], str) or not isinstance(content["text"], str):
            raise TypeError("unit and text are no texts")
        return content["unit"], content["text"]
    unit, tab, replacement = line.partition("\t")
    if not tab or not unit.strip():
        raise ValueError("no tab")
    return unit.strip(), replacement.strip()


def _token_kind(token: str) -> MarkupKind | None:
    for kind, pattern in _TOKENS:
        if re.fullmatch(pattern, token):
            return kind
    return None


def _kind(match: re.Match[str]) -> MarkupKind:
    return next(kind for kind in MARKUP_KINDS if match.groupdict().get(kind) is not None)


def _place(match: re.Match[str]) -> tuple[str, int, int]:
    unit = match[0].lstrip()
    return unit, match.end() - len(unit), match.end()
