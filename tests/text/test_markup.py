"""Markup of several corpora's styles is found with its kind, ordinary written text has none, and both can be replaced."""

# ruff: noqa: RUF001 - full-width signs are meant

from pathlib import Path

import pytest

from jaxasr.text.markup import find_markup, inside, map_words, punctuation_words, read_markup_map, replace_markup


@pytest.mark.parametrize(
    ("text", "kind", "units"),
    [
        ("[noise] yes [laughter-no]", "bracketed", ["[noise]", "[laughter-no]"]),
        ("it 's <unk> {breath} <|en|>", "bracketed", ["<unk>", "{breath}", "<|en|>"]),
        ("<v Anna>hello</v>", "bracketed", ["<v Anna>", "</v>"]),
        ("【笑】 yes ［noise］", "bracketed", ["【笑】", "［noise］"]),
        ("((not sure)) (()) (laughs) (be)cause", "parenthesised", ["((not sure))", "(())", "(laughs)", "(be)"]),
        ("HELLO(2)", "parenthesised", ["(2)"]),
        ("[noise yes", "unclosed", ["[noise"]),
        ("noise] yes", "unclosed", ["noise]"]),
        ("%uh no #hes, ++garbage++", "marked", ["%uh", "#hes", "++garbage++"]),
        ("*foreign* um* f***", "marked", ["*foreign*", "um*", "f***"]),
        ("&-um &=laughs xxx unk", "marked", ["&-um", "&=laughs", "xxx", "unk"]),
        ("~A I_B_M um_1 @name", "marked", ["~A", "I_B_M", "um_1", "@name"]),
        ("be- cause -cause, tw-.", "fragment", ["be-", "-cause", "tw-"]),
        ("HI ,COMMA THERE .PERIOD", "punctuation", [",COMMA", ".PERIOD"]),
        ('"DOUBLE-QUOTE HI ?QUESTION-MARK "UNQUOTE', "punctuation", ['"DOUBLE-QUOTE', "?QUESTION-MARK", '"UNQUOTE']),
        ("hello exclamation-point (left-paren", "punctuation", ["exclamation-point", "(left-paren"]),
        ("A: yes B: no", "speaker", ["A:", "B:"]),
        ("Speaker 1: hi", "speaker", ["Speaker 1:"]),
        ("SPEAKER_01: hi", "speaker", ["SPEAKER_01:"]),
        ("Interviewer: so", "speaker", ["Interviewer:"]),
        (">> so", "speaker", [">>"]),
        ("A：你好", "speaker", ["A："]),
        ("rock &amp; roll &#39;", "entity", ["&amp;", "&#39;"]),
        ("♪ la la ♪", "music", ["♪", "♪"]),
    ],
)
def test_units_are_found_with_their_kind(text: str, kind: str, units: list[str]):
    found = find_markup(text)
    assert [unit.unit for unit in found] == units
    assert {unit.kind for unit in found} == {kind}
    assert all(text[unit.start : unit.stop] == unit.unit for unit in found)


@pytest.mark.parametrize(
    "text",
    [
        "HELLO WORLD",
        "Well-known, isn't it? -- Yes... 'twas 12:30; and/or \"Period pieces\".",
        "C++ got an A+ for 50% of #1 at $5, said AT&T - minus -5",
        "I said: no",
        "5 - 3 = 2",
        "UH UM MHM YEAH",
        "l'été où ça naïf",
        "你好，世界。",
    ],
)
def test_ordinary_text_has_no_markup(text: str):
    assert find_markup(text) == []
    assert replace_markup(text + "  ", lambda _: "") == text + "  "


def test_units_are_replaced_in_their_place():
    assert replace_markup("[noise] yes (be)cause  %uh", lambda unit: inside(unit.unit)) == "noise yes because uh"
    assert replace_markup("[noise] yes (be)cause  %uh", lambda unit: "") == "yes cause"


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("((not sure))", "not sure"), ("*foreign*", "foreign"), ("&amp;", "&"), ("(())", ""), ("be-", "be")],
)
def test_a_unit_without_its_signs(unit: str, expected: str):
    assert inside(unit) == expected


def test_names_of_punctuation_among_plain_words():
    assert punctuation_words("so comma i went period") == ["COMMA", "PERIOD"]
    assert punctuation_words("IN THIS PERIOD OF TIME QUESTION MARK") == ["QUESTION MARK"]


def test_whole_words_are_mapped():
    assert map_words("UH so  UH-HUH", {"UH": "ER"}) == "ER so UH-HUH"
    assert map_words("so  it is", {"UH": "ER"}) == "so  it is"
    assert map_words("so UH", {"UH": ""}) == "so"


def test_a_map_is_read_from_tabs_and_json(tmp_path: Path):
    file = tmp_path / "map"
    file.write_text(
        '[noise]\t\n%uh\tUH\n\n{"unit": "{laugh}", "kind": "bracketed", "count": 3, "text": ""}\nkind:fragment\t*\n'
    )
    assert read_markup_map(file) == {"[noise]": "", "%uh": "UH", "{laugh}": "", "kind:fragment": "*"}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("[noise]", "line 1 is no UNIT, tab and TEXT"),
        ('{"unit": 1, "text": ""}', "line 1 is no UNIT"),
        ("a\t\na\tb\n", "line 2: 'a' has a line before"),
        ("kind:noise\t\n", "there is no kind:noise; kinds are bracketed"),
        (b"\xff\t\n", "line 1 is no UNIT"),
    ],
)
def test_a_line_of_another_form_is_an_error(tmp_path: Path, content: str | bytes, error: str):
    file = tmp_path / "map"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=error):
        read_markup_map(file)
