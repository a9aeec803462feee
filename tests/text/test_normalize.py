"""The named normalisers: the characters that they keep, and their errors."""

import importlib
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxasr.text import KINDS, normalize


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("verbatim", "  Don't,\t— she\u00a0said\n", "Don't, — she said"),
        ("verbatim", "Cafe\u0301", "Café"),
        ("verbatim", "", ""),
        ("upper", '"Don\'t," — she said', "DON'T SHE SAID"),
        ("upper", "goin' to the  café-bar", "GOIN TO THE CAFÉ BAR"),
        ("upper", "it\N{RIGHT SINGLE QUOTATION MARK}s", "IT'S"),
        ("upper", "Straße", "STRASSE"),
        ("upper", "?!", ""),
        ("lower", "Room 12, O'CLOCK 'tis", "room 12 o'clock tis"),
        ("lower", "so\u00adft hy\u00adphen", "soft hyphen"),
        ("lower", "हिन्दी।", "हिन्दी"),
        ("librispeech", "“Don't,” — she said", "DON'T SHE SAID"),
        ("librispeech", "goin' to the café", "GOIN' TO THE CAFE"),
        ("librispeech", "NOTHIN' SO FINE AS A SHIP", "NOTHIN' SO FINE AS A SHIP"),
    ],
)
def test_known_sentences(kind, text, expected):
    assert normalize(kind, text) == expected


@pytest.mark.parametrize("text", ["room 12", "salt & pepper", "5 €", "привет"])
def test_librispeech_refuses_what_is_spoken_but_not_spelt(text):
    with pytest.raises(ValueError, match="spell it out"):
        normalize("librispeech", text)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("whisper")])
@given(text=st.text())
def test_twice_is_once_and_blanks_are_single(kind, text):
    try:
        once = normalize(kind, text)
    except ValueError:
        assert kind == "librispeech"
        return
    assert normalize(kind, once) == once
    assert once == " ".join(once.split())
    assert unicodedata.is_normalized("NFC", once)
    if kind == "librispeech":
        assert re.fullmatch(r"[A-Z' ]*", once)


def test_an_unknown_kind_answers_with_those_there_are():
    unchecked = getattr(normalize, "__wrapped__", normalize)  # beneath the type checks of the tests
    with pytest.raises(ValueError, match="no text normaliser 'uper'; there are verbatim, upper, lower, librispeech"):
        unchecked("uper", "text")


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("whisper_english", "Don't, she's got twenty-one COLOURS [noise] uh", "do not she has got 21 colors"),
        ("whisper_english", "MISTER JONES PAID TWO HUNDRED DOLLARS", "mister jones paid $200"),
        ("whisper_basic", "Straße — «Ça va?» (non)", "straße ça va"),
    ],
)
def test_whispers_forms(kind, text, expected):
    pytest.importorskip("whisper_normalizer", reason="the extra `whisper`")
    assert normalize(kind, text) == expected


def test_whispers_forms_need_their_package(monkeypatch):
    for name in ("whisper_normalizer", "whisper_normalizer.basic", "whisper_normalizer.english"):
        monkeypatch.setitem(sys.modules, name, None)
    importlib.import_module("jaxasr.text.normalize")._whisper.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxasr\[whisper\]'"):
        normalize("whisper_basic", "text")
