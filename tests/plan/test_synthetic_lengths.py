"""Tests of the lengths in place of a corpus that is not prepared."""

import numpy as np

from jaxasr import data, text
from jaxasr.plan.synthetic_lengths import LONGEST_S, synthetic_lengths

PARTS = ("train-clean-100", "train-clean-360", "train-other-500")
CORPORA = tuple((data.Corpus("librispeech", part), 1.0) for part in PARTS)
SHAPES = data.ChooseBuckets(count=3, seconds_per_batch=200.0)


def _pipeline(tokens: text.Tokenizer) -> data.Pipeline:
    return data.Pipeline(CORPORA, (data.Normalize("upper"), data.Tokenize(tokens)), SHAPES, shuffle_seed=0)


def test_lengths_are_those_that_are_told():
    opened = synthetic_lengths(_pipeline(text.Characters(" ABCDEFGHIJKLMNOPQRSTUVWXYZ'")), 2_000)
    seconds = opened.plan.lengths.samples[:, 0] / 16_000
    assert [len(source) for source in opened.sources] == [209, 757, 1_034]  # as the hours of the parts
    assert abs(len(seconds) - 2_000) <= 1
    assert seconds.max() == LONGEST_S
    assert 11.5 < seconds.mean() < 12.7  # 0.7 x 14.2 + 0.3 x 7 s; LibriSpeech's is 12.3 s
    assert not opened.skipped
    letters = opened.plan.lengths.tokens / seconds
    assert 12.0 < np.median(letters) < 17.0


def test_they_are_the_same_every_time_and_shapes_hold_all_of_them():
    one, two = (synthetic_lengths(_pipeline(text.Characters(" ABCDEFGHIJKLMNOPQRSTUVWXYZ")), 300) for _ in range(2))
    assert (one.plan.lengths.samples == two.plan.lengths.samples).all()
    assert one.shapes == two.shapes
    assert one.shapes[-1].samples >= one.plan.lengths.samples.max()


def test_a_small_alphabet_gets_its_own_letters():
    opened = synthetic_lengths(_pipeline(text.Characters(" XE")), 50)
    assert not opened.skipped
    assert set("".join(opened.examples.texts)) == {" ", "X", "E"}
