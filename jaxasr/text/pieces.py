"""The bytes of each token, from which a reader without the tokenizer makes text."""

from typing import Protocol, runtime_checkable

from jaxasr.text.tokenizer import Tokenizer, piece_texts


@runtime_checkable
class HasPieces(Protocol):
    """The interface of a tokenizer whose text is its tokens' bytes one after the other."""

    def pieces(self) -> list[bytes]:
        """Returns the bytes of each token; the end has none."""
        ...


def piece_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """Returns the bytes of each token; a tokenizer without `pieces` gives the text of each token after another one."""
    if isinstance(tokenizer, HasPieces):
        return tokenizer.pieces()
    return [text.encode() for text in piece_texts(tokenizer)]


def drops_first_space(tokenizer: Tokenizer) -> bool:
    """Returns True if decoding leaves out the space of the first word."""
    words = (token for token, piece in enumerate(piece_bytes(tokenizer)) if len(piece) > 1 and piece.startswith(b" "))
    return any(not tokenizer.decode([token]).startswith(" ") for token in words)
