"""Alignments and error counts, against the textbook's table on random texts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxasr.score.alignment import Counts, Edit, align_words, count_characters, count_words, total
from tests.reference.edit_distance import distance

TEXTS = st.text(alphabet="ab c", max_size=12)  # few letters and many spaces: much to align, and often nothing


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_word_errors_are_the_edit_distance(pairs):
    references, hypotheses = zip(*pairs, strict=True)
    aligned, counted = align_words(references, hypotheses), count_words(references, hypotheses)
    for reference, hypothesis, edits, counts in zip(references, hypotheses, aligned, counted, strict=True):
        assert counts.errors == distance(reference.split(), hypothesis.split())
        assert counts.references == len(reference.split())
        assert len(reference.split()) - counts.deletions + counts.insertions == len(hypothesis.split())
        kinds = [edit.kind for edit in edits]
        assert counts.substitutions == kinds.count("substitute")
        assert counts.deletions == kinds.count("delete")
        assert counts.insertions == kinds.count("insert")
        assert [edit.reference for edit in edits if edit.kind != "insert"] == reference.split()
        assert [edit.hypothesis for edit in edits if edit.kind != "delete"] == hypothesis.split()
        assert all((edit.reference == edit.hypothesis) == (edit.kind == "equal") for edit in edits)


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS)
def test_character_errors_count_single_spaces(reference, hypothesis):
    said, heard = " ".join(reference.split()), " ".join(hypothesis.split())
    counts = count_characters([reference], [hypothesis])[0]
    assert counts.errors == distance(said, heard)
    assert counts.references == len(said)


def test_an_alignment_names_its_columns():
    assert align_words(["a b  c"], ["a x"])[0] == (
        Edit("equal", "a", "a"),
        Edit("substitute", "b", "x"),
        Edit("delete", "c", ""),
    )
    assert align_words([""], ["so it"])[0] == (Edit("insert", "", "so"), Edit("insert", "", "it"))
    assert align_words([" "], [""]) == [()]


@pytest.mark.parametrize(
    ("counts", "rate"),
    [
        (Counts(1, 2, 3, 8), 0.75),
        (Counts(0, 0, 3, 2), 1.5),
        (Counts(0, 0, 0, 0), 0.0),
        (Counts(0, 0, 1, 0), float("inf")),
    ],
)
def test_rates(counts, rate):
    assert counts.rate == rate


def test_counts_add_up():
    assert total([Counts(1, 2, 3, 4), Counts(10, 20, 30, 40)]) == Counts(11, 22, 33, 44)
    assert total([]) == Counts(0, 0, 0, 0)
