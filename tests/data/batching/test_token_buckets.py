"""Batches of transcripts alone, from corpora with and without audio."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from jaxasr import text
from jaxasr.data import ChooseBuckets, ChooseTokenBuckets, Corpus, Normalize, Pipeline, SpeedPerturb, Tokenize
from jaxasr.data.batching.shape import Shape, describe_shapes
from jaxasr.data.corpora.text import Text
from jaxasr.data.prepared.prepare import prepare

LETTERS = text.Characters(" ABCDEFGHIJKLMNOPQRSTUVWXYZ")
SHAPES = ChooseTokenBuckets(count=3, tokens_per_batch=142, examples_multiple=2)
TINY = Pipeline(Corpus("tiny", "train"), (Normalize("upper"), Tokenize(LETTERS)), SHAPES, shuffle_seed=1)


@pytest.fixture(scope="module")
def both(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a data dir with the corpora "tiny", which has audio, and "book", which has none."""
    folder = tmp_path_factory.mktemp("both")
    (folder / "tiny").symlink_to(tiny_corpus / "tiny")
    (folder / "book.txt").write_text("once upon a time\nthere was\n42\n")
    prepare(Text(folder / "book.txt", name="book", dev=0.0), folder)
    return folder


def test_shapes_are_of_tokens_and_hold_every_transcript(rng: np.random.Generator):
    tokens = rng.integers(0, 70, 500)
    nothing = np.zeros(500, np.int64)
    ones = np.ones(500)
    shapes = SHAPES.shapes(nothing, tokens, ones, rate_hz=16_000)
    assert len(shapes) == 3
    assert shapes[-1].tokens == tokens.max()
    for shape in shapes:
        assert shape.samples == 0
        assert shape.examples % 2 == 0
        assert shape.examples == 2 or shape.examples * (shape.tokens + 1) <= 142
    assert all(shorter.tokens < longer.tokens for shorter, longer in pairwise(shapes))
    with pytest.raises(ValueError, match="tokens_per_batch 142 cannot hold examples_multiple = 2 transcripts of 71"):
        SHAPES.shapes(nothing[:1], np.array([71]), ones[:1], rate_hz=16_000)
    assert SHAPES.eval_buckets(nothing[:1], np.array([71]), rate_hz=16_000) == (Shape(0, 71, 2),)
    with pytest.raises(ValueError, match="count and examples_multiple of 1 or more"):
        replace(SHAPES, count=0)
    with pytest.raises(ValueError, match="no transcripts"):
        SHAPES.shapes(nothing[:0], tokens[:0], ones[:0], rate_hz=16_000)


def test_padding_is_counted_in_tokens_and_ends():
    """Transcripts of 1 and 3 tokens in a shape of 3: two of eight positions are padding."""
    table = describe_shapes((Shape(0, 3, 2),), np.zeros(2, np.int64), np.array([1, 3]), np.ones(2), rate_hz=16_000)
    assert table.splitlines()[-1].endswith("25.00%")


def test_batches_are_the_transcripts_of_speech_and_of_texts_by_their_weights(both: Path):
    mixed = replace(TINY, corpora=((Corpus("tiny", "train"), 1), (Corpus("book", "train"), 2)))
    opened = mixed.open(both)
    texts: list[str] = []
    room = useful = 0
    with opened.batches(0, stop_step=opened.plan.first_step(1), workers=2) as batches:
        for _, row, batch in batches:
            assert batch.wave_bn.shape == (row.shape.examples, 0)
            assert not np.any(batch.sample_lengths_b)
            lengths_b = batch.token_lengths_b[batch.valid_b]
            texts += [LETTERS.decode(u[:n]) for u, n in zip(batch.tokens_bu, lengths_b, strict=False)]
            useful = useful + int(lengths_b.sum()) + len(lengths_b)
            room = room + row.padding.padded
            assert row.padding.real == int(lengths_b.sum()) + len(lengths_b)
    spoken = opened.sources[0].texts
    assert sorted(texts) == sorted([*spoken, *2 * ["ONCE UPON A TIME", "THERE WAS"]])
    assert (opened.plan.epoch(0).padding.real, opened.plan.epoch(0).padding.padded) == (useful, room)
    assert opened.skipped_counts == {"text cannot be encoded": 1}
    assert f"{useful:,} tokens and ends" in opened.describe()


def test_an_evaluation_leaves_no_text_out(both: Path):
    opened = replace(TINY, corpora=Corpus("book", "train")).open(both)
    with opened.eval_batches() as batches:
        found = {id: (words, int(n)) for batch in batches for id, words, n in rows_of(batch)}
    assert found == {"book-1": ("ONCE UPON A TIME", 16), "book-2": ("THERE WAS", 9), "book-3": ("42", 0)}


def rows_of(labelled):
    return zip(labelled.ids, labelled.texts, labelled.batch.token_lengths_b, strict=False)


def test_a_text_that_nobody_spoke_is_not_laid_out_as_a_wave(both: Path):
    speech = replace(TINY, corpora=Corpus("book", "train"), shapes=ChooseBuckets(count=1, seconds_per_batch=8.0))
    with pytest.raises(ValueError, match=r"book train holds texts without audio, and ChooseBuckets lays out waves"):
        speech.open(both)
    with pytest.raises(ValueError, match="SpeedPerturb and ChooseTokenBuckets reads no audio"):
        replace(TINY, transforms=(*TINY.transforms, SpeedPerturb()))
