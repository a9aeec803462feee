"""Errors by speaker, by length, and by what was taken for what."""

from jaxasr import score
from jaxasr.score.breakdown import by_length, by_speaker, confusions
from jaxasr.score.evaluate import Speed


def evaluation(*rows: tuple[str, str, str]) -> score.EvalOutput:
    """Returns the evaluation of (speaker, reference, hypothesis)."""
    utterances = tuple(
        score.Utterance(str(i), speaker, said, 16_000, (score.Candidate(heard, -1.0, -1.0, True),))
        for i, (speaker, said, heard) in enumerate(rows)
    )
    measured = score.measure([said for _, said, _ in rows], [heard for _, _, heard in rows])
    return score.EvalOutput(utterances, measured, Speed(0, 0.0))


ROWS = (("anna", "a b c d", "a b c d"), ("berta", "a b", "a x"), ("berta", "", "y"), ("carl", "a", ""))


def test_speakers_are_ordered_by_their_error_rates():
    assert [group.cells for group in by_speaker(evaluation(*ROWS))] == [
        ["berta", "2", "2", "100.00%", "1", "0", "1"],
        ["carl", "1", "1", "100.00%", "0", "1", "0"],
        ["anna", "1", "4", "0.00%", "0", "0", "0"],
    ]
    assert by_speaker(evaluation(*[("", said, heard) for _, said, heard in ROWS])) == []


def test_lengths_are_those_of_the_references():
    long = ("anna", " ".join("ab" * 20), "a")
    groups = by_length(evaluation(*ROWS, long))
    assert [(group.name, group.utterances, group.words.errors) for group in groups] == [
        ("0", 1, 1),
        ("1", 1, 1),
        ("2 to 3", 1, 1),
        ("4 to 7", 1, 0),
        ("32+", 1, 39),
    ]
    assert groups[0].cells == ["0", "1", "0", "-", "0", "0", "1"]  # without a word there is no rate
    assert sum(group.words.references for group in groups) == 47


def test_confusions_are_counted():
    alignments = score.align_words(["a b", "a b", "c"], ["a x", "a x", ""])
    assert confusions(alignments) == [("b", "x", 2), ("c", "*", 1)]
