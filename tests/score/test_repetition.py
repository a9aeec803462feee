"""Hypotheses that say the same again and again."""

import pytest

from jaxasr.score.repetition import is_repetitive, repetitions


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("", 0),
        ("a", 1),
        ("a b c", 1),
        ("a a", 2),
        ("x a a a y", 3),
        ("on the mat on the mat on the", 2),
        ("so a b a b a b a b then", 4),
        ("a a b a a b a a b", 3),
        ("a b a", 1),
    ],
)
def test_the_most_repeated_phrase_is_counted(text, times):
    assert repetitions(text.split()) == times


def test_a_loop_is_what_the_reference_does_not_do():
    assert is_repetitive("go on and on and on and on and on", "go on")
    assert not is_repetitive("no no no", "no")
    assert not is_repetitive("five five five five", "five five five five")
    assert is_repetitive("five five five five five", "five five five five")
