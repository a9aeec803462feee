"""Subtitles in SubRip format from words with times."""

from collections.abc import Iterable

from jaxasr.records import Word

LINE_CHARACTERS = 42  # the longest subtitle; a longer word stands alone
LINE_S = 6.0  # the longest duration, from the first word to the last
SHORTEST_S = 0.3  # the shortest duration


class Subtitles:
    """A writer of numbered subtitles that receives words as they come."""

    def __init__(self) -> None:
        self._number = 0
        self._line: list[Word] = []

    def add(self, words: Iterable[Word]) -> str:
        """Returns the subtitles that are complete; the last words are kept for those that follow."""
        done = []
        for word in words:
            characters = sum(len(kept.text) + 1 for kept in self._line) + len(word.text)
            if self._line and (characters > LINE_CHARACTERS or word.end_s - self._line[0].start_s > LINE_S):
                done.append(self.end())
            self._line.append(word)
        return "".join(done)

    def end(self) -> str:
        """Returns the subtitle of the kept words; empty if there are none."""
        if not self._line:
            return ""
        line = self._line
        self._line = []
        self._number += 1
        start_s = line[0].start_s
        end_s = max(line[-1].end_s, start_s + SHORTEST_S)
        text = " ".join(word.text for word in line)
        space = "\n" if self._number > 1 else ""
        return f"{space}{self._number}\n{_clock(start_s)} --> {_clock(end_s)}\n{text}\n"


def srt(words: Iterable[Word]) -> str:
    """Returns the subtitles of all words; empty without words."""
    subtitles = Subtitles()
    return subtitles.add(words) + subtitles.end()


def _clock(seconds: float) -> str:
    """Formats a time as HH:MM:SS,mmm."""
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"
