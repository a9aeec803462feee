"""Transforms of the example table; lengths at a speed equal the output lengths of the resampler."""

import re

import numpy as np
import pytest
import soxr

from jaxasr import text
from jaxasr.data.batching.lengths import RaggedTokens, keys_at_speed, samples_at_speed, speed_ratio
from jaxasr.data.transforms import (
    DropMarkup,
    ExampleTable,
    FilterReason,
    KeepSeconds,
    KeepShare,
    KeepTokens,
    MapWords,
    Normalize,
    SpeedPerturb,
    Tokenize,
    check_order,
)

LETTERS = text.Characters(" ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def table(*texts: str, seconds: tuple[float, ...] | None = None) -> ExampleTable:
    return ExampleTable(np.array(seconds or [1.0] * len(texts)), list(texts))


def test_normalize_replaces_texts_and_names_what_it_cannot():
    done = Normalize("librispeech").apply(table("a cat,", "room 12", " -- "))
    assert done.texts == ["A CAT", "room 12", ""]
    assert [(index, found.reason) for index, found in done.filtered] == [
        (1, "text has no librispeech form"),
        (2, "text is empty"),
    ]
    assert "'1' in 'room 12'" in done.filtered[0][1].detail


def test_tokenize_packs_tokens_and_names_what_it_cannot():
    done = Tokenize(LETTERS).apply(table("AB", "É", "", "C"))
    assert done.tokens is not None
    assert [done.tokens[i].tolist() for i in range(4)] == [[2, 3], [], [], [4]]
    assert done.tokens.lengths.tolist() == [2, 0, 0, 1]
    assert [(index, found.reason) for index, found in done.filtered] == [(1, "text cannot be encoded")]
    assert "'É'" in done.filtered[0][1].detail


def test_keep_seconds_marks_both_sides():
    done = KeepSeconds(0.5, 2.0).apply(table("A", "B", "C", "D", seconds=(0.4, 0.5, 2.0, 2.25)))
    assert done.filtered == (
        (0, FilterReason("shorter than 0.5 s", "0.400 s")),
        (3, FilterReason("longer than 2 s", "2.250 s")),
    )


def kept(transform, texts=tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")):
    left_out = {index for index, _ in transform.apply(table(*texts)).filtered}
    return [index for index in range(len(texts)) if index not in left_out]


def test_shares_with_one_seed_lie_in_each_other():
    quarter, half = kept(KeepShare(0.25)), kept(KeepShare(0.5))
    assert (len(quarter), len(half)) == (6, 13)
    assert set(quarter) < set(half)
    assert half != list(range(13))
    assert kept(KeepShare(1.0)) == list(range(26))
    assert len(kept(KeepShare(0.001))) == 1


def test_another_seed_is_another_share():
    assert kept(KeepShare(0.5, seed=1)) != kept(KeepShare(0.5))


def test_a_share_is_of_the_corpus_and_says_so_by_utterance():
    """An utterance that another transform leaves out has its place too: the others stay or go as without it."""
    share = KeepShare(0.5)
    alone = {index for index, _ in share.apply(table("A", "B", "C", "D")).filtered}
    behind = share.apply(Tokenize(LETTERS).apply(table("A", "É", "C", "D"))).filtered
    assert behind[0][0] == 1
    assert "'É'" in behind[0][1].detail
    assert {index for index, found in behind if "share" in found.reason} == alone
    assert len(alone) == 2
    _, found = share.apply(table("A", "B", "C", "D")).filtered[0]
    assert found.reason == "outside a share of 0.5, seed 0"
    assert re.fullmatch(r"place [34] of 4, 2 are kept", found.detail)


def test_keep_tokens_marks_what_is_longer():
    done = KeepTokens(2).apply(Tokenize(LETTERS).apply(table("AB", "ABC")))
    assert done.filtered == ((1, FilterReason("more than 2 tokens", "3 tokens")),)
    with pytest.raises(ValueError, match="after Tokenize"):
        KeepTokens(2).apply(table("AB"))


def test_speeds_are_noted():
    assert SpeedPerturb((0.9, 1.0)).apply(table("A")).speeds == (0.9, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KeepSeconds(2.0, 1.0), r"KeepSeconds\(2.0, 1.0\)"),
        (lambda: KeepShare(0.0), r"KeepShare\(0\): a share above 0 and up to 1"),
        (lambda: KeepShare(1.5), r"KeepShare\(1.5\): a share above 0 and up to 1"),
        (lambda: KeepShare(float("nan")), "KeepShare"),
        (lambda: KeepTokens(0), "at least 1"),
        (lambda: SpeedPerturb(()), "one or more different"),
        (lambda: SpeedPerturb((1.0, 1.0)), "one or more different"),
        (lambda: SpeedPerturb((0.3,)), "between 0.5 and 2"),
        (lambda: SpeedPerturb((0.91234,)), "three decimals"),
        (lambda: check_order((KeepTokens(3), Tokenize(LETTERS))), "after Tokenize"),
        (lambda: check_order((Tokenize(LETTERS), Normalize("upper"))), "before Tokenize"),
        (lambda: check_order((Normalize("upper"),)), "exactly one Tokenize"),
        (lambda: check_order((Tokenize(LETTERS), SpeedPerturb(), SpeedPerturb())), "one SpeedPerturb at most"),
    ],
)
def test_mistakes_are_named(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("factor", [0.9, 1.1, 0.95, 0.8, 1.25, 0.875])
@pytest.mark.parametrize("native_hz", [8_000, 16_000, 11_025, 44_100, 48_000])
def test_lengths_at_a_speed_are_exact(factor: float, native_hz: int):
    samples = np.array([1, 2, 3, 4, 5, 6, 7, 10, 99, 100, 1_001, 20_000, 20_003, 50_001])
    planned = samples_at_speed(samples, np.full(len(samples), native_hz), factor=factor, rate_hz=16_000)
    ratio = speed_ratio(factor)
    resampled = [
        len(soxr.resample(np.zeros(count, np.int16), native_hz * ratio.numerator, 16_000 * ratio.denominator))
        for count in samples
    ]
    assert planned.tolist() == resampled


def test_the_example_of_the_docstring():
    assert samples_at_speed(np.array([16_000]), np.array([16_000]), factor=0.9, rate_hz=16_000).tolist() == [17_778]


def test_speed_changes_the_key_and_factor_one_does_not():
    keys = np.arange(1_000, dtype=np.uint32)
    assert keys_at_speed(keys, 1.0) is keys
    slow = keys_at_speed(keys, 0.9)
    fast = keys_at_speed(keys, 1.1)
    assert len(set(keys.tolist() + slow.tolist() + fast.tolist())) > 2_990
    np.testing.assert_array_equal(slow, keys_at_speed(keys[::-1].copy(), 0.9)[::-1])


def test_ragged_keeps_empty_sequences():
    ragged = RaggedTokens.from_sequences([[], [1, 2], [], [3]])
    assert [ragged[i].tolist() for i in range(4)] == [[], [1, 2], [], [3]]


def test_drop_markup_removes_units_and_filters_what_is_left_empty():
    made = DropMarkup().apply(table("[noise] YES %uh", "<unk>", "NO  MARKUP"))
    assert list(made.texts) == ["YES", "", "NO  MARKUP"]
    assert made.filtered == ((1, FilterReason("text is empty", "nothing is left to learn")),)


def test_map_words_replaces_whole_words():
    made = MapWords((("%uh", "UH"), ("[noise]", ""))).apply(table("[noise] %uh YES", "[noise]"))
    assert list(made.texts) == ["UH YES", ""]
    assert [i for i, _ in made.filtered] == [1]


@pytest.mark.parametrize("words", [(), (("a", "b"), ("a", "c")), (("a b", "c"),), (("", "c"),)])
def test_map_words_needs_different_words(words: tuple[tuple[str, str], ...]):
    with pytest.raises(ValueError, match="different words without blanks"):
        MapWords(words)


def test_texts_are_changed_before_they_are_normalised_and_tokenised():
    tokenize = Tokenize(LETTERS)
    check_order((DropMarkup(), MapWords((("a", "b"),)), Normalize("upper"), tokenize))
    check_order((Normalize("upper"), MapWords((("a", "b"),)), tokenize))
    with pytest.raises(ValueError, match="DropMarkup has to come before it"):
        check_order((Normalize("upper"), DropMarkup(), tokenize))
    with pytest.raises(ValueError, match="MapWords changes texts, so it has to come before Tokenize"):
        check_order((tokenize, MapWords((("a", "b"),))))
