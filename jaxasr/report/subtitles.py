"""Words with their times as subtitles (SubRip)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

LINE_CHARACTERS = 42  # of a subtitle; a longer word stands alone
LINE_S = 6.0  # from its first word to its last
SHORTEST_S = 0.3  # that a subtitle stands


class Word(NamedTuple):
    """A word and where it was heard, in seconds from the beginning of the file."""

    text: str
    start_s: float
    end_s: float


def srt(words: Iterable[Word]) -> str:
    """Numbered subtitles of a few words each; empty where nothing was said."""
    blocks = []
    for number, line in enumerate(_lines(words), start=1):
        start_s, end_s = line[0].start_s, max(line[-1].end_s, line[0].start_s + SHORTEST_S)
        text = " ".join(word.text for word in line)
        blocks.append(f"{number}\n{_clock(start_s)} --> {_clock(end_s)}\n{text}\n")
    return "\n".join(blocks)


def _lines(words: Iterable[Word]) -> Iterator[Sequence[Word]]:
    line: list[Word] = []
    for word in words:
        characters = sum(len(each.text) + 1 for each in line) + len(word.text)
        if line and (characters > LINE_CHARACTERS or word.end_s - line[0].start_s > LINE_S):
            yield line
            line = []
        line.append(word)
    if line:
        yield line


def _clock(seconds: float) -> str:
    """00:01:02,345."""
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"
