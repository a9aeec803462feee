"""CTM and STM files: words go to the segments of their times, and what cannot be scored is an error."""

from pathlib import Path

import pytest

from jaxasr.score.comparison.timed_words import is_timed, read_timed, texts_of_recordings, words_of_segments

CTM = """;; a comment
call1 1 0.10 0.20 HELLO 0.9
call1 1 2.05 0.30 AGAIN
call1 1 0.95 0.20 THERE
call1 1 9.00 0.20 LATE
call1 2 0.30 0.20 YES
"""
STM = """;; a comment
call1 1 anna 0.00 1.00 <o,f0,female> HELLO THERE
call1 1 anna 2.00 3.00 AGAIN
call1 1 anna 3.00 4.00 ignore_time_segment_in_scoring
call1 2 bob 0.00 1.00 YES
"""


def parsed(text: str, name: str):
    """Returns what a file with this text holds."""
    return read_timed(Path(name), list(enumerate(text.splitlines(), start=1)))


def test_words_go_to_the_segment_of_their_middle_or_the_nearest():
    found = words_of_segments(parsed(CTM, "a.ctm"), parsed(STM.replace("3.00 4.00", "3.00 3.50"), "a.stm"))
    assert found == {
        "call1-1-0.00-1.00": "HELLO",
        "call1-1-2.00-3.00": "AGAIN",
        "call1-2-0.00-1.00": "YES",
    } | {"call1-1-0.00-1.00": "HELLO THERE"}


def test_words_of_ignored_segments_are_left_out():
    segments = parsed(
        "call1 1 anna 0 1 <x> HELLO\ncall1 1 x 1 20 ignore_time_segment_in_scoring\ncall1 2 b 0 1 YES", "a.stm"
    )
    found = words_of_segments(parsed(CTM, "a.ctm"), segments)
    assert found == {"call1-1-0.00-1.00": "HELLO", "call1-2-0.00-1.00": "YES"}


def test_channels_are_recordings_if_there_are_two():
    assert texts_of_recordings(parsed(CTM, "a.ctm")) == {"call1-1": "HELLO THERE AGAIN LATE", "call1-2": "YES"}
    assert texts_of_recordings(parsed(CTM, "a.ctm")[:4]) == {"call1": "HELLO THERE AGAIN LATE"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.ctm", "call1 1 0.1 HELLO", "line 1 is no line of a ctm file"),
        ("a.ctm", "call1 1 x 0.1 HELLO", "line 1 is no line of a ctm file"),
        ("a.ctm", "call1 1 0 0 <ALT_BEGIN>", "line 1 has alternatives or optional words"),
        ("a.stm", "call1 1 anna 0 1 { A / B }", "line 1 has alternatives or optional words"),
        ("a.stm", "call1 1 anna 0 1 (UH) YES", "line 1 has alternatives or optional words"),
        ("a.stm", "call1 1 anna 0", "line 1 is no line of a stm file"),
    ],
)
def test_what_cannot_be_read_names_its_line(name: str, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        parsed(text, name)


def test_a_recording_without_segments_is_an_error():
    with pytest.raises(ValueError, match="'HELLO' is of call1 1, which has no segment"):
        words_of_segments(parsed(CTM, "a.ctm"), parsed("call2 1 a 0 1 X", "a.stm"))


@pytest.mark.parametrize(("name", "expected"), [("a.ctm", True), ("ctm", True), ("A.STM", True), ("text", False)])
def test_the_name_decides(name: str, expected: bool):
    assert is_timed(Path(name)) == expected
