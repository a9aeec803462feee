"""Scripts without spaces: their letters are units of MER, and BLEU and ROUGE have tokens there."""

import pytest
import sacrebleu

from jaxasr.score import estimates, measure
from jaxasr.score.scripts import mixed_units, tokenizer_of_script


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("hello big world", "hello big world"),
        ("打开wifi吧", "打 开 wifi 吧"),
        ("今日は コーヒー", "今 日 は コ ー ヒ ー"),
        ("กี่โมง", "กี่ โ ม ง"),
        ("안녕 하세요", "안녕 하세요"),
        ("", ""),
    ],
)
def test_letters_of_scripts_without_spaces_are_units(text, units):
    assert mixed_units(text) == units


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        (["yes", "it does"], "13a"),
        (["안녕 하세요"], "13a"),
        (["नमस्ते दुनिया"], "13a"),
        (["我们 明天 去", "打开wifi"], "zh"),
        (["今日はとても寒い"], "char"),
        (["กี่โมงแล้ว"], "char"),
        (["the word 中 in a long english sentence of many letters"], "13a"),
        ([""], "13a"),
    ],
)
def test_the_tokenizer_fits_the_script(texts, name):
    assert tokenizer_of_script(texts) == name


@pytest.mark.parametrize(
    ("references", "hypotheses", "name"),
    [
        (
            ["今日はとても寒いですね", "明日も雨が降るでしょう"],
            ["今日はとても寒いですよ", "明日は雨が降るでしょう"],
            "char",
        ),
        (["我们明天一起去公园玩吧", "打开客厅的灯"], ["我们明天一起去公园吧", "打开客厅灯"], "zh"),
    ],
)
def test_without_spaces_scores_are_over_characters(references, hypotheses, name):
    """BLEU is sacrebleu's of that tokenizer; WER counts whole utterances, MER and CER do not."""
    scores = measure(references, hypotheses)
    expected = sacrebleu.corpus_bleu(hypotheses, [references], tokenize=name).score / 100
    assert scores.tokenizer == name
    assert scores.bleu == pytest.approx(expected)
    assert expected > 0.4
    assert scores.rouge_l > 0.8
    assert (scores.wer, scores.mer) == (1.0, scores.cer)
    found = estimates(scores)
    assert found["mer"].value == found["cer_no_spaces"].value == scores.cer_no_spaces


def test_spaces_count_in_cer_and_not_in_cer_no_spaces():
    scores = measure(["ab cd"], ["abcd"])
    assert (scores.cer, scores.cer_no_spaces, scores.mer, scores.wer) == (0.2, 0.0, 1.0, 1.0)


def test_scores_that_do_not_apply_are_none():
    """No reference of one word has a pair or four words in a row; with one long reference BLEU applies and may be 0."""
    short = measure(["yes", "no"], ["yes", "no"])
    assert short.bleu is None
    assert {"bleu", "rouge_2"}.isdisjoint(estimates(short))
    assert "rouge_1" in estimates(short)
    silent = measure(["one two three four"], [""])
    assert silent.bleu == 0.0
    assert estimates(silent)["bleu"].value == 0.0
    assert "rouge_1" not in estimates(measure([""], ["x"]))
