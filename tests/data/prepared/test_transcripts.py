"""The alphabet of a corpus: counts after the normaliser, rare characters, words, refused transcripts."""

from jaxasr.data.prepared.transcripts import TranscriptSummary


def test_characters_and_words_are_counted_after_the_normaliser():
    summary = TranscriptSummary("upper")
    for text in ["Ja, ja!"] * 10 + ["Nee\u0301, x"]:
        summary.add(text, 8_000)
    assert summary.characters == {"J": 20, "A": 20, " ": 11, "N": 1, "E": 1, "É": 1, "X": 1}
    assert summary.alphabet == " AEJNXÉ"
    lines = summary.lines()
    assert lines[0] == "7 characters after the normalizer upper: J 20, A 20, ' ' 11, N 1, E 1, É 1, X 1"
    assert lines[1:] == [
        "rare, fewer than 10 times: N 1, E 1, É 1, X 1",
        "3 different words, 2 of them once",
        "sampling rate: 8,000 Hz (11 utterances)",
    ]


def test_transcripts_without_a_form_are_counted():
    summary = TranscriptSummary("librispeech")
    summary.add("ROOM 12", 16_000)
    summary.add("ROOM TWELVE", 16_000)
    assert summary.refused == 1
    assert "1 transcripts have no form under the normalizer librispeech" in summary.lines()
