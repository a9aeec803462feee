"""Tests of the grouping of words into cues."""

import pytest

from jaxasr.records import Word
from jaxasr.transcription.cues import SHORTEST_S, CueLimits, CueSplitter


def cues(words, limits=CueLimits()):
    splitter = CueSplitter(limits)
    return [cue for word in words for cue in splitter.add([word])] + splitter.end()


@pytest.mark.parametrize(
    "limits", [CueLimits(), CueLimits(20, lines=2), CueLimits(5, seconds=100.0), CueLimits(seconds=1.0)]
)
def test_cues_keep_the_limits_and_every_word(limits):
    words = [Word(f"WORD{k}" * (k % 3 or 1), k / 4, k / 4 + 0.2) for k in range(40)]
    found = cues(words, limits)
    assert " ".join(cue.text for cue in found).split() == [word.text for word in words]
    assert [cue.start_s for cue in found] == sorted({cue.start_s for cue in found})
    for cue in found:
        lines = limits.wrap(cue.text)
        alone = len(cue.text.split()) == 1
        assert alone or (len(lines) <= limits.lines and max(map(len, lines)) <= limits.characters)
        assert alone or cue.end_s - cue.start_s <= limits.seconds


def test_a_cue_is_as_long_as_the_limits_allow():
    words = [Word("AB", k / 10, k / 10 + 0.1) for k in range(6)]
    assert [cue.text for cue in cues(words, CueLimits(5))] == ["AB AB", "AB AB", "AB AB"]
    assert [cue.text for cue in cues(words, CueLimits(5, lines=2))] == ["AB AB AB AB", "AB AB"]
    assert [cue.text for cue in cues(words, CueLimits(seconds=0.3001))] == ["AB AB AB", "AB AB AB"]


def test_silence_has_no_cue_and_a_short_word_stands_long_enough_to_be_read():
    assert cues([]) == []
    (cue,) = cues([Word("A", 1.0, 1.05)])
    assert cue.end_s == 1.0 + SHORTEST_S


@pytest.mark.parametrize("limits", [{"characters": 0}, {"lines": 0}, {"seconds": 0.0}, {"seconds": float("nan")}])
def test_limits_without_room_are_refused(limits):
    with pytest.raises(ValueError, match="hold no word"):
        CueLimits(**limits)
