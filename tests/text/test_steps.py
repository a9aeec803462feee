"""The steps of text normalisation, alone and composed: cases by language, apostrophes, marks, and digits that stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxasr.text import check_normalizer, normalize
from jaxasr.text.steps import STEPS

DOTLESS = "\N{LATIN SMALL LETTER DOTLESS I}"
QUOTE = "\N{RIGHT SINGLE QUOTATION MARK}"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("lowercase_tr", "DİYARBAKIR ISPARTA", f"diyarbak{DOTLESS}r {DOTLESS}sparta"),
        ("lowercase_tr", "I\u0307zmir", "izmir"),  # the dot as a mark of its own
        ("uppercase_tr", f"izmir {DOTLESS}l{DOTLESS}k", "İZMİR ILIK"),
        ("lowercase", "ISTANBUL", "istanbul"),
        ("uppercase_de", "Straße", "STRAẞE"),
        ("uppercase", "Straße", "STRASSE"),
        ("uppercase_de+lowercase", "Maße", "maße"),
        ("sharp_s+lowercase", "Maße MAẞE", "masse masse"),
        ("no_accents", "Ähnlich café", "Ahnlich cafe"),
        ("no_accents", "हिन्दी", "हिन्दी"),  # its marks are vowels
        ("nfkc", "\ufb01ve \u2163", "five IV"),
        ("nfc", "\ufb01ve", "\ufb01ve"),
        ("apostrophes_en+no_punctuation", f"It{QUOTE}s 'so'!", "It's so"),
        ("apostrophes_fr+no_punctuation+lowercase", f"L{QUOTE}eau d'aujourd'hui", "l eau d aujourd hui"),
        ("apostrophes_it+lowercase", f"Dell{QUOTE}acqua", "dell' acqua"),
        ("apostrophes_tr+lowercase_tr+no_punctuation", f"Ankara{QUOTE}da, İZMİR'e", "ankarada izmire"),
        ("nfkc+lower", "ROOM \uff11\uff12!", "room 12"),
        ("lower+librispeech", "Don't!", "DON'T"),
    ],
)
def test_known_sentences(kind, text, expected):
    check_normalizer(kind)
    assert normalize(kind, text) == expected


@pytest.mark.parametrize("name", STEPS)
@given(text=st.text(st.characters(categories=["Nd"])))
def test_no_step_changes_a_digit(name, text):
    digits = [int(char) for char in STEPS[name](text) if char.isdecimal()]
    assert digits == [int(char) for char in text]


@pytest.mark.parametrize("kind", ["", "lower+", "upper+lowercase_xx", "no punctuation"])
def test_unknown_steps_are_named_with_those_there_are(kind):
    with pytest.raises(
        ValueError, match=r"no text normaliser '.*'; there are verbatim, .* steps nfc, nfkc, lowercase,"
    ):
        check_normalizer(kind)
