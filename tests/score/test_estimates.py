"""Every score has its interval."""

import pytest

from jaxasr.score import estimates, measure, rate_interval

REFERENCES = ["the cat sat on the mat", "yes", "", "hello world how are you", "one two three four five"] * 4
HYPOTHESES = ["the cat sat on mat", "yes", "noise", "hello word how you are", "one two three four five"] * 4


def test_values_are_the_scores_and_lie_within_their_intervals():
    scores = measure(REFERENCES, HYPOTHESES)
    found = estimates(scores)
    for name in ("wer", "cer", "ser", "bleu", "rouge_1", "rouge_2", "rouge_l"):
        assert found[name].value == pytest.approx(getattr(scores, name))
    assert found["deletions"].value == scores.words.deletions / scores.words.references
    kinds = ("substitutions", "deletions", "insertions")
    assert sum(found[kind].value for kind in kinds) == pytest.approx(scores.wer)
    for estimate in found.values():
        assert estimate.interval.low < estimate.value < estimate.interval.high


def test_the_wer_interval_is_that_of_its_errors():
    scores = measure(REFERENCES, HYPOTHESES)
    words = [utterance.words for utterance in scores.utterances]
    speakers = [i % 3 for i in range(len(words))]
    for blocks in (None, speakers):
        expected = rate_interval([each.errors for each in words], [each.references for each in words], blocks=blocks)
        found = estimates(scores, blocks=blocks)["wer"].interval
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_utterance_without_words():
    found = estimates(measure([""], ["x"]))
    assert found["wer"].value == found["wer"].interval.high == float("inf")
    assert estimates(measure([""], [""]))["wer"].value == 0.0
