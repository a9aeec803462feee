"""What is done to examples, one frozen dataclass an operation: text in, text out; or a reason to leave one out.

All of them act when the batches are planned, on the texts and lengths of a whole corpus at once. Of a change of speed
only the factors are noted here: the plan draws one for each example, the loader resamples.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64

from jaxasr import text
from jaxasr.data.batching.lengths import RaggedTokens, speed_ratio

T = TypeVar("T")


@dataclass(frozen=True)
class FilterReason:
    """Why an example is left out of training."""

    reason: str  # the same words for all of a kind, so that they can be counted
    detail: str  # what this one has


@dataclass(frozen=True)
class ExampleTable:
    """The examples of all corpora, before there is a plan. Examples keep their places; faulty ones stay, marked."""

    seconds: Float64[np.ndarray, " examples"]  # as recorded, before any change of speed
    texts: Sequence[str]
    tokens: RaggedTokens | None = None  # of a faulty text: none
    speeds: tuple[float, ...] = (1.0,)
    filtered: tuple[tuple[int, FilterReason], ...] = ()  # place and fault, in the order they were found

    def filter_out(
        self, bad: Bool[np.ndarray, " examples"], reason: str, detail: Callable[[int], str]
    ) -> "ExampleTable":
        """Marks the examples where `bad`."""
        found = tuple((int(i), FilterReason(reason, detail(int(i)))) for i in np.flatnonzero(bad))
        return replace(self, filtered=self.filtered + found)


@runtime_checkable
class Transform(Protocol):
    """One operation. It is a value: the flattened experiment shows it."""

    def apply(self, table: ExampleTable) -> ExampleTable:
        """The draft with the operation done."""
        ...


@dataclass(frozen=True)
class Normalize:
    """Brings the transcripts to a named form (`text.normalize`); references are scored in it."""

    kind: text.Kind

    def __post_init__(self):
        if self.kind not in text.KINDS:
            raise ValueError(f"there is no text normaliser {self.kind!r}; there are {', '.join(text.KINDS)}")

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Replaces the texts. One that cannot be brought to the form stays as written and is marked."""
        refusals: list[tuple[int, str]] = []
        normal = partial(text.normalize, self.kind)
        texts = list(_apply_or_note(table.texts, normal, otherwise=_as_written, refusals=refusals))
        table = replace(
            table, texts=texts, filtered=table.filtered + _reasons(refusals, f"text has no {self.kind} form")
        )
        return table.filter_out(
            np.array([not each for each in texts], np.bool_), "text is empty", lambda i: "nothing is left to learn"
        )


@dataclass(frozen=True)
class Tokenize:
    """Turns the texts into tokens."""

    tokenizer: text.Tokenizer

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Encodes the texts. One that cannot be encoded gets no tokens and is marked."""
        refusals: list[tuple[int, str]] = []
        tokens = RaggedTokens.from_sequences(
            _apply_or_note(table.texts, self.tokenizer.encode, otherwise=lambda _: [], refusals=refusals)
        )
        return replace(table, tokens=tokens, filtered=table.filtered + _reasons(refusals, "text cannot be encoded"))


@dataclass(frozen=True)
class KeepSeconds:
    """Leaves out of training what is shorter or longer, before any change of speed."""

    min_s: float
    max_s: float

    def __post_init__(self):
        if not 0 <= self.min_s < self.max_s:
            raise ValueError(f"KeepSeconds({self.min_s}, {self.max_s}): the first must be less, and not negative")

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Marks the utterances outside."""

        def detail(i: int) -> str:
            return f"{table.seconds[i]:.3f} s"

        table = table.filter_out(table.seconds < self.min_s, f"shorter than {self.min_s:g} s", detail)
        return table.filter_out(table.seconds > self.max_s, f"longer than {self.max_s:g} s", detail)


@dataclass(frozen=True)
class KeepTokens:
    """Leaves out of training what has more tokens."""

    max_tokens: int

    def __post_init__(self):
        if self.max_tokens < 1:
            raise ValueError(f"KeepTokens({self.max_tokens}): at least 1 is needed")

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Marks the transcripts that are longer.

        Raises:
          ValueError: there are no tokens yet.
        """
        if table.tokens is None:
            raise ValueError("KeepTokens counts tokens: put it after Tokenize")
        lengths = table.tokens.lengths
        return table.filter_out(
            lengths > self.max_tokens, f"more than {self.max_tokens} tokens", lambda i: f"{lengths[i]} tokens"
        )


@dataclass(frozen=True)
class SpeedPerturb:
    """Plays each utterance, in each epoch, at one of these speeds: tempo and pitch change together.

    An utterance that fits no shape at some of the speeds is played at the others.
    Source: Ko, Peddinti, Povey, Khudanpur 2015, "Audio augmentation for speech recognition", section 2.2.
    """

    factors: tuple[float, ...] = (0.9, 1.0, 1.1)

    def __post_init__(self):
        if not self.factors or len({speed_ratio(factor) for factor in self.factors}) < len(self.factors):
            raise ValueError(f"SpeedPerturb.factors {self.factors}: one or more different factors are needed")

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Notes the factors."""
        return replace(table, speeds=self.factors)


def check_order(transforms: tuple[Transform, ...]) -> None:
    """Refuses an order in which transforms cannot work.

    Raises:
      ValueError: not one Tokenize, Normalize after it, KeepTokens before it, or speeds given twice.
    """
    names = [type(transform).__name__ for transform in transforms]
    if names.count("Tokenize") != 1:
        raise ValueError(f"transforms {names}: exactly one Tokenize is needed, it makes what is learnt")
    if names.count("SpeedPerturb") > 1:
        raise ValueError(f"transforms {names}: one SpeedPerturb at most; name all its factors in one")
    place = names.index("Tokenize")
    if "Normalize" in names[place:]:
        raise ValueError(f"transforms {names}: Normalize changes texts, so it has to come before Tokenize")
    if "KeepTokens" in names[:place]:
        raise ValueError(f"transforms {names}: KeepTokens counts tokens, so it has to come after Tokenize")


def find_tokenizer(transforms: tuple[Transform, ...]) -> text.Tokenizer:
    """That of the one Tokenize among them."""
    return next(each.tokenizer for each in transforms if isinstance(each, Tokenize))


def _as_written(raw: str) -> str:
    return " ".join(raw.split())


def _apply_or_note(
    items: Sequence[str], do: Callable[[str], T], *, otherwise: Callable[[str], T], refusals: list[tuple[int, str]]
) -> Iterator[T]:
    """What `do` makes of each; where it refuses, what `otherwise` makes, and place and refusal are noted."""
    for i, item in enumerate(items):
        try:
            yield do(item)
        except ValueError as error:
            refusals.append((i, str(error)))
            yield otherwise(item)


def _reasons(refusals: list[tuple[int, str]], reason: str) -> tuple[tuple[int, FilterReason], ...]:
    return tuple((i, FilterReason(reason, detail)) for i, detail in refusals)
