"""Hypotheses that have lost their way: a decoder that says the same again and again."""

from collections.abc import Sequence

REPETITIONS = 4  # repetitions in a row; people say "no no no" but seldom more


def repetitions(words: Sequence[str]) -> int:
    """Returns how often in a row the most repeated phrase (of any length) occurs; 1 if none is repeated, 0 for no words.

    Example: "on the mat on the mat on the" has "on the mat" (and "the mat on") 2 times.
    """
    most = min(len(words), 1)
    for size in range(1, len(words) // 2 + 1):
        same = 0  # positions in a row at which the word stands again one phrase later
        for i in range(len(words) - size):
            same = same + 1 if words[i] == words[i + size] else 0
            most = max(most, same // size + 1)
    return most


def is_repetitive(hypothesis: str, reference: str) -> bool:
    """Returns True if the hypothesis repeats a phrase LOOP times in a row or more, and more often than the reference does."""
    repeated = repetitions(hypothesis.split())
    return repeated >= REPETITIONS and repeated > repetitions(reference.split())
