"""The evaluator against independent counts and against the tools it is built on."""

import jiwer
import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from jaxasr.score import measure
from tests.reference.edit_distance import distance

REFERENCES = ["the cat sat on the mat", "yes", "", "hello world how are you"]
HYPOTHESES = ["the cat sat on mat", "yes", "noise here", "hello word how you are"]


def test_the_numbers_of_a_small_set():
    scores = measure(REFERENCES, HYPOTHESES)
    assert [utterance.words.errors for utterance in scores.utterances] == [1, 0, 2, 3]
    assert scores.words.references == 6 + 1 + 0 + 5
    assert scores.wer == 6 / 12
    assert scores.words.insertions - scores.words.deletions == 2 - 1  # words of the hypotheses less those said
    assert scores.ser == 3 / 4
    characters = [distance(reference, hypothesis) for reference, hypothesis in zip(REFERENCES, HYPOTHESES, strict=True)]
    assert scores.cer == sum(characters) / sum(map(len, REFERENCES))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.text("ab ", max_size=9), st.text("ab ", max_size=9)), min_size=1, max_size=6))
def test_error_rates_are_those_of_an_independent_count(pairs):
    scores = measure(*(list(texts) for texts in zip(*pairs, strict=True)))
    errors = sum(distance(reference.split(), hypothesis.split()) for reference, hypothesis in pairs)
    words = sum(len(reference.split()) for reference, _ in pairs)
    assert scores.words.errors == errors
    assert scores.wer == (errors / words if words else float("inf") if errors else 0.0)
    assert all(0 <= value <= 1 for value in (scores.bleu or 0.0, scores.rouge_1, scores.rouge_2, scores.rouge_l))


def test_wer_is_jiwers_where_jiwer_has_one():
    kept = [i for i, reference in enumerate(REFERENCES) if reference]
    references, hypotheses = [REFERENCES[i] for i in kept], [HYPOTHESES[i] for i in kept]
    assert measure(references, hypotheses).wer == pytest.approx(jiwer.wer(references, hypotheses))
    assert measure(references, hypotheses).cer == pytest.approx(jiwer.cer(references, hypotheses))


def test_bleu_is_sacrebleus():
    references = ["the cat sat on the mat today .", "He said: yes, it is so.", "", "a b c d e"]
    hypotheses = ["the cat sat on a mat today .", "He said yes, it is not so.", "x", ""]
    expected = sacrebleu.corpus_bleu(hypotheses, [references]).score / 100
    assert 0 < expected < 1
    assert measure(references, hypotheses).bleu == pytest.approx(expected)
    assert measure(references[:2], references[:2]).bleu == pytest.approx(1.0)
    assert measure([""], [""]).bleu is None


@pytest.mark.parametrize("hypothesis", ["the cat sat on a mat", "the dog sat at the mat", "x y z"])
def test_bleu_without_a_longer_match_is_smoothed_as_sacrebleu_does(hypothesis):
    """No four words in a row, or not even two, are right; or none at all."""
    reference = "the cat sat in the mat today"
    expected = sacrebleu.corpus_bleu([hypothesis], [[reference]]).score / 100
    assert (expected > 0) == bool(set(hypothesis.split()) & set(reference.split()))
    assert measure([reference], [hypothesis]).bleu == pytest.approx(expected)


def test_rouge_is_rouge_scores_mean_on_ascii():
    rouge = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    kept = [i for i, reference in enumerate(REFERENCES) if reference]
    found = [rouge.score(REFERENCES[i], HYPOTHESES[i]) for i in kept]
    scores = measure([REFERENCES[i] for i in kept], [HYPOTHESES[i] for i in kept])
    for name, value in (("rouge1", scores.rouge_1), ("rouge2", scores.rouge_2), ("rougeL", scores.rouge_l)):
        assert value == pytest.approx(np.mean([each[name].fmeasure for each in found]))


def test_rouge_reads_every_script_and_empty_texts():
    assert measure(["да нет", ""], ["да нет", ""]).rouge_1 == 1.0
    assert measure(["да нет"], ["нет"]).rouge_1 == pytest.approx(2 / 3)
    assert measure([""], ["x"]).rouge_l == 0.0


@pytest.mark.parametrize(("references", "hypotheses"), [([], []), (["a"], ["a", "b"])])
def test_no_utterance_and_unpaired_utterances_are_refused(references, hypotheses):
    with pytest.raises(ValueError, match=f"{len(references)} references and {len(hypotheses)} hypotheses"):
        measure(references, hypotheses)
