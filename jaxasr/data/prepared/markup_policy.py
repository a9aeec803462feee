"""The decision about markup in transcripts when a corpus is prepared, and the count of its units."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jaxasr.text.markup import (
    Markup,
    find_markup,
    inside,
    map_words,
    punctuation_words,
    read_markup_map,
    replace_markup,
)

Choice = Literal["refuse", "drop", "keep", "map"]
_PUNCTUATION_ROWS = 0.05  # share of the transcripts from which on COMMA and PERIOD are markup
_SHOWN = 20  # units in the error message


@dataclass
class MarkupPolicy:
    """A decision about markup, and the units that were found. Threads can share it.

    Raises:
      ValueError: replacements are given without `map`, or `map` without replacements.
    """

    choice: Choice = "refuse"  # refuse: a corpus with markup is not prepared
    replacements: Mapping[str, str] = field(default_factory=dict)  # text by unit, or by kind:KIND
    _rows: int = 0
    _found: Counter[tuple[str, str]] = field(default_factory=Counter)  # by kind and unit
    _punctuation: Counter[str] = field(default_factory=Counter)
    _punctuation_rows: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self):
        if bool(self.replacements) != (self.choice == "map"):
            raise ValueError("replacements of markup belong to the choice `map`, and at least one is needed")

    @classmethod
    def from_words(cls, words: list[str]) -> "MarkupPolicy":
        """Returns the policy of the command line: `drop`, `keep` or `map FILE`.

        Raises:
          ValueError: the words are none of these, or the file has another form.
          OSError: the file cannot be read.
        """
        match words:
            case ["drop" | "keep" as choice]:
                return cls(choice)
            case ["map", file]:
                return cls("map", read_markup_map(Path(file)))
        raise ValueError(f"--markup {' '.join(words)}: drop, keep or map FILE is needed")

    @property
    def recipe(self) -> str:
        """The policy as a part of the corpus's recipe, "" if texts stay as they are."""
        if self.choice in ("refuse", "keep"):
            return ""
        digest = hashlib.sha256(json.dumps(dict(sorted(self.replacements.items()))).encode()).hexdigest()[:8]
        return " --markup drop" if self.choice == "drop" else f" --markup map:{digest}"

    def apply(self, text: str) -> str:
        """Counts the markup of a transcript and returns the transcript that is prepared."""
        units = find_markup(text)
        names = punctuation_words(text)
        with self._lock:
            self._rows += 1
            self._found.update((unit.kind, unit.unit) for unit in units)
            self._punctuation.update(names)
            self._punctuation_rows += bool(names)
        if self.choice == "drop":
            return replace_markup(text, lambda _: "")
        if self.choice == "map":
            return map_words(replace_markup(text, self._mapped), self._words)
        return text

    def counts(self) -> list[dict[str, object]]:
        """Returns the units with kind, count and the text that replaces them, most frequent first."""
        found = self._found.copy()
        if self._punctuation_rows > _PUNCTUATION_ROWS * self._rows:
            found.update({("punctuation", name): count for name, count in self._punctuation.items()})
        return [
            {"unit": unit, "kind": kind, "count": count, "text": self._text(kind, unit)}
            for (kind, unit), count in sorted(found.items(), key=lambda item: (-item[1], item[0]))
        ]

    def check(self, listed: Path) -> None:
        """Writes the units to a file, and raises if some are not decided about.

        Raises:
          ValueError: there is markup and the policy refuses it, or its replacements have no line for it.
        """
        counts = self.counts()
        if not counts:
            return
        listed.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in counts), encoding="utf-8")
        if self.choice == "keep":
            return
        open_ones = [row for row in counts if not self._is_decided(str(row["kind"]), str(row["unit"]))]
        if open_ones:
            shown = ", ".join(f"{row['unit']} {row['count']} x" for row in open_ones[:_SHOWN])
            more = f" and {len(open_ones) - _SHOWN} more" if len(open_ones) > _SHOWN else ""
            raise ValueError(
                f"{len(open_ones)} units in the transcripts look like markup, not like words: {shown}{more}. All are listed "
                f"in {listed}. Choose --markup drop (without them), --markup keep (as they are), or --markup map FILE: FILE "
                "is that list with what is spoken as text, or lines of UNIT, tab and TEXT (kind:KIND for all of a kind, * "
                "for the unit without its signs)"
            )

    @property
    def _words(self) -> dict[str, str]:
        return {unit: text for unit, text in self.replacements.items() if unit.isalpha()}

    def _mapped(self, markup: Markup) -> str:
        return self._text(markup.kind, markup.unit)

    def _text(self, kind: str, unit: str) -> str:
        if self.choice != "map":
            return "" if self.choice == "drop" else unit
        text = self.replacements.get(unit, self.replacements.get(f"kind:{kind}", unit))
        return inside(unit) if text == "*" else text

    def _is_decided(self, kind: str, unit: str) -> bool:
        """Checks the replacements. `drop` does not decide about plain words such as PERIOD."""
        if self.choice == "drop":
            return not all(word.isalpha() for word in unit.split()) or kind != "punctuation"
        return unit in self.replacements or f"kind:{kind}" in self.replacements
