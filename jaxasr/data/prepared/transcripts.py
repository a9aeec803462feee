"""The transcripts of a prepared corpus in one form: their alphabet with counts, rare characters and words."""

from collections import Counter
from dataclasses import dataclass, field

from jaxasr import text

_RARE = 10  # occurrences below which a character is rare: a model hardly learns it, and often it is a slip
_SHOWN = 60  # characters whose counts are shown


@dataclass
class TranscriptSummary:
    """The characters and words of transcripts after a normaliser."""

    normalizer: text.Kind
    characters: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    rates_hz: Counter[int] = field(default_factory=Counter)  # utterances by sampling rate
    refused: int = 0  # transcripts that the normaliser has no form for

    def add(self, transcript: str, rate_hz: int) -> None:
        """Adds the transcript of an utterance."""
        self.rates_hz[rate_hz] += 1
        try:
            normalized = text.normalize(self.normalizer, transcript)
        except ValueError:
            self.refused += 1
            return
        self.characters.update(normalized)
        self.words.update(normalized.split())

    @property
    def alphabet(self) -> str:
        """The characters in the order of their code points."""
        return "".join(sorted(self.characters))

    def lines(self) -> list[str]:
        """Formats the summary for the terminal."""
        common = self.characters.most_common()
        shown = ", ".join(f"{_name(char)} {count:,}" for char, count in common[:_SHOWN])
        more = f" and {len(common) - _SHOWN:,} more" if len(common) > _SHOWN else ""
        lines = [f"{len(common):,} characters after the normalizer {self.normalizer}: {shown}{more}"]
        if rare := [f"{_name(char)} {count}" for char, count in common if count < _RARE]:
            listed = ", ".join(rare[:_SHOWN]) + (f" and {len(rare) - _SHOWN:,} more" if len(rare) > _SHOWN else "")
            lines.append(f"rare, fewer than {_RARE} times: {listed}")
        once = sum(count == 1 for count in self.words.values())
        lines.append(f"{len(self.words):,} different words, {once:,} of them once")
        if self.refused:
            lines.append(f"{self.refused:,} transcripts have no form under the normalizer {self.normalizer}")
        rates = ", ".join(f"{rate:,} Hz ({count:,} utterances)" for rate, count in self.rates_hz.most_common())
        return [*lines, f"sampling rate: {rates}"]


def _name(char: str) -> str:
    return repr(char) if char.isspace() or not char.isprintable() else char
