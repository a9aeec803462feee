"""From transcripts to tokens and back. Token 0 is the end of a sentence and never stands in a transcript.

A tokenizer is a value: equal and equally printed on every machine, whatever lies where. Its `digest` goes into
checkpoints and result rows, so a vocabulary that isn't the one of the training run is refused.
"""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, Protocol, SupportsIndex, runtime_checkable

import sentencepiece

from jaxasr.files import open_whole

_MIN_SENTENCE_BYTES = 10  # that SentencePiece takes as the longest sentence


@runtime_checkable
class Tokenizer(Protocol):
    """What the rest of the house knows of a vocabulary."""

    @property
    def size(self) -> int:
        """Tokens, the end included."""
        ...

    @property
    def digest(self) -> str:
        """8 hex digits that differ when the vocabulary does."""
        ...

    def encode(self, text: str) -> list[int]:
        """Tokens in 1 ... size - 1, without the end. Raises ValueError naming a character that has no token."""
        ...

    def decode(self, tokens: Iterable[SupportsIndex]) -> str:
        """The text of tokens in 1 ... size - 1; ValueError for any other."""
        ...


@dataclass(frozen=True)
class Characters:
    """One token a character: token i + 1 is `alphabet[i]`. `Characters("AB").encode("ABBA")` is `[1, 2, 2, 1]`."""

    alphabet: str

    def __post_init__(self):
        if not self.alphabet:
            raise ValueError("the alphabet is empty; give the characters of the transcripts, the space included")
        twice = sorted({char for char in self.alphabet if self.alphabet.count(char) > 1})
        if twice:
            raise ValueError(f"characters that stand more than once in the alphabet: {twice}; each is one token")

    @property
    def size(self) -> int:
        """Tokens, the end included."""
        return len(self.alphabet) + 1

    @property
    def digest(self) -> str:
        """8 hex digits of the alphabet, order included."""
        return hashlib.sha256(self.alphabet.encode()).hexdigest()[:8]

    def encode(self, text: str) -> list[int]:
        """The characters' places in the alphabet, counted from 1.

        Raises:
            ValueError: a character isn't in the alphabet.
        """
        try:
            return [self._tokens[char] for char in text]
        except KeyError as error:
            raise ValueError(
                f"{error.args[0]!r} in {text!r} is not in the alphabet {self.alphabet!r}: "
                "add it there, or choose a text normaliser that removes it"
            ) from None

    def decode(self, tokens: Iterable[SupportsIndex]) -> str:
        """The text of tokens in 1 ... size - 1.

        Raises:
            ValueError: a token is the end or outside the vocabulary.
        """
        return "".join(self.alphabet[token - 1] for token in _check_tokens(tokens, self.size))

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {char: token for token, char in enumerate(self.alphabet, start=1)}


@dataclass(frozen=True)
class SentencePiece:
    """The pieces of a SentencePiece model file; piece i of the file is token i + 1.

    The file lies beside the experiment: `SentencePiece("unigram_500.model", beside=__file__)`. What tells two of them apart
    is the file's name and content; where it lies does not.

    Raises:
        FileNotFoundError: no such file.
        ValueError: `digest` was given and the file has another.
    """

    file: str
    digest: str = ""  # 8 hex digits of the file's SHA-256; taken from the file if left empty
    folder: Path = field(default=Path(), compare=False, kw_only=True, metadata={"show": False})
    beside: str = field(default="", compare=False, kw_only=True, metadata={"show": False})  # a file in the folder
    size: int = field(init=False)  # tokens, the end included

    def __post_init__(self):
        if self.beside:
            object.__setattr__(self, "folder", Path(self.beside).parent)
        path = self.folder / self.file
        if not path.is_file():
            raise FileNotFoundError(
                f"no SentencePiece model {self.file!r} in {str(self.folder.absolute())!r}: "
                "make it with jaxasr.text.train_sentencepiece, or give the `folder` it lies in"
            )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        if self.digest not in ("", digest):
            raise ValueError(
                f"vocabulary that does not match: {path} has digest {digest}, {self.digest} is needed. Bring back the "
                f"file that this was made with, or, for a new run with the new vocabulary, give digest={digest!r}"
            )
        object.__setattr__(self, "digest", digest)
        object.__setattr__(self, "size", self._pieces.get_piece_size() + 1)

    def encode(self, text: str) -> list[int]:
        """The most likely (unigram) or greedily merged (BPE) pieces.

        Raises:
            ValueError: the model has no piece for a character.
        """
        pieces = self._pieces.encode(text, out_type=int)
        if self._pieces.unk_id() in pieces:
            unknown = next(char for char in text if self._pieces.unk_id() in self._pieces.encode(char, out_type=int))
            raise ValueError(
                f"{unknown!r} in {text!r} has no piece in {self.file}: "
                "train the model on text that has it, or choose a text normaliser that removes it"
            )
        return [piece + 1 for piece in pieces]

    def decode(self, tokens: Iterable[SupportsIndex]) -> str:
        """The text of tokens in 1 ... size - 1; control symbols say nothing.

        Raises:
            ValueError: a token is the end or outside the vocabulary.
        """
        return self._pieces.decode([token - 1 for token in _check_tokens(tokens, self.size)])

    @property
    def _pieces(self) -> sentencepiece.SentencePieceProcessor:
        return _load_model(self.folder / self.file, self.digest)


def train_sentencepiece(
    sentences: Iterable[str], path: Path, *, pieces: int, kind: Literal["unigram", "bpe"] = "unigram"
) -> SentencePiece:
    """Writes a model of exactly `pieces` pieces that covers every character of the sentences, and opens it.

    The same sentences in the same order give the same file. Text isn't changed on its way through (no Unicode
    normalisation of SentencePiece's own), so what was normalised before comes back letter for letter.

    Raises:
        ValueError: no sentences, or more or fewer pieces than they allow; the message has the bound.
    """
    sentences = [sentence for sentence in sentences if sentence.strip()]
    if not sentences:
        raise ValueError("no sentences to train a SentencePiece model on: all are empty")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type=kind,
            vocab_size=pieces,
            character_coverage=1.0,
            normalization_rule_name="identity",
            max_sentence_length=max(_MIN_SENTENCE_BYTES, *(len(sentence.encode()) for sentence in sentences)),
            shuffle_input_sentence=False,
            num_threads=1,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(
            f"SentencePiece can't make {pieces} {kind} pieces of {len(sentences)} sentences: {error}"
        ) from error
    with open_whole(path) as file:
        file.write(model.getvalue())
    return SentencePiece(path.name, folder=path.parent)


def piece_texts(tokenizer: Tokenizer) -> list[str]:
    """What each token writes after another one: a space first where it begins a word. The end writes nothing."""
    first = next(token for token in range(1, tokenizer.size) if tokenizer.decode([token]).strip())
    before = tokenizer.decode([first])
    return [""] + [tokenizer.decode([first, token])[len(before) :] for token in range(1, tokenizer.size)]


def _check_tokens(tokens: Iterable[SupportsIndex], size: int) -> list[int]:
    numbers = [token.__index__() for token in tokens]
    wrong = [number for number in numbers if not 0 < number < size]
    if wrong:
        raise ValueError(
            f"tokens that are no text: {wrong[:5]}; text has 1 ... {size - 1}, and 0 is the end of a sentence"
        )
    return numbers


@lru_cache(maxsize=16)
def _load_model(path: Path, digest: str) -> sentencepiece.SentencePieceProcessor:
    """The model, read once a process. The digest is part of the key, so a file written anew is read anew."""
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    except RuntimeError as error:
        raise ValueError(f"{path} (digest {digest}) is no SentencePiece model: {error}") from error
