"""The statistics of a prepared corpus, and their text for the terminal."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxasr import text
from jaxasr.data.prepared import dataset_info
from jaxasr.data.prepared.transcripts import TranscriptSummary
from jaxasr.data.signal_level import LevelSummary
from jaxasr.report.histogram import text_histogram

_BINS = 10
_COLUMNS = 76
_UNITS = 10  # of markup that are shown


@dataclass(frozen=True)
class SplitContents:
    """The statistics of one split."""

    examples: int
    hours: float
    speakers: int
    words: int
    characters: int
    seconds_b: Float[np.ndarray, " b"]  # of each utterance
    levels: LevelSummary | None = None  # None: there is no audio, or an older version prepared it


@dataclass(frozen=True)
class Contents:
    """The statistics of a prepared corpus and of the rejected rows."""

    name: str
    folder: Path
    splits: dict[str, SplitContents]
    rejects: dict[str, int]  # by reason
    rejects_path: Path
    suspects: dict[str, int]  # by reason; these rows are in the corpus
    suspects_path: Path
    markup: dict[str, int]  # by unit, most frequent first
    markup_path: Path
    already_prepared: bool  # True: it was prepared before, and nothing was done now
    transcripts: TranscriptSummary

    def lines(self) -> list[str]:
        """Formats the statistics for the terminal."""
        state = "is already prepared in" if self.already_prepared else "is prepared in"
        lines = [
            f"{self.name} {state} {self.folder}" + (" (--overwrite prepares it again)" if self.already_prepared else "")
        ]
        for name, split in self.splits.items():
            lines += ["", *_split_lines(name, split)]
        lines += ["", *self.transcripts.lines()]
        if self.rejects:
            lines += ["", f"left out: {_counted(self.rejects)}, listed in {self.rejects_path}"]
        if self.suspects:
            lines += ["", f"suspicious, but kept: {_counted(self.suspects)}, listed in {self.suspects_path}"]
        if self.markup:
            shown = ", ".join(f"{unit} {count} x" for unit, count in list(self.markup.items())[:_UNITS])
            more = f" and {len(self.markup) - _UNITS} more" if len(self.markup) > _UNITS else ""
            lines += ["", f"markup in the transcripts: {shown}{more}; {self.markup_path} has what became of it"]
        return lines


def read_contents(folder: Path, *, already_prepared: bool, normalizer: text.Kind = "upper") -> Contents:
    """Computes the statistics of a prepared folder from its indices. Characters are counted after the normaliser.

    Raises:
      ValueError: the folder is damaged.
    """
    infos = dataset_info.read(folder).splits
    for info in infos.values():
        dataset_info.check_shards(folder, info)
    rejects, suspects, markup = (folder.parent / f"{name}.jsonl" for name in dataset_info.LISTS)
    transcripts = TranscriptSummary(normalizer)
    splits = {
        split: replace(_split_contents(dataset_info.read_index(folder, split, info), transcripts), levels=info.levels)
        for split, info in infos.items()
    }
    return Contents(
        name=folder.parent.name,
        folder=folder,
        splits=splits,
        rejects=_reasons(rejects),
        rejects_path=rejects,
        suspects=_reasons(suspects),
        suspects_path=suspects,
        markup=_unit_counts(markup),
        markup_path=markup,
        already_prepared=already_prepared,
        transcripts=transcripts,
    )


def _counted(reasons: dict[str, int]) -> str:
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return f"{sum(reasons.values())} rows ({listed})"


def _reasons(path: Path) -> dict[str, int]:
    """Returns the number of listed rows by reason, most frequent first."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8") as lines:
        return dict(Counter(json.loads(line)["reason"] for line in lines).most_common())


def _unit_counts(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8") as lines:
        return {row["unit"]: row["count"] for row in map(json.loads, lines)}


def _split_contents(rows: Iterator[dataset_info.IndexRow], transcripts: TranscriptSummary) -> SplitContents:
    seconds: list[float] = []
    speakers: set[str] = set()
    words = 0
    characters = 0
    for row in rows:
        transcripts.add(row.text, row.rate_hz)
        seconds.append(row.samples / row.rate_hz)
        speakers.update([row.speaker] if row.speaker else [])
        words += len(row.text.split())
        characters += len(row.text)
    return SplitContents(len(seconds), sum(seconds) / 3600, len(speakers), words, characters, np.array(seconds))


def _split_lines(name: str, split: SplitContents) -> list[str]:
    amount = f"{split.words:,} words, {split.characters:,} characters"
    if not split.hours:
        return [f"{name}: {split.examples:,} texts without audio, {amount}"]
    speakers = (
        f"{split.speakers:,} speaker{'s' if split.speakers > 1 else ''}" if split.speakers else "no speakers known"
    )
    head = f"{name}: {split.examples:,} utterances, {split.hours:.2f} h, {speakers}, {amount}"
    levels = [] if split.levels is None else [f"  {split.levels.line()}"]
    return [
        head,
        *levels,
        *(f"  {line}" for line in text_histogram(split.seconds_b, bins=_BINS, unit="s", width=_COLUMNS)),
    ]
