"""SubRip as players read it."""

from jaxasr.records import Word
from jaxasr.transcription.subtitles import LINE_CHARACTERS, srt


def test_times_and_numbers_as_players_read_them():
    words = [Word("HELLO", 0.5, 0.9), Word("WORLD", 1.0, 3661.2345)]
    assert srt(words[:1]) == "1\n00:00:00,500 --> 00:00:00,900\nHELLO\n"
    assert srt(words).splitlines()[4:] == ["2", "00:00:01,000 --> 01:01:01,234", "WORLD"]


def test_lines_are_short_and_nothing_is_lost():
    words = [Word(f"WORD{k}", k / 4, k / 4 + 0.2) for k in range(40)]
    lines = srt(words).splitlines()
    texts = lines[2::4]
    assert max(map(len, texts)) <= LINE_CHARACTERS
    assert " ".join(texts).split() == [word.text for word in words]
    assert lines[0::4] == [str(k + 1) for k in range(len(texts))]


def test_silence_has_no_subtitles_and_a_short_word_stands_long_enough_to_be_read():
    assert srt([]) == ""
    assert "00:00:01,000 --> 00:00:01,300" in srt([Word("A", 1.0, 1.05)])
