"""The transforms of examples: normalisation, tokenisation, filters and speed perturbation, one frozen dataclass each.

Transforms act on the texts and lengths of a whole corpus at once, before batches are planned. SpeedPerturb only records
its factors: the plan draws one for each example and the loader resamples.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64

from jaxasr import text
from jaxasr.data.batching.lengths import RaggedTokens, speed_ratio
from jaxasr.tree import check_numbers

T = TypeVar("T")
EMPTY = "text is empty"  # a reason that every transform of texts may have, after its errors


@dataclass(frozen=True)
class FilterReason:
    """A reason to leave an example out of training."""

    reason: str  # identical for all examples of one kind, so that they can be counted
    detail: str  # the value of this example


@dataclass(frozen=True)
class ExampleTable:
    """A table of the examples of all corpora, before they are planned.

    Transforms keep the index of every example. Filtered examples stay in the table and are marked in `filtered`.
    """

    seconds: Float64[np.ndarray, " examples"]  # as recorded, before any change of speed
    texts: Sequence[str]
    tokens: RaggedTokens | None = None  # empty where the text cannot be encoded
    speeds: tuple[float, ...] = (1.0,)
    filtered: tuple[tuple[int, FilterReason], ...] = ()  # index and reason, in the order of the transforms

    def filter_out(
        self, bad: Bool[np.ndarray, " examples"], reason: str, detail: Callable[[int], str]
    ) -> "ExampleTable":
        """Returns a table in which the examples where `bad` is True are marked as filtered."""
        found = tuple((int(i), FilterReason(reason, detail(int(i)))) for i in np.flatnonzero(bad))
        return replace(self, filtered=self.filtered + found)


@runtime_checkable
class Transform(Protocol):
    """A transform of the example table. It is a dataclass, so the flattened experiment shows its fields."""

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Returns the transformed table."""
        ...


@dataclass(frozen=True)
class Normalize:
    """A normalisation of the transcripts to a named form (`text.normalize`). References are scored in this form."""

    kind: text.Kind

    def __post_init__(self):
        text.check_normalizer(self.kind)

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Normalises the texts. A text that has no such form stays as written and is marked as filtered."""
        errors: list[tuple[int, str]] = []
        normalize = partial(text.normalize, self.kind)
        texts = list(_apply_or_note(table.texts, normalize, otherwise=_as_written, errors=errors))
        table = replace(table, texts=texts, filtered=table.filtered + _reasons(errors, f"text has no {self.kind} form"))
        return _filter_empty(table)


@dataclass(frozen=True)
class DropMarkup:
    """A removal of markup such as [noise] from the transcripts (`text.markup`), for corpora that were prepared with it."""

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Drops the units. A text of markup alone becomes empty and is marked as filtered."""
        return _with_texts(table, [text.replace_markup(line, lambda _: "") for line in table.texts])


@dataclass(frozen=True)
class MapWords:
    """A replacement of whole words of the transcripts, such as `%uh` by `UH`. An empty replacement drops the word."""

    words: tuple[tuple[str, str], ...]  # the word as written, and its replacement

    def __post_init__(self):
        names = [word for word, _ in self.words]
        if not names or len(set(names)) < len(names) or any(len(word.split()) != 1 for word in names):
            raise ValueError(f"MapWords.words {self.words}: one or more different words without blanks are needed")

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Replaces the words. A text that becomes empty is marked as filtered."""
        return _with_texts(table, [text.map_words(line, dict(self.words)) for line in table.texts])


@dataclass(frozen=True)
class Tokenize:
    """A tokenisation of the texts."""

    tokenizer: text.Tokenizer

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Encodes the texts. A text that cannot be encoded gets no tokens and is marked as filtered."""
        errors: list[tuple[int, str]] = []
        tokens = RaggedTokens.from_sequences(
            _apply_or_note(table.texts, self.tokenizer.encode, otherwise=lambda _: [], errors=errors)
        )
        return replace(table, tokens=tokens, filtered=table.filtered + _reasons(errors, "text cannot be encoded"))


@dataclass(frozen=True)
class KeepSeconds:
    """A filter that leaves shorter and longer utterances out of training. It applies before any change of speed."""

    min_s: float
    max_s: float

    def __post_init__(self):
        check_numbers(self)
        if not 0 <= self.min_s < self.max_s:
            raise ValueError(f"KeepSeconds({self.min_s}, {self.max_s}): the first must be less, and not negative")

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Marks the utterances that are shorter or longer."""

        def detail(i: int) -> str:
            return f"{table.seconds[i]:.3f} s"

        table = table.filter_out(table.seconds < self.min_s, f"shorter than {self.min_s:g} s", detail)
        return table.filter_out(table.seconds > self.max_s, f"longer than {self.max_s:g} s", detail)


@dataclass(frozen=True)
class KeepTokens:
    """A filter that leaves transcripts with more tokens out of training."""

    max_tokens: int

    def __post_init__(self):
        check_numbers(self)
        if self.max_tokens < 1:
            raise ValueError(f"KeepTokens({self.max_tokens}): at least 1 is needed")

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Marks the transcripts with more tokens.

        Raises:
          ValueError: the table has no tokens yet.
        """
        if table.tokens is None:
            raise ValueError("KeepTokens counts tokens: put it after Tokenize")
        lengths = table.tokens.lengths
        return table.filter_out(
            lengths > self.max_tokens, f"more than {self.max_tokens} tokens", lambda i: f"{lengths[i]} tokens"
        )


@dataclass(frozen=True)
class KeepShare:
    """A random share of the utterances, for experiments on the amount of data.

    The share is of all utterances of the corpora, whatever other transforms leave out. With one seed a smaller share is part
    of every larger one.
    """

    share: float
    seed: int = 0

    def __post_init__(self):
        check_numbers(self, not_negative=("seed",))
        if not 0 < self.share <= 1:
            raise ValueError(f"KeepShare({self.share:g}): a share above 0 and up to 1 is needed")

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Marks the other utterances. At least one is kept."""
        count = len(table.texts)
        rank = np.empty(count, np.int64)
        rank[np.random.default_rng(self.seed).permutation(count)] = np.arange(count)
        kept = max(1, round(self.share * count))
        reason = f"outside a share of {self.share:.6g}, seed {self.seed}"
        return table.filter_out(rank >= kept, reason, lambda i: f"place {rank[i] + 1} of {count}, {kept} are kept")


@dataclass(frozen=True)
class SpeedPerturb:
    """A random change of speed for each utterance in each epoch. Tempo and pitch change together.

    An utterance that fits no shape at some of the speeds is played at the other speeds.
    Source: Ko, Peddinti, Povey, Khudanpur 2015, "Audio augmentation for speech recognition", section 2.2.
    """

    factors: tuple[float, ...] = (0.9, 1.0, 1.1)

    def __post_init__(self):
        check_numbers(self, positive=("factors",))
        if not self.factors or len({speed_ratio(factor) for factor in self.factors}) < len(self.factors):
            raise ValueError(f"SpeedPerturb.factors {self.factors}: one or more different factors are needed")

    def apply(self, table: ExampleTable) -> ExampleTable:
        """Records the factors in the table."""
        return replace(table, speeds=self.factors)


def check_order(transforms: tuple[Transform, ...]) -> None:
    """Raises if the order of the transforms cannot work.

    Raises:
      ValueError: there is not exactly one Tokenize, a transform of texts follows it, KeepTokens precedes it, DropMarkup
        follows Normalize, or SpeedPerturb occurs twice.
    """
    names = [type(transform).__name__ for transform in transforms]
    if names.count("Tokenize") != 1:
        raise ValueError(f"transforms {names}: exactly one Tokenize is needed, it makes what is learnt")
    if names.count("SpeedPerturb") > 1:
        raise ValueError(f"transforms {names}: one SpeedPerturb at most; name all its factors in one")
    index = names.index("Tokenize")
    late = [name for name in names[index:] if name in ("Normalize", "DropMarkup", "MapWords")]
    if late:
        raise ValueError(f"transforms {names}: {late[0]} changes texts, so it has to come before Tokenize")
    if "DropMarkup" in names and "Normalize" in names[: names.index("DropMarkup")]:
        raise ValueError(f"transforms {names}: Normalize makes words of markup, so DropMarkup has to come before it")
    if "KeepTokens" in names[:index]:
        raise ValueError(f"transforms {names}: KeepTokens counts tokens, so it has to come after Tokenize")


def find_tokenizer(transforms: tuple[Transform, ...]) -> text.Tokenizer:
    """Returns the tokenizer of the Tokenize among the transforms."""
    return next(transform.tokenizer for transform in transforms if isinstance(transform, Tokenize))


def _with_texts(table: ExampleTable, texts: list[str]) -> ExampleTable:
    """Returns the table with other texts, in which those that have become empty are marked as filtered."""
    return _filter_empty(replace(table, texts=texts))


def _filter_empty(table: ExampleTable) -> ExampleTable:
    is_empty = np.array([not line for line in table.texts], np.bool_)
    return table.filter_out(is_empty, EMPTY, lambda i: "nothing is left to learn")


def _as_written(raw: str) -> str:
    return " ".join(raw.split())


def _apply_or_note(
    items: Sequence[str], do: Callable[[str], T], *, otherwise: Callable[[str], T], errors: list[tuple[int, str]]
) -> Iterator[T]:
    """Yields `do(item)`. Where `do` raises ValueError, yields `otherwise(item)` and appends index and message to `errors`."""
    for i, item in enumerate(items):
        try:
            yield do(item)
        except ValueError as error:
            errors.append((i, str(error)))
            yield otherwise(item)


def _reasons(errors: list[tuple[int, str]], reason: str) -> tuple[tuple[int, FilterReason], ...]:
    return tuple((i, FilterReason(reason, detail)) for i, detail in errors)
