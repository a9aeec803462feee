"""Files of words and segments with times, of sclite: CTM and STM.

    ctm    RECORDING CHANNEL START DURATION WORD [CONFIDENCE]
    stm    RECORDING CHANNEL SPEAKER START END [<LABELS>] WORDS

Lines that begin with ;; are comments. Alternatives and optional words are errors, because no part of jaxasr scores them.
"""

import re
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_IGNORED = ("ignore_time_segment_in_scoring", "inter_segment_gap")
_ALTERNATIVES = re.compile(r"[{}]|\([^()]*\)|<ALT", re.IGNORECASE)


@dataclass(frozen=True)
class TimedText:
    """A word of a CTM file or a segment of an STM file. Times are in seconds."""

    recording: str
    channel: str
    speaker: str  # empty in CTM
    start_s: float
    end_s: float
    text: str

    @property
    def id(self) -> str:
        """The id of a segment."""
        return f"{self.recording}-{self.channel}-{self.start_s:.2f}-{self.end_s:.2f}"

    @property
    def is_ignored(self) -> bool:
        """The answer to whether the segment is not to be scored."""
        return self.text.lower() in _IGNORED or self.speaker.lower() in _IGNORED


def is_timed(path: Path) -> bool:
    """Returns True if the name of a file is that of a CTM or STM file."""
    return _kind(path) in ("ctm", "stm")


def read_timed(path: Path, lines: Iterable[tuple[int, str]]) -> list[TimedText]:
    """Returns the words or segments of a file in the order of its lines.

    Raises:
        ValueError: a line has another form.
    """
    return list(_parsed(path, lines, _word if _kind(path) == "ctm" else _segment))


def texts_of_recordings(texts: Iterable[TimedText]) -> dict[str, str]:
    """Returns the words of each recording in the order of their times, or of each channel if there are two."""
    kept = [text for text in texts if not text.is_ignored]
    channels: dict[str, set[str]] = defaultdict(set)
    for text in kept:
        channels[text.recording].add(text.channel)
    found: dict[str, list[str]] = defaultdict(list)
    for text in sorted(kept, key=lambda text: text.start_s):
        several = len(channels[text.recording]) > 1
        found[f"{text.recording}-{text.channel}" if several else text.recording].append(text.text)
    return {id: " ".join(words) for id, words in found.items()}


def words_of_segments(words: Iterable[TimedText], segments: Iterable[TimedText]) -> dict[str, str]:
    """Returns the words of each segment by its id. A word belongs to the segment of its middle, or to the nearest.

    Words of segments that are not to be scored are left out.

    Raises:
        ValueError: a word's recording and channel have no segment.
    """
    by_recording: dict[tuple[str, str], list[TimedText]] = defaultdict(list)
    for segment in sorted(segments, key=lambda segment: segment.start_s):
        by_recording[segment.recording, segment.channel].append(segment)
    found: dict[str, list[str]] = {segment.id: [] for row in by_recording.values() for segment in row}
    for word in sorted(words, key=lambda word: word.start_s):
        row = by_recording.get((word.recording, word.channel))
        if row is None:
            raise ValueError(
                f"the word {word.text!r} is of {word.recording} {word.channel}, which has no segment in the STM file"
            )
        found[_nearest(row, (word.start_s + word.end_s) / 2).id].append(word.text)
    return {
        segment.id: " ".join(found[segment.id])
        for row in by_recording.values()
        for segment in row
        if not segment.is_ignored
    }


def _nearest(row: list[TimedText], middle_s: float) -> TimedText:
    """Returns the segment of a recording that is nearest to a time. `row` is in the order of starts."""
    behind = bisect([segment.start_s for segment in row], middle_s)
    around = row[max(0, behind - 2) : behind + 1]
    return min(around, key=lambda segment: max(segment.start_s - middle_s, middle_s - segment.end_s, 0.0))


def _kind(path: Path) -> str:
    return (path.suffix or path.name).lstrip(".").lower()


def _parsed(
    path: Path, lines: Iterable[tuple[int, str]], parse: Callable[[list[str]], TimedText]
) -> Iterator[TimedText]:
    for number, line in lines:
        if line.startswith(";;"):
            continue
        try:
            parsed = parse(line.split())
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path}, line {number} is no line of a {_kind(path)} file ({error})") from error
        if _ALTERNATIVES.search(parsed.text):
            raise ValueError(
                f"{path}, line {number} has alternatives or optional words, {parsed.text[:60]!r}: choose one form of them"
            )
        yield parsed


def _word(fields: list[str]) -> TimedText:
    recording, channel, start, duration, word = fields[:5]
    return TimedText(recording, channel, "", float(start), float(start) + float(duration), word)


def _segment(fields: list[str]) -> TimedText:
    recording, channel, speaker, start, end = fields[:5]
    words = fields[6:] if len(fields) > 5 and re.fullmatch(r"<[^>]*>", fields[5]) else fields[5:]
    return TimedText(recording, channel, speaker, float(start), float(end), " ".join(words))
