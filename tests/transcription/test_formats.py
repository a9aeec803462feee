"""What is printed and written while it is heard: valid at the end, and there before it."""

import json

import pytest

from jaxasr.cli.audio import transcribe_arguments
from jaxasr.records import Word
from jaxasr.transcription.cues import CueLimits
from jaxasr.transcription.formats import FORMATS
from jaxasr.transcription.long_form import PartialTranscript, Transcript, TranscriptionError, WindowSpeech
from jaxasr.transcription.writing import check_output_paths, write_transcripts

WORDS = (Word("A", 0.0, 0.5, 0.9), Word("BÄ", 0.6, 1.0, 0.4), Word("C", 8.0, 8.2, 1.0))


@pytest.fixture
def story(tmp_path):
    """A file in two passages, one in which nothing is said, one that isn't there, one that breaks off."""
    long, still, lost, torn = (tmp_path / f"{name}.wav" for name in ("long", "still", "lost", "torn"))
    return [
        PartialTranscript(long, WORDS[:2]),
        PartialTranscript(long, WORDS[2:]),
        Transcript(long, "A BÄ C", WORDS, 9.0, -3.0, True),
        Transcript(still, "", (), 2.0, 0.0, False),
        TranscriptionError(lost, "there is no audio file"),
        PartialTranscript(torn, WORDS[:1]),
        TranscriptionError(torn, "NaN"),
    ]


def written(story, format, folder=None) -> list:
    return list(write_transcripts(iter(story), format, folder))


def test_lines(story, capsys):
    assert written(story, "txt") == [each for each in story if not isinstance(each, PartialTranscript)]
    long, still, torn = capsys.readouterr().out.splitlines()
    assert long == f"{story[0].path}\tA BÄ C"
    assert still == f"{story[3].path}\t"
    assert torn == f"{story[5].path}\tA"


def test_json(story, capsys):
    written(story, "json")
    long, still, torn = map(json.loads, capsys.readouterr().out.splitlines())
    assert long["words"] == [word._asdict() for word in WORDS]
    assert (long["text"], long["seconds"], long["log_prob"], long["complete"]) == ("A BÄ C", 9.0, -3.0, True)
    assert (still["words"], still["complete"]) == ([], False)
    assert long["segments"] == [
        {"start_s": 0.0, "end_s": 1.0, "text": "A BÄ"},
        {"start_s": 8.0, "end_s": 8.3, "text": "C"},
    ]
    assert still["segments"] == []
    assert torn["refused"] == "NaN"
    assert [word["text"] for word in torn["words"]] == ["A"]


def test_json_lists_the_windows_of_the_no_speech_decision(tmp_path, capsys):
    """Checks probability, decision and withheld words, and that files without the decision list no windows."""
    windows = (WindowSpeech(0.0, 2.0, 0.1, True), WindowSpeech(2.0, 4.0, 0.93, False, WORDS[:1]))
    path = tmp_path / "a.wav"
    written(
        [PartialTranscript(path, WORDS[:1]), Transcript(path, "A", WORDS[:1], 4.0, -3.0, True, windows=windows)], "json"
    )
    written([Transcript(path, "", (), 4.0, -3.0, True)], "json")
    found, without = map(json.loads, capsys.readouterr().out.splitlines())
    assert found["windows"] == [
        {"start_s": 0.0, "end_s": 2.0, "no_speech_prob": 0.1, "speech": True, "withheld": []},
        {"start_s": 2.0, "end_s": 4.0, "no_speech_prob": 0.93, "speech": False, "withheld": [WORDS[0]._asdict()]},
    ]
    assert "windows" not in without


def test_subtitles_in_files(story, tmp_path):
    written(story, "srt", tmp_path / "titles")
    blocks = (tmp_path / "titles" / "long.srt").read_text().strip().split("\n\n")
    assert blocks == [
        "1\n00:00:00,000 --> 00:00:01,000\nA BÄ",
        "2\n00:00:08,000 --> 00:00:08,300\nC",
    ]
    assert sorted(path.name for path in (tmp_path / "titles").iterdir()) == ["long.srt", "still.srt", "torn.srt"]


def test_clocks_and_numbers_of_subtitles(tmp_path):
    words = (Word("HELLO", 0.5, 0.9), Word("R&B <3 -->", 1.0, 3661.2345))
    path = tmp_path / "a.wav"
    events = [PartialTranscript(path, words), Transcript(path, "", words, 4_000.0, -3.0, True)]
    written(events, "srt", tmp_path)
    written(events, "vtt", tmp_path)
    assert (tmp_path / "a.srt").read_text().splitlines()[4:] == ["2", "00:00:01,000 --> 01:01:01,234", "R&B <3 -->", ""]
    assert (tmp_path / "a.vtt").read_text() == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:00.900\nHELLO\n\n00:00:01.000 --> 01:01:01.234\nR&amp;B &lt;3 --&gt;\n"
    )


def test_lines_of_subtitles_are_wrapped(story, tmp_path):
    list(write_transcripts(iter(story), "vtt", tmp_path, CueLimits(2, lines=2)))
    assert "\nA\nBÄ\n\n" in (tmp_path / "long.vtt").read_text()
    assert (tmp_path / "still.vtt").read_text() == "WEBVTT\n"


def test_words_and_segments_for_sclite(story, capsys):
    written(story, "ctm")
    assert capsys.readouterr().out.splitlines() == [
        "long 1 0.000 0.500 A 0.9000",
        "long 1 0.600 0.400 BÄ 0.4000",
        "long 1 8.000 0.200 C 1.0000",
        "torn 1 0.000 0.500 A 0.9000",
    ]
    written(story, "stm")
    assert capsys.readouterr().out.splitlines() == [
        "long 1 unknown 0.000 1.000 A BÄ",
        "long 1 unknown 8.000 8.300 C",
        "torn 1 unknown 0.000 0.500 A",
    ]


def test_the_command_line_has_every_format():
    assert transcribe_arguments.FORMATS == FORMATS


def test_what_is_final_is_in_the_file_before_the_rest_is_heard(story, tmp_path):
    seen = []

    def heard():
        for each in story[:3]:
            path = tmp_path / "long.txt"
            seen.append(path.read_text() if path.exists() else None)
            yield each

    list(write_transcripts(heard(), "txt", tmp_path))
    assert seen == [None, "A BÄ", "A BÄ C"]


def test_no_transcript_is_written_over_another_or_into_it(tmp_path):
    one, two = tmp_path / "a/x.wav", tmp_path / "b/x.flac"
    check_output_paths([one, two], "json", None)
    check_output_paths([one], "srt", None)
    check_output_paths([one, two.with_name("y.flac")], "srt", tmp_path)
    with pytest.raises(ValueError, match=r"a/x.wav and .*b/x.flac would both be written to .*/x.txt"):
        check_output_paths([one, two], "txt", tmp_path)
    with pytest.raises(ValueError, match=r"subtitles of 2 files, .* give --out DIR"):
        check_output_paths([one, two], "srt", None)
    for format in ("ctm", "stm"):
        with pytest.raises(ValueError, match=r"would both be written to lines of x"):
            check_output_paths([one, two], format, None)
        with pytest.raises(ValueError, match=f"{format.upper()} separates its fields by spaces, and 'my talk.wav'"):
            check_output_paths([one, tmp_path / "my talk.wav"], format, tmp_path)
    check_output_paths([one, tmp_path / "my talk.wav"], "vtt", tmp_path)
