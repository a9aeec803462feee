"""Tokenizers: 0 is the end, decoding inverts encoding, and the digest identifies a vocabulary by its content."""

import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxasr.text import Characters, SentencePiece, Tokenizer, train_sentencepiece

ALPHABET = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SENTENCES = [
    "THE CAT SAT ON THE MAT",
    "DON'T LET THE DOG OUT",
    "A QUICK BROWN FOX JUMPS OVER THE LAZY DOG",
    "PACK MY BOX WITH FIVE DOZEN LIQUOR JUGS",
    "THE FIVE BOXING WIZARDS JUMP QUICKLY",
] * 4


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def pieces(request, tmp_path_factory) -> SentencePiece:
    folder = tmp_path_factory.mktemp("pieces")
    return train_sentencepiece(SENTENCES, folder / "pieces.model", pieces=40, kind=request.param)


def test_characters_are_counted_from_one():
    tokens = Characters("AB")
    assert tokens.encode("ABBA") == [1, 2, 2, 1]
    assert tokens.decode(np.array([1, 2, 2, 1], np.int32)) == "ABBA"
    assert tokens.size == 3
    assert isinstance(tokens, Tokenizer)


@given(st.text(ALPHABET))
def test_characters_come_back(text):
    tokens = Characters(ALPHABET)
    encoded = tokens.encode(text)
    assert tokens.decode(encoded) == text
    assert all(0 < token < tokens.size for token in encoded)


def test_the_digest_of_characters_is_that_of_their_order():
    assert Characters("AB").digest == Characters("AB").digest
    assert Characters("AB").digest != Characters("BA").digest
    assert len(Characters("AB").digest) == 8


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Characters(""), "alphabet is empty"),
        (lambda: Characters("ABCA"), r"more than once in the alphabet: \['A'\]"),
        (lambda: Characters("AB").encode("AbA"), "'b' in 'AbA' is not in the alphabet 'AB'"),
        (lambda: Characters("AB").decode([1, 0]), r"no text: \[0\]; text has 1 ... 2"),
        (lambda: Characters("AB").decode([3]), r"no text: \[3\]"),
        (lambda: Characters("AB").decode([-1]), r"no text: \[-1\]"),
    ],
)
def test_characters_refuse(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_pieces_come_back(pieces):
    assert isinstance(pieces, Tokenizer)
    assert pieces.size == 41
    for sentence in SENTENCES:
        encoded = pieces.encode(sentence)
        assert pieces.decode(encoded) == sentence
        assert all(0 < token < pieces.size for token in encoded)
        assert len(encoded) < len(sentence)
    assert pieces.encode("") == []
    assert pieces.decode(np.zeros(0, np.int32)) == ""


@given(text=st.lists(st.text(ALPHABET[1:], min_size=1), max_size=6).map(" ".join))
def test_any_words_of_the_alphabet_come_back(pieces, text):
    assert pieces.decode(pieces.encode(text)) == text


def test_a_character_without_a_piece_is_named(pieces):
    with pytest.raises(ValueError, match="'Ü' in 'THE CÜT' has no piece in pieces"):
        pieces.encode("THE CÜT")
    with pytest.raises(ValueError, match=r"no text: \[0\]"):
        pieces.decode([0])
    with pytest.raises(ValueError, match=r"no text: \[41\]"):
        pieces.decode([41])


def test_the_same_pieces_elsewhere_are_equal(pieces, tmp_path):
    shutil.copy(pieces.folder / pieces.file, tmp_path / pieces.file)
    moved = SentencePiece(pieces.file, folder=tmp_path)
    assert moved == pieces
    assert hash(moved) == hash(pieces)
    beside = SentencePiece(pieces.file, pieces.digest, beside=str(tmp_path / "experiment.py"))
    assert (beside, beside.folder) == (pieces, tmp_path)
    assert str(tmp_path) not in repr((moved.file, moved.digest, moved.size))


def test_pieces_travel_to_another_process(pieces):
    there = pickle.loads(pickle.dumps(pieces))
    assert there == pieces
    assert there.encode("THE DOG") == pieces.encode("THE DOG")
    assert len(pickle.dumps(pieces)) < 1000  # the way to the model, not the model


def test_training_is_deterministic_and_leaves_one_file(tmp_path):
    first = train_sentencepiece(SENTENCES, tmp_path / "a.model", pieces=40)
    second = train_sentencepiece(iter(SENTENCES), tmp_path / "b.model", pieces=40)
    assert first.digest == second.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.model", "b.model"]


def test_a_file_written_anew_is_read_anew(tmp_path):
    path = tmp_path / "a.model"
    first = train_sentencepiece(SENTENCES, path, pieces=40)
    second = train_sentencepiece(SENTENCES, path, pieces=45)
    assert (first.size, second.size) == (41, 46)
    with pytest.raises(ValueError, match="vocabulary that does not match"):
        SentencePiece("a.model", first.digest, folder=tmp_path)


def test_long_sentences_are_not_left_out(tmp_path):
    tokens = train_sentencepiece([*SENTENCES, "LONG " * 2000 + "Ä"], tmp_path / "a.model", pieces=40)
    assert tokens.decode(tokens.encode("Ä")) == "Ä"


def test_what_cannot_be_trained_or_opened(tmp_path):
    with pytest.raises(ValueError, match=r"can't make 5000 unigram pieces .* value <= \d+"):
        train_sentencepiece(SENTENCES, tmp_path / "a.model", pieces=5000)
    with pytest.raises(ValueError, match="can't make 5 bpe pieces"):
        train_sentencepiece(SENTENCES, tmp_path / "a.model", pieces=5, kind="bpe")
    with pytest.raises(ValueError, match="all are empty"):
        train_sentencepiece(["", "  "], tmp_path / "a.model", pieces=40)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match=r"no SentencePiece model 'a.model' in .*train_sentencepiece"):
        SentencePiece("a.model", folder=tmp_path)
    (tmp_path / "a.model").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="is no SentencePiece model"):
        SentencePiece("a.model", folder=tmp_path)


def test_sentences_of_a_few_letters_are_enough(tmp_path):
    """SentencePiece itself raises for a longest sentence of less than 10 bytes."""
    pieces = train_sentencepiece(["YES", "NO"], tmp_path / "short.model", pieces=7)
    assert pieces.decode(pieces.encode("NO YES")) == "NO YES"
