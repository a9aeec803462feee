"""N-gram models of an experiment's transcripts: estimated and written as ARPA files, and read for a search.

A model of tokens has a word for each token: the text of the token after another one, with the space written as "▁", as in
"▁", "A" or "▁THE". A token without text, or with the text of an earlier one, is "<token:17>". The words of a sentence joined
together are therefore its text, and files of KenLM or SRILM over SentencePiece's pieces or over characters can be read. A
model of words has the words of the transcripts.
"""

import gzip
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, SupportsIndex

import numpy as np

from jaxasr import text
from jaxasr.data import BoundPipeline, Normalize
from jaxasr.data.corpora.source import archive_errors
from jaxasr.experiment.experiment import Experiment
from jaxasr.files import limited_lines
from jaxasr.ops.ngram.backoff import backoff
from jaxasr.ops.ngram.word_backoff import word_backoff
from jaxasr.records import LanguageModel
from jaxasr.report import Progress
from jaxasr.score.perplexity import PerplexityResult, TextScore
from jaxasr.text.ngram import BEGIN, STOP, UNKNOWNS, NGram
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.training import spelling_of

Unit = Literal["token", "word"]

ARPA_ENDINGS = (".arpa", ".arpa.gz")
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
_SPACES = (SPACE, "<space>", "|")  # names of the space in files
_LN10 = float(np.log(10.0))
_WORDS_TRIED = 1_000
_VERBATIM = Normalize("verbatim")


@dataclass(frozen=True)
class NGramFile:
    """An n-gram model that was estimated and written to a file."""

    path: Path
    unit: Unit
    model: NGram
    sentences: int
    refused: tuple[str, ...]  # lines of text files that the tokenizer can't write, by place and reason
    validation: PerplexityResult  # the transcripts of the validation split
    unknown: int  # words among them that are not in the model

    def lines(self) -> list[str]:
        """Returns a summary for the terminal."""
        counts = ", ".join(f"{count:,} {n}-grams" for n, count in enumerate(self.model.counts, start=1))
        token, word, bits = self.validation.estimates().values()
        lines = [f"{self.path}: {self.model.order}-gram model of {self.unit}s, of {self.sentences:,} texts: {counts}"]
        if self.refused:
            lines += [f"left out: {len(self.refused)} lines that the tokenizer can't write, such as {self.refused[0]}"]
        if self.validation.out_of_vocabulary:
            lines += [
                f"validation: left out {len(self.validation.out_of_vocabulary)} texts that the tokenizer can't write"
            ]
        return [
            *lines,
            f"validation: perplexity {token.value:.3f} [{token.interval.low:.3f}, {token.interval.high:.3f}] by token, "
            f"{word.value:.2f} [{word.interval.low:.2f}, {word.interval.high:.2f}] by word, {bits.value:.3f} bits a "
            f"character over {self.validation.units.title}; {len(self.validation.texts)} texts, {self.unknown} unknown words",
        ]


def estimate_ngram(
    experiment: Experiment,
    path: Path,
    data_dir: Path,
    *,
    order: int,
    unit: Unit = "token",
    texts: Sequence[Path] = (),
    prune: Sequence[int] = (),
) -> NGramFile:
    """Estimates a model of the experiment's training transcripts, writes it, and scores the validation transcripts with it.

    Args:
        path: FILE.arpa, or FILE.arpa.gz to be gzipped; its folder is created if needed.
        unit: "token": all tokens of the tokenizer; "word": the words of the texts, and <unk>.
        texts: additional text files, a sentence per line (.gz: gzipped), normalised like the transcripts. A line that the
            tokenizer cannot encode is left out and reported.
        prune: as in `text.estimate`.

    Raises:
        FileNotFoundError: the corpus is not prepared, or there is no such text file.
        ValueError: an order below 1, nothing to learn from, or a name that no search would take for an ARPA file.
    """
    _check_files(path, texts)
    units = _Units(experiment.tokenizer, unit)
    data = experiment.train_data.open(data_dir)
    refused: list[str] = []
    with Progress(None, "ngram", "sentences") as bar:
        sentences = chain(_transcripts(data, units), _lines(texts, experiment, units, refused))
        model = text.estimate(_counted(sentences, bar), order, vocabulary=units.vocabulary, prune=prune)
    path.parent.mkdir(parents=True, exist_ok=True)
    text.write_arpa(model, path)
    validation, unknown = _validation_scores(model, experiment.validation.data.open(data_dir), units)
    return NGramFile(path, unit, model, int(bar.done), tuple(refused), validation, unknown)


def read_ngram(path: Path, tokenizer: Tokenizer) -> LanguageModel:
    """Reads an ARPA file, of tokens or of words, as a language model for a search over the tokenizer's tokens.

    It is a model of tokens if most of its words are names of tokens (the space may be "<space>" or "|"). Otherwise it is a
    model of words if the tokenizer can encode most of them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no ARPA file, or its words are neither.
    """
    model = text.read_arpa(path)
    own = [word for word in model.words if word not in (BEGIN, STOP, *UNKNOWNS)]
    words = token_words(tokenizer)
    if SPACE not in model.ids:
        space = next((name for name in _SPACES if name in model.ids), SPACE)
        words = [space if word == SPACE else word for word in words]
    if own and 2 * len(set(own) & set(words)) > len(own):
        return backoff(model, words)
    tried = own[:: max(len(own) // _WORDS_TRIED, 1)]
    strange = [word for word in tried if not _writes(tokenizer, word)]
    if own and len(strange) < len(tried) / 2:
        return word_backoff(
            model, spelling_of(text.piece_texts(tokenizer)), np.asarray(spelling_of(list(model.words)).hash_v)
        )
    raise ValueError(
        f"the words of {path}, such as {strange[:5]}, are neither the tokens of the recogniser ({words[1:6]} ...) nor words "
        f"that its tokens spell; `jaxasr ngram EXPERIMENT {path.name}` makes a model of the experiment's own tokens or words"
    )


def token_words(tokenizer: Tokenizer) -> list[str]:
    """Returns the name of each token in a model of tokens; the end is </s>."""
    names: list[str] = [STOP]
    taken = {BEGIN, STOP, *UNKNOWNS, ""}
    for token, piece in enumerate(text.piece_texts(tokenizer)[1:], start=1):
        name = piece.replace(" ", SPACE)
        blank = len(name.encode().split()) != 1
        names.append(f"<token:{token}>" if name in taken or blank else name)
        taken.add(names[-1])
    return names


def _check_files(path: Path, texts: Sequence[Path]) -> None:
    """Checks names and existence of the files before anything is counted."""
    if not path.name.endswith(ARPA_ENDINGS):
        raise ValueError(f"{path}: the file of an n-gram model ends in {' or '.join(ARPA_ENDINGS)}")
    if missing := [str(file) for file in texts if not file.is_file()]:
        raise FileNotFoundError(f"there is no text file {', '.join(missing)}")


class _Units:
    """The conversion of a text to the words of a model."""

    def __init__(self, tokenizer: Tokenizer, unit: Unit):
        self._tokenizer = tokenizer
        self._unit = unit
        self._names = token_words(tokenizer)

    @property
    def vocabulary(self) -> list[str] | None:
        """The full vocabulary of a model of tokens; None for words, which are counted first."""
        return self._names[1:] if self._unit == "token" else None

    def of(self, sentence: str, tokens: Iterable[SupportsIndex] | None = None) -> list[str]:
        """Returns the words of a text.

        Args:
            tokens: the tokens of the text, if it is encoded already.

        Raises:
            ValueError: the tokenizer cannot encode the text.
        """
        tokens = self._tokenizer.encode(sentence) if tokens is None else tokens
        return [self._names[token] for token in tokens] if self._unit == "token" else sentence.split()


def _transcripts(data: BoundPipeline, units: _Units) -> Iterator[list[str]]:
    """Yields the words of all examples that have tokens, including those that are too long to train on."""
    tokens = data.examples.tokens
    assert tokens is not None
    for i, sentence in enumerate(data.examples.texts):
        if len(tokens[i]):
            yield units.of(sentence, tokens[i])


def _lines(paths: Sequence[Path], experiment: Experiment, units: _Units, refused: list[str]) -> Iterator[list[str]]:
    """Yields the words of each line of text files; lines that cannot be encoded are added to `refused`."""
    transforms = experiment.train_data.transforms
    normal = next((transform for transform in transforms if isinstance(transform, Normalize)), _VERBATIM)
    for path in paths:
        opener = gzip.open if path.suffix == ".gz" else open
        with archive_errors(path), opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(limited_lines(lines.readline, path), start=1):
                try:
                    words = units.of(text.normalize(normal.kind, line))
                except ValueError as error:
                    refused.append(f"{path}:{number}: {error}")
                    continue
                if words:
                    yield words


def _counted(sentences: Iterable[list[str]], bar: Progress) -> Iterator[list[str]]:
    for sentence in sentences:
        bar.advance()
        yield sentence


def _validation_scores(model: NGram, data: BoundPipeline, units: _Units) -> tuple[PerplexityResult, int]:
    """Returns the scores of a split's texts, and the number of their words that are not in the model."""
    examples = data.examples
    texts: list[TextScore] = []
    unwritable: list[str] = []
    unknown = 0
    assert examples.tokens is not None
    for i, sentence in enumerate(examples.texts):
        tokens = examples.tokens[i]
        if sentence and not len(tokens):
            unwritable.append(data.ids[i])
            continue
        scores = text.score(model, [units.of(sentence, tokens)])
        unknown += int((~scores.known).sum())
        texts.append(TextScore(data.ids[i], data.speakers[i], sentence, len(tokens) + 1, scores.total * _LN10))
    return PerplexityResult(tuple(texts), tuple(unwritable)), unknown


def _writes(tokenizer: Tokenizer, word: str) -> bool:
    try:
        return SPACE not in word and bool(tokenizer.encode(word))
    except ValueError:
        return False
