"""The bytes of tokens, one after the other, are the text that the tokenizer decodes."""

import io

import numpy as np
import pytest
import sentencepiece

from jaxasr import text
from jaxasr.text.pieces import drops_first_space, piece_bytes
from tests import tiny_whisper

SENTENCES = ["the cat sat on the mat", "a cat and a hat", "that hat sat", "at the mat"]


class Spelled:
    """A tokenizer of a user, without `pieces`."""

    size = 4
    digest = "00000000"

    def encode(self, text):
        return [1 + "abc".index(char) for char in text]

    def decode(self, tokens):
        return "".join("abc"[int(token) - 1] for token in tokens)


def with_bytes(folder):
    """Returns a SentencePiece model that spells unknown characters byte by byte."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=280,
        byte_fallback=True,
        model_type="bpe",
        hard_vocab_limit=False,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    (folder / "bytes.model").write_bytes(model.getvalue())
    return text.SentencePiece("bytes.model", folder=folder)


@pytest.fixture(params=["characters", "pieces", "byte pieces", "byte-level BPE", "user"])
def tokenizer(request, tmp_path):
    if request.param == "characters":
        return text.Characters(" abcé")
    if request.param == "pieces":
        return text.train_sentencepiece(SENTENCES, tmp_path / "p.model", pieces=18)
    if request.param == "byte pieces":
        return with_bytes(tmp_path)
    if request.param == "byte-level BPE":
        tiny_whisper.write_tokenizer(tmp_path)
        return text.ByteLevelBpe("tokenizer.json", folder=tmp_path)
    return Spelled()


def joined(tokenizer, tokens):
    """Returns the text as a reader of the pieces makes it."""
    pieces = piece_bytes(tokenizer)
    found = b"".join(pieces[token] for token in tokens).decode(errors="replace")
    return found.removeprefix(" ") if drops_first_space(tokenizer) else found


def test_joined_they_are_the_text(tokenizer):
    pieces = piece_bytes(tokenizer)
    assert len(pieces) == tokenizer.size
    assert pieces[0] == b""
    rng = np.random.default_rng(3)
    usual = [token for token in range(1, tokenizer.size) if pieces[token].isascii() and pieces[token].strip()]
    for length in (0, 1, 2, 5, 9):
        for _ in range(20):
            tokens = [int(token) for token in rng.choice(usual, length)]
            assert joined(tokenizer, tokens) == tokenizer.decode(tokens)


def test_a_character_of_several_bytes_is_whole(tmp_path):
    """ "é" is two tokens of one byte each where the tokenizer has no piece for it."""
    tiny_whisper.write_tokenizer(tmp_path)
    for tokenizer in (with_bytes(tmp_path), text.ByteLevelBpe("tokenizer.json", folder=tmp_path)):
        tokens = tokenizer.encode("the hé")
        assert joined(tokenizer, tokens) == "the hé"
        singles = [piece_bytes(tokenizer)[token] for token in tokens[-2:]]
        assert singles == ["é".encode()[i : i + 1] for i in range(2)]


def test_only_tokenizers_that_begin_words_with_a_space_drop_it(tmp_path):
    assert not drops_first_space(text.Characters(" ab"))
    assert drops_first_space(text.train_sentencepiece(SENTENCES, tmp_path / "p.model", pieces=18))
