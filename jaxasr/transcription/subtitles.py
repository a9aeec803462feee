"""Words with their times as subtitles (SubRip)."""

from collections.abc import Iterable

from jaxasr.records import Word

LINE_CHARACTERS = 42  # of a subtitle; a longer word stands alone
LINE_S = 6.0  # from its first word to its last
SHORTEST_S = 0.3  # that a subtitle stands


class Subtitles:
    """Numbered subtitles of a few words each, as words come."""

    def __init__(self) -> None:
        self._number = 0
        self._line: list[Word] = []

    def add(self, words: Iterable[Word]) -> str:
        """The subtitles that are full before the last of these words; the rest is kept for those that follow."""
        done = []
        for word in words:
            characters = sum(len(each.text) + 1 for each in self._line) + len(word.text)
            if self._line and (characters > LINE_CHARACTERS or word.end_s - self._line[0].start_s > LINE_S):
                done.append(self.end())
            self._line.append(word)
        return "".join(done)

    def end(self) -> str:
        """What was kept."""
        if not self._line:
            return ""
        line, self._line = self._line, []
        self._number += 1
        start_s, end_s = line[0].start_s, max(line[-1].end_s, line[0].start_s + SHORTEST_S)
        text = " ".join(word.text for word in line)
        space = "\n" if self._number > 1 else ""
        return f"{space}{self._number}\n{_clock(start_s)} --> {_clock(end_s)}\n{text}\n"


def srt(words: Iterable[Word]) -> str:
    """The subtitles of all words; empty where nothing was said."""
    subtitles = Subtitles()
    return subtitles.add(words) + subtitles.end()


def _clock(seconds: float) -> str:
    """00:01:02,345."""
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"
