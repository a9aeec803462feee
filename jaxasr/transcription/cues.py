"""Words grouped into cues: what a subtitle shows at once, and the segments of a transcript."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from jaxasr.records import Word

SHORTEST_S = 0.3  # the shortest duration of a cue


@dataclass(frozen=True)
class CueLimits:
    """The size of a cue.

    Args:
        characters: of a line; a longer word stands alone in its line.
        lines: of a cue.
        seconds: from the beginning of the first word to the end of the last.

    Raises:
        ValueError: a limit that leaves no room for a word.
    """

    characters: int = 42
    lines: int = 1
    seconds: float = 6.0

    def __post_init__(self) -> None:
        if self.characters < 1 or self.lines < 1 or not self.seconds > 0:
            raise ValueError(
                f"cues of {self.lines} lines of {self.characters} characters and {self.seconds} s hold no word; at least "
                "one line of one character, and more than 0 s, are needed"
            )

    def wrap(self, text: str) -> list[str]:
        """Returns the lines of a text, as many as it needs."""
        return textwrap.wrap(text, self.characters, break_long_words=False, break_on_hyphens=False)

    def allow(self, words: list[Word]) -> bool:
        """Returns whether the words, of one or more, fit into a cue. A word alone always does."""
        if len(words) < 2:
            return True
        return words[-1].end_s - words[0].start_s <= self.seconds and len(self.wrap(_text(words))) <= self.lines


class Cue(NamedTuple):
    """A group of words that are shown together, with its times, in seconds from the beginning of the file."""

    start_s: float
    end_s: float
    text: str  # in one line


class CueSplitter:
    """A splitter of words that come one after the other."""

    def __init__(self, limits: CueLimits) -> None:
        self._limits = limits
        self._words: list[Word] = []

    def add(self, words: Iterable[Word]) -> list[Cue]:
        """Returns the cues that are complete. The last words are kept for those that follow."""
        complete: list[Cue] = []
        for word in words:
            if not self._limits.allow([*self._words, word]):
                complete += self.end()
            self._words.append(word)
        return complete

    def end(self) -> list[Cue]:
        """Returns the cue of the kept words, if there are any."""
        words = self._words
        self._words = []
        if not words:
            return []
        start_s = words[0].start_s
        return [Cue(start_s, max(words[-1].end_s, start_s + SHORTEST_S), _text(words))]


def _text(words: Iterable[Word]) -> str:
    return " ".join(word.text for word in words)
