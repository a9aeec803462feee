"""From tokens that come one by one to words that will not change any more."""

from collections.abc import Iterator
from typing import NamedTuple

from jaxasr.text.tokenizer import Tokenizer


class WordSpan(NamedTuple):
    """A word, and the encoder positions at which its first and its last token were read."""

    text: str
    first: int
    last: int


class IncrementalDetokenizer:
    """Takes tokens in their order and gives back each word as soon as the next one begins, or a space ends it.

    It keeps only the tokens of the word that is not over, so a segment may be of any length.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._decode = tokenizer.decode
        self._tokens: list[int] = []
        self._first, self._last = 0, 0

    def write(self, token: int, position: int) -> Iterator[WordSpan]:
        """The words that this token, read at this encoder position, shows to be over."""
        before = self._decode(self._tokens).split()
        text = self._decode([*self._tokens, token])
        words = text.split()
        if len(words) > len(before) > 0:
            yield from self.finish()
            text = self._decode([token])
            words, before = text.split(), []
        if words and not before:
            self._first = position
        if words != before:
            self._last = position
        self._tokens.append(token)
        if words and text != text.rstrip():
            yield from self.finish()

    def finish(self) -> Iterator[WordSpan]:
        """The word that is not over yet, if there is one, and an end to it."""
        for word in self._decode(self._tokens).split():
            yield WordSpan(word, self._first, self._last)
        self._tokens = []
