"""Perplexities by hand: what the log probability of texts is divided by, and what counts nowhere."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from jaxasr.records import Batch
from jaxasr.score import PerplexityResult, TextScore, score_texts, write_texts


@dataclass(frozen=True)
class Few:
    """A labelled batch."""

    batch: Batch
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    speakers: tuple[str, ...]
    sample_lengths: tuple[int, ...] = ()  # there is no audio


def few(**texts: str) -> Few:
    """Texts by id, a token a letter; a digit is in no vocabulary. One row is padding."""
    lengths = [0 if any(map(str.isdigit, text)) else len(text) for text in texts.values()]
    rows = len(texts) + 1
    batch = Batch(
        wave_bn=np.zeros((rows, 0), np.int16),
        sample_lengths_b=np.zeros(rows, np.int32),
        tokens_bu=np.zeros((rows, max(lengths)), np.int32),
        token_lengths_b=np.array([*lengths, 0], np.int32),
        ids_b=np.zeros(rows, np.uint32),
        valid_b=np.arange(rows) < len(texts),
    )
    return Few(batch, tuple(texts), tuple(texts.values()), ("a",) * len(texts))


def halves(batch: Batch) -> np.ndarray:
    """A model that finds every token as probable as a toss of a coin."""
    return -np.log(2.0) * (batch.token_lengths_b + 1)


def test_by_token_by_word_and_by_character():
    """Nine and three letters and two ends are 14 coins; 3 + 1 words and the two ends are 6."""
    reading = score_texts(halves, [few(first="AB CD EFG"), few(second="YES")])
    assert [(each.tokens, each.words, each.characters) for each in reading.texts] == [(10, 4, 10), (4, 2, 4)]
    found = reading.estimates()
    assert {name: each.value for name, each in found.items()} == pytest.approx(
        {"perplexity": 2.0, "word_perplexity": 2.0 ** (14 / 6), "bits_per_character": 1.0}
    )
    assert (found["perplexity"].interval.low, found["perplexity"].interval.high) == pytest.approx((2.0, 2.0))
    assert found["word_perplexity"].interval.low < 2.0 ** (14 / 6) < found["word_perplexity"].interval.high


def test_speakers_are_the_units_where_there_are_five():
    """Log probabilities that a speaker shares: 12 texts of 6 speakers have the interval of 6 texts of twice the length."""
    shared = [-1.0, -2.0, -1.5, -1.2, -3.0, -2.2]
    texts = tuple(TextScore(str(n), f"s{n % 6}", "A", 2, shared[n % 6]) for n in range(12))
    once = tuple(TextScore(str(n), "", "A", 4, 2 * nats) for n, nats in enumerate(shared))
    reading = PerplexityResult(texts, ())
    assert reading.units.title == "6 speakers"
    by_speaker = reading.estimates()["perplexity"].interval
    expected = PerplexityResult(once, ()).estimates()["perplexity"].interval
    assert (by_speaker.low, by_speaker.high) == pytest.approx((expected.low, expected.high))
    by_text = reading.estimates("utterances")["perplexity"].interval
    assert by_speaker.low < by_text.low < by_text.high < by_speaker.high


def test_what_the_vocabulary_can_not_write_counts_nowhere_and_is_named(tmp_path):
    reading = score_texts(halves, [few(good="YES", bad="42")])
    assert reading.out_of_vocabulary == ("bad",)
    assert [each.id for each in reading.texts] == ["good"]
    with pytest.raises(ValueError, match="no text to read; the vocabulary has no tokens for 1"):
        score_texts(halves, [few(bad="42")])
    write_texts(reading, tmp_path / "runs" / "texts.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "runs" / "texts.jsonl").read_text().splitlines()]
    assert rows == [
        {"id": "good", "text": "YES", "tokens": 4, "words": 2, "log_prob": -2.772589, "bits_per_character": 1.0},
        {"id": "bad", "text": None, "tokens": None, "words": None, "log_prob": None, "bits_per_character": None},
    ]


def test_what_is_not_finite():
    with pytest.raises(FloatingPointError, match="log probability of first is NaN"):
        score_texts(lambda batch: np.full(2, np.nan), [few(first="YES")])
    hopeless = PerplexityResult((TextScore("a", "", "A", 2, -1e9),), ()).estimates()["perplexity"]
    assert np.isfinite(hopeless.value)
