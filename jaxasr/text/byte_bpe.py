"""The byte-level BPE tokenizer, read from the tokenizer.json of a Hugging Face checkpoint.

A text is cut into words, punctuation and blanks; the bytes of each are merged to pieces by rank. So any text can be encoded.

Sources: Sennrich et al. 2016, 1508.07909 (BPE); Radford et al. 2019, "Language models are unsupervised multitask learners",
section 2.2 (bytes).
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex, cast

import regex

from jaxasr.text.tokenizer import check_tokens

_WORDS = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
_MOST_WORDS = 1 << 16  # whose pieces a tokenizer remembers


class _Pieces(NamedTuple):
    """The content of a tokenizer.json."""

    ids: Mapping[bytes, int]
    texts: Mapping[int, bytes]
    ranks: Mapping[tuple[bytes, bytes], int]  # of the merges
    special: Mapping[str, int]  # tokens that stand for no text


@dataclass(frozen=True)
class ByteLevelBpe:
    """A tokenizer with the pieces of a tokenizer.json. Token 0 is its `end`; an id i before that of the end is token i + 1.

    The file is usually beside the experiment: `ByteLevelBpe("tokenizer.json", beside=__file__)`. A text is encoded with a
    space before it, so that its first word has the piece of any other word. Special tokens, such as `<|en|>` and times, are
    never encoded and have no text.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is no byte-level BPE, has no token `end` or more tokens than `vocab`, or has another `digest`.
    """

    file: str
    digest: str = ""  # 8 hex digits of a SHA-256; empty: computed from the file and `vocab`
    vocab: int = 0  # tokens of the model; those that the file lacks have no text. 0: the tokens of the file
    end: str = "<|endoftext|>"
    folder: Path = field(default=Path(), compare=False, kw_only=True, metadata={"show": False})
    beside: str = field(default="", compare=False, kw_only=True, metadata={"show": False})  # a file in the same folder
    size: int = field(init=False)  # number of tokens, the end included

    def __post_init__(self):
        if self.beside:
            object.__setattr__(self, "folder", Path(self.beside).parent)
        path = self.folder / self.file
        if not path.is_file():
            raise FileNotFoundError(
                f"no tokenizer {self.file!r} in {str(self.folder.absolute())!r}: `jaxasr import` copies it there; bring it "
                "back, or give the `folder` it lies in"
            )
        digest = hashlib.sha256(path.read_bytes() + b"%d" % self.vocab).hexdigest()[:8]
        if self.digest not in ("", digest):
            raise ValueError(
                f"vocabulary that does not match: {path} has digest {digest}, {self.digest} is needed. Bring back the "
                f"file that this was made with, or, for a new run with the new vocabulary, give digest={digest!r}"
            )
        object.__setattr__(self, "digest", digest)
        own = 1 + max(max(self._pieces.texts), *self._pieces.special.values(), 0)
        if self.end not in self._pieces.special:
            raise ValueError(f"{path} has no special token {self.end!r}; name the one that ends a transcript")
        if self.vocab and self.vocab < own:
            raise ValueError(f"{path} has {own} tokens, more than vocab={self.vocab}; it is of another model")
        object.__setattr__(self, "size", self.vocab or own)

    def encode(self, text: str) -> list[int]:
        """Returns the pieces of the text. The empty text has none.

        Raises:
            ValueError: half of a surrogate pair, which has no bytes in UTF-8.
        """
        words: list[str] = _WORDS.findall(f" {text}") if text else []
        return [self.token(id) for word in words for id in self._ids(word)]

    def decode(self, tokens: Iterable[SupportsIndex]) -> str:
        """Returns the text of tokens in 1 ... size - 1; bytes that are no UTF-8 become U+FFFD.

        Raises:
            ValueError: a token is the end or outside the vocabulary.
        """
        texts = self._pieces.texts
        content = b"".join(texts.get(self.id(token), b"") for token in check_tokens(tokens, self.size))
        return content.decode("utf-8", errors="replace").removeprefix(" ")

    def pieces(self) -> list[bytes]:
        """Returns the bytes of each token; the end and special tokens have none."""
        return [self._pieces.texts.get(self.id(token), b"") for token in range(self.size)]

    @property
    def specials(self) -> Mapping[str, int]:
        """The ids of the special tokens, by name."""
        return self._pieces.special

    def special(self, name: str) -> int:
        """Returns the token of a special token such as `<|en|>`.

        Raises:
            ValueError: there is none of this name.
        """
        if name not in self._pieces.special:
            raise ValueError(f"{self.file} has no special token {name!r}; it has {', '.join(self._pieces.special)}")
        return self.token(self._pieces.special[name])

    def token(self, id: int) -> int:
        """Returns the token of an id of the file: the end is 0."""
        return 0 if id == self._end else id + (id < self._end)

    def id(self, token: int) -> int:
        """Returns the id of a token, the inverse of `token`."""
        return self._end if token == 0 else token - (token <= self._end)

    @cached_property
    def _end(self) -> int:
        return self._pieces.special[self.end]

    @cached_property
    def _known(self) -> dict[str, list[int]]:
        return {}

    def _ids(self, word: str) -> list[int]:
        """Returns the ids of the pieces of a word."""
        known = self._known
        if word not in known:
            if len(known) >= _MOST_WORDS:
                known.clear()
            pieces = self._pieces
            known[word] = [pieces.ids[piece] for piece in _merged(word.encode(), pieces.ranks)]
        return known[word]

    @property
    def _pieces(self) -> _Pieces:
        return _load(self.folder / self.file, self.digest)


def _merged(content: bytes, ranks: Mapping[tuple[bytes, bytes], int]) -> list[bytes]:
    """Returns the pieces after all merges, that of the lowest rank first."""
    parts = [content[i : i + 1] for i in range(len(content))]
    while len(parts) > 1:
        pairs = list(itertools.pairwise(parts))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged: list[bytes] = []
        i = 0
        while i < len(parts):
            together = tuple(parts[i : i + 2]) == best
            merged.append(b"".join(best) if together else parts[i])
            i += 1 + together
        parts = merged
    return parts


@lru_cache(maxsize=4)
def _load(path: Path, digest: str) -> _Pieces:
    """Reads a file once for each process. The digest is part of the cache key, so a rewritten file is read again."""
    try:
        content = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
        model = content["model"]
        kinds = {step["type"] for step in _steps(content["pre_tokenizer"])}
        if model["type"] != "BPE" or kinds != {"ByteLevel"} or content.get("normalizer") is not None:
            raise ValueError(f"it is a {model['type']} after {', '.join(sorted(kinds)) or 'nothing'}")
        special = {token["content"]: int(token["id"]) for token in content["added_tokens"]}
        ids = {_bytes(piece): int(id) for piece, id in model["vocab"].items() if piece not in special}
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        ranks = {(_bytes(left), _bytes(right)): rank for rank, (left, right) in enumerate(merges)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is no byte-level BPE tokenizer (digest {digest}): {error!r}") from error
    absent = [byte for byte in range(256) if bytes([byte]) not in ids]
    absent_merges = [pair for pair in ranks if b"".join(pair) not in ids]
    if absent or absent_merges:
        raise ValueError(f"{path} has no piece for the bytes {absent[:5]} or the merges {absent_merges[:5]}")
    return _Pieces(ids, {id: piece for piece, id in ids.items()}, ranks, special)


def _steps(pre_tokenizer: dict[str, Any]) -> list[dict[str, Any]]:
    return pre_tokenizer["pretokenizers"] if pre_tokenizer["type"] == "Sequence" else [pre_tokenizer]


def _bytes(piece: str) -> bytes:
    return bytes(_BYTE_OF[char] for char in piece)


def _byte_of_char() -> dict[str, int]:
    """Returns the byte that each character of a piece stands for: printable ones themselves, others from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_of_char()
