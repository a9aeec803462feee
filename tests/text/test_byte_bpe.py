"""Byte-level BPE: any text comes back, merges by rank, special tokens have no text."""

import json

import pytest

from jaxasr import text
from tests import tiny_whisper as tiny

TEXTS = ["the a", "Don't, I'll — café 北京", "  two  blanks ", "\n\t", "🙂", "12,345 ² ٣", "", " "]


@pytest.fixture
def tokenizer(tmp_path):
    tiny.write_tokenizer(tmp_path)
    return text.ByteLevelBpe("tokenizer.json", folder=tmp_path)


@pytest.mark.parametrize("written", TEXTS)
def test_any_text_comes_back(tokenizer, written):
    tokens = tokenizer.encode(written)
    assert all(0 < token < tokenizer.size for token in tokens)
    assert tokenizer.decode(tokens) == written


def test_pieces_are_merged_by_rank_and_a_first_word_is_like_any_other(tokenizer, tmp_path):
    vocab = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    pieces = [vocab["Ġthe"], vocab["Ġa"], vocab["Ġ"], vocab["t"]]
    assert [tokenizer.id(token) for token in tokenizer.encode("the a \u00a0t"[:6] + "t")] == [*pieces[:2], vocab["Ġt"]]
    assert tokenizer.encode("the the")[0] == tokenizer.encode("the the")[1]


def test_the_end_is_token_0_and_ids_come_back(tokenizer):
    end = tokenizer.id(0)
    assert tokenizer.token(end) == 0
    assert sorted(map(tokenizer.id, range(tokenizer.size))) == list(range(tokenizer.size))
    assert [tokenizer.token(tokenizer.id(token)) for token in range(tokenizer.size)] == list(range(tokenizer.size))
    assert tokenizer.special("<|startoftranscript|>") == end + 1


def test_special_tokens_and_those_that_the_file_lacks_have_no_text(tmp_path, tokenizer):
    larger = text.ByteLevelBpe("tokenizer.json", vocab=tokenizer.size + 5, folder=tmp_path)
    assert larger.size == tokenizer.size + 5
    assert larger.digest != tokenizer.digest
    assert larger.decode([larger.special("<|notimestamps|>"), *larger.encode("a"), larger.size - 1]) == "a"
    assert larger.decode(larger.encode("<|notimestamps|>")) == "<|notimestamps|>"  # letters, as anyone may say them


def test_bytes_that_are_no_text_are_replaced(tokenizer):
    assert tokenizer.decode(tokenizer.encode("é")[:2]) == "\ufffd"


def test_the_tokenizers_library_encodes_alike(tokenizer, tmp_path):
    tokenizers = pytest.importorskip("tokenizers", reason="an independent implementation, no dependency")
    other = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for written in filter(None, TEXTS):
        expected = other.encode(f" {written}", add_special_tokens=False).ids
        assert [tokenizer.id(token) for token in tokenizer.encode(written)] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(normalizer={"type": "NFC"}), "is no byte-level BPE"),
        (lambda c: c["pre_tokenizer"].update(type="Metaspace"), "it is a BPE after Metaspace"),
        (lambda c: c["model"].pop("merges"), "is no byte-level BPE"),
        (lambda c: c["model"]["vocab"].pop("z"), r"has no piece for the bytes \[122\]"),
        (lambda c: c["added_tokens"].pop(0), r"has no special token '<\|endoftext\|>'"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, change, message):
    tiny.write_tokenizer(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    change(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        text.ByteLevelBpe("tokenizer.json", folder=tmp_path)


def test_another_vocabulary_is_refused(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="vocabulary that does not match"):
        text.ByteLevelBpe("tokenizer.json", digest="00000000", folder=tmp_path)
    with pytest.raises(ValueError, match="more than vocab=9"):
        text.ByteLevelBpe("tokenizer.json", vocab=9, folder=tmp_path)
    with pytest.raises(FileNotFoundError, match="jaxasr import"):
        text.ByteLevelBpe("other.json", folder=tmp_path)
    with pytest.raises(ValueError, match=r"no special token '<\|xx\|>'"):
        tokenizer.special("<|xx|>")
