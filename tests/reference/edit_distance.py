"""Edit distance by the textbook's table, and what can be said of the errors of any shortest alignment."""

from collections.abc import Sequence

import numpy as np


def distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """The fewest substitutions, deletions and insertions that turn one sequence into the other (Levenshtein 1966)."""
    table = np.zeros((len(reference) + 1, len(hypothesis) + 1), int)
    table[:, 0] = range(len(reference) + 1)
    table[0, :] = range(len(hypothesis) + 1)
    for i, said in enumerate(reference, start=1):
        for j, heard in enumerate(hypothesis, start=1):
            table[i, j] = min(
                table[i - 1, j] + 1,
                table[i, j - 1] + 1,
                table[i - 1, j - 1] + (said != heard),
            )
    return int(table[-1, -1])
