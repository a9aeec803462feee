"""The tokenizers: characters and SentencePiece. Token 0 is the end of a sentence and never occurs in a transcript.

A tokenizer is a value: it compares and prints equal on every machine, wherever its file is. Checkpoints and result rows
store its `digest`, so that another vocabulary than that of the training run raises an error.
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

_MIN_SENTENCE_BYTES = 10  # SentencePiece's lower limit for max_sentence_length


@runtime_checkable
class Tokenizer(Protocol):
    """The interface of a tokenizer."""

    @property
    def size(self) -> int:
        """The number of tokens, the end included."""
        ...

    @property
    def digest(self) -> str:
        """A hash of the vocabulary, 8 hex digits."""
        ...

    def encode(self, text: str) -> list[int]:
        """Returns tokens in 1 ... size - 1, without the end. Raises ValueError for a character without a token."""
        ...

    def decode(self, tokens: Iterable[SupportsIndex]) -> str:
        """Returns the text of tokens in 1 ... size - 1. Raises ValueError for any other token."""
        ...


@dataclass(frozen=True)
class Characters:
    """A tokenizer with one token for each character: token i + 1 is `alphabet[i]`.

    `Characters("AB").encode("ABBA")` is `[1, 2, 2, 1]`.
    """

    alphabet: str

    def __post_init__(self):
        if not self.alphabet:
            raise ValueError("the alphabet is empty; give the characters of the transcripts, the space included")
        twice = sorted({char for char in self.alphabet if self.alphabet.count(char) > 1})
        if twice:
            raise ValueError(f"characters that stand more than once in the alphabet: {twice}; each is one token")

    @property
    def size(self) -> int:
        """The number of tokens, the end included."""
        return len(self.alphabet) + 1

    @property
    def digest(self) -> str:
        """A hash of the alphabet, order included, 8 hex digits."""
        return hashlib.sha256(self.alphabet.encode()).hexdigest()[:8]

    def encode(self, text: str) -> list[int]:
        """Returns the characters' indices in the alphabet, counted from 1.

        Raises:
            ValueError: a character is not in the alphabet.
        """
        try:
            return [self._tokens[char] for char in text]
        except KeyError as error:
            raise ValueError(
                f"{error.args[0]!r} in {text!r} is not in the alphabet {self.alphabet!r}: "
                "add it there, or choose a text normaliser that removes it"
            ) from None

    def decode(self, tokens: Iterable[SupportsIndex]) -> str:
        """Returns the text of tokens in 1 ... size - 1.

        Raises:
            ValueError: a token is the end or outside the vocabulary.
        """
        return "".join(self.alphabet[token - 1] for token in check_tokens(tokens, self.size))

    def pieces(self) -> list[bytes]:
        """Returns the UTF-8 of each token; the end has none."""
        return [b"", *(char.encode() for char in self.alphabet)]

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {char: token for token, char in enumerate(self.alphabet, start=1)}


@dataclass(frozen=True)
class SentencePiece:
    """A tokenizer with the pieces of a SentencePiece model file. Piece i of the file is token i + 1.

    The file is usually beside the experiment: `SentencePiece("unigram_500.model", beside=__file__)`. Two tokenizers are
    equal if the names and contents of their files are equal. The folder does not matter.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: `digest` is given and differs from that of the file.
    """

    file: str
    digest: str = ""  # 8 hex digits of the file's SHA-256; empty: computed from the file
    folder: Path = field(default=Path(), compare=False, kw_only=True, metadata={"show": False})
    beside: str = field(
        default="", compare=False, kw_only=True, metadata={"show": False}
    )  # any file in the same folder
    size: int = field(init=False)  # number of tokens, the end included

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
        """Returns the most likely (unigram) or greedily merged (BPE) pieces.

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
        """Returns the text of tokens in 1 ... size - 1. Control symbols have empty text.

        Raises:
            ValueError: a token is the end or outside the vocabulary.
        """
        return self._pieces.decode([token - 1 for token in check_tokens(tokens, self.size)])

    def pieces(self) -> list[bytes]:
        """Returns the bytes of each token, with a space first where it begins a word; the end has none."""
        model = self._pieces

        def content(id: int) -> bytes:
            if model.is_byte(id):  # of a character without a piece, such as "<0xC3>"
                return bytes([int(model.id_to_piece(id)[1:-1], 16)])
            if model.is_control(id) or model.is_unknown(id):
                return model.decode([id]).encode()
            return model.id_to_piece(id).replace("\N{LOWER ONE EIGHTH BLOCK}", " ").encode()

        return [b"", *map(content, range(model.get_piece_size()))]

    @property
    def _pieces(self) -> sentencepiece.SentencePieceProcessor:
        return _load_model(self.folder / self.file, self.digest)


def train_sentencepiece(
    sentences: Iterable[str], path: Path, *, pieces: int, kind: Literal["unigram", "bpe"] = "unigram"
) -> SentencePiece:
    """Trains a model of exactly `pieces` pieces that covers every character of the sentences, writes it and opens it.

    Equal sentences in equal order give an equal file. SentencePiece's own normalisation is off, so decoding returns the
    encoded text character by character.

    Raises:
        ValueError: there are no sentences, or they allow only more or fewer pieces. The message has the limit.
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
    """Returns the text of each token after another token, with a space first if it begins a word. The end has no text."""
    first = next(token for token in range(1, tokenizer.size) if tokenizer.decode([token]).strip())
    before = tokenizer.decode([first])
    return [""] + [tokenizer.decode([first, token])[len(before) :] for token in range(1, tokenizer.size)]


def check_tokens(tokens: Iterable[SupportsIndex], size: int) -> list[int]:
    """Returns tokens as plain integers.

    Raises:
        ValueError: a token is the end or outside the vocabulary.
    """
    numbers = [token.__index__() for token in tokens]
    wrong = [number for number in numbers if not 0 < number < size]
    if wrong:
        raise ValueError(
            f"tokens that are no text: {wrong[:5]}; text has 1 ... {size - 1}, and 0 is the end of a sentence"
        )
    return numbers


@lru_cache(maxsize=16)
def _load_model(path: Path, digest: str) -> sentencepiece.SentencePieceProcessor:
    """Loads a model once for each process. The digest is part of the cache key, so a rewritten file is loaded again."""
    content = path.read_bytes()
    if not content:  # SentencePiece would wait for another model
        raise ValueError(f"{path} is no SentencePiece model: it is empty")
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_proto=content)
    except RuntimeError as error:
        raise ValueError(f"{path} (digest {digest}) is no SentencePiece model: {error}") from error
    if not pieces.get_piece_size():
        raise ValueError(f"{path} (digest {digest}) is no SentencePiece model: it is empty or has no pieces")
    return pieces
