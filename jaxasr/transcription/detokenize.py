"""Incremental detokenisation: tokens, one by one, to final words."""

from collections.abc import Iterator
from typing import NamedTuple

from jaxasr.text.tokenizer import Tokenizer


class WordSpan(NamedTuple):
    """A word and the encoder positions of its first and last token."""

    text: str
    first: int
    last: int


class IncrementalDetokenizer:
    """A detokeniser that returns each word as soon as the next one begins or a space ends it.

    It stores only the tokens of the unfinished word, so a segment may have any length.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._decode = tokenizer.decode
        self._tokens: list[int] = []
        self._first = 0
        self._last = 0

    def write(self, token: int, position: int) -> Iterator[WordSpan]:
        """Yields the words that are final after this token, which was read at this encoder position."""
        before = self._decode(self._tokens).split()
        text = self._decode([*self._tokens, token])
        words = text.split()
        if len(words) > len(before) > 0:
            yield from self.finish()
            text = self._decode([token])
            words = text.split()
            before = []
        if words and not before:
            self._first = position
        if words != before:
            self._last = position
        self._tokens.append(token)
        if words and text != text.rstrip():
            yield from self.finish()

    def finish(self) -> Iterator[WordSpan]:
        """Ends the unfinished word, if there is one, and yields it."""
        for word in self._decode(self._tokens).split():
            yield WordSpan(word, self._first, self._last)
        self._tokens = []
