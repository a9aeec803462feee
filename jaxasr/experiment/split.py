"""A split: a set of utterances to evaluate on, with its search and its normalisation of texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxasr.data import Normalize, Pipeline, RecordingCondition, Tokenize
from jaxasr.decode import Search
from jaxasr.text import Kind, check_normalizer
from jaxasr.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Split:
    """A set of utterances to evaluate on, with the search that decodes them. An evaluation leaves no utterance out.

    The splits of a language model have no search: their texts are scored by perplexity. With a `normalizer`, hypotheses and
    references are compared in that form (`text.normalize`), whatever form the model writes. Rows of results have the error
    rates in the forms of `normalizers` as well (`normalized`); checkpoints are ranked by the first form. The utterances are
    decoded once more under every one of the `conditions`, whose error rates stand in the row as well (`by_condition`).
    """

    data: Pipeline
    search: Search | None = None
    normalizer: Kind | None = None  # None: hypotheses as they are, and references in the form of `data`
    normalizers: tuple[Kind, ...] = ()  # further forms in which errors are counted, beside the first
    conditions: tuple[RecordingCondition, ...] = ()  # such as `data.STANDARD_CONDITIONS`

    def __post_init__(self):
        if self.normalizer is not None:
            check_normalizer(self.normalizer)
        for kind in self.normalizers:
            check_normalizer(kind)
        if len(set(self.normalizers)) < len(self.normalizers):
            raise ValueError(f"normalizers has a name twice: {', '.join(self.normalizers)}")
        names = [condition.name for condition in self.conditions]
        if len(set(names)) < len(names):
            raise ValueError(f"conditions has one twice: {'; '.join(names)}")
        if self.conditions and (self.search is None or not self.data.shapes.audio):
            raise ValueError(f"conditions ({'; '.join(names)}) change speech, and this split decodes none")


def named_splits(splits: Mapping[str, Split], names: Sequence[str] = ()) -> dict[str, Split]:
    """Returns the splits of these names; no names mean all.

    Raises:
        KeyError: no such split.
    """
    unknown = sorted(set(names) - set(splits))
    if unknown:
        raise KeyError(f"no split {', '.join(unknown)} in this experiment; it has {', '.join(splits) or 'none'}")
    return {name: splits[name] for name in names or splits}


def search_of(split: Split) -> Search:
    """Returns the split's search.

    Raises:
        ValueError: the split has none, because it is a language model's.
    """
    if split.search is None:
        raise ValueError(
            "a split without a search is a language model's; a recogniser's has one, such as decode.Beam(8)"
        )
    return split.search


def tokenizer_of(pipeline: Pipeline) -> Tokenizer:
    """Returns the tokenizer of a pipeline's transforms."""
    return next(transform.tokenizer for transform in pipeline.transforms if isinstance(transform, Tokenize))


def normalizer_of(pipeline: Pipeline) -> str | None:
    """Returns the text normalisation of a pipeline's references; None: they are scored as they were prepared."""
    return next((transform.kind for transform in pipeline.transforms if isinstance(transform, Normalize)), None)
