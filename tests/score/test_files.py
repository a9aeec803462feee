"""What is written for programs and for people."""

import json
import math
import os
from dataclasses import replace

import pytest

from jaxasr import score
from jaxasr.score.files import aligned_text
from tests.score.test_evaluate import FIRST, SECOND, decode_text, told


@pytest.fixture
def evaluation() -> score.EvalOutput:
    return score.evaluate(told, [FIRST, SECOND], decode_text)


def test_a_line_of_json_an_utterance(evaluation, tmp_path):
    score.write_hypotheses(evaluation, tmp_path / "new" / "hypotheses.dev.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "new" / "hypotheses.dev.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["u1", "u2", "u3", "u4"]
    assert rows[3] == {
        "id": "u4",
        "speaker": "berta",
        "reference": "no",
        "hypothesis": "no no no no no no",
        "score": -1.5,
        "finished": False,
        "substitutions": 0,
        "deletions": 0,
        "insertions": 5,
        "words": 1,
        "nbest": [
            {"text": "no no no no no no", "score": -1.5, "log_prob": -3.0, "finished": False},
            {"text": "no", "score": -2.5, "log_prob": -5.0, "finished": True},
        ],
    }
    assert sorted(os.listdir(tmp_path / "new")) == ["hypotheses.dev.html", "hypotheses.dev.jsonl", "hypotheses.dev.txt"]


def test_the_shares_of_scorers_stand_beside_the_log_probability(evaluation, tmp_path):
    last = evaluation.utterances[-1]
    shared = replace(last.candidates[0], shares={"attention": -2.123456, "words": -math.inf})
    told_again = replace(evaluation, utterances=(*evaluation.utterances[:-1], replace(last, candidates=(shared,))))
    score.write_hypotheses(told_again, tmp_path / "dev.jsonl")
    row = json.loads((tmp_path / "dev.jsonl").read_text().splitlines()[-1])
    assert row["nbest"][0]["shares"] == {"attention": -2.1235, "words": None}


def test_the_aligned_text(evaluation, tmp_path):
    score.write_hypotheses(evaluation, tmp_path / "dev.jsonl")
    assert (
        (tmp_path / "dev.txt").read_text()
        == """\
4 utterances, S 1, D 0, I 5 of 4 words
WER 150.00% (95% interval over 4 utterances: 0.02% to 1221469.34%), CER 172.73%, utterances with errors 50.00%
1 cut before their end: u4
1 repeating themselves: u4

speaker utterances      words        WER          S          D          I
berta            2          1    500.00%          0          0          5
anna             2          3     33.33%          1          0          0

words  utterances      words        WER          S          D          I
0               1          0          -          0          0          0
1               2          2    300.00%          1          0          5
2 to 3          1          2      0.00%          0          0          0

Most frequent errors (reference > hypothesis):
     5  * > no
     1  yes > maybe

u1: S 0, D 0, I 0 of 2 words, score -1.50
REF:  yes no
HYP:  yes no

u2: S 1, D 0, I 0 of 1 words, score -1.50
REF:  yes
HYP:  maybe
Eval: S

u3: S 0, D 0, I 0 of 0 words, score -1.50
REF:
HYP:

u4: S 0, D 0, I 5 of 1 words, score -1.50, cut before its end
REF:  no ** ** ** ** **
HYP:  no no no no no no
Eval:    I  I  I  I  I
"""
    )


def test_columns_stand_below_one_another():
    named = type(FIRST)(FIRST.batch, FIRST.ids, ("yes sir", "yes it is so", "ok"), FIRST.speakers)
    lines = list(aligned_text(score.evaluate(told, [named], decode_text)))
    start = lines.index("u2: S 1, D 3, I 0 of 4 words, score -1.50")
    assert lines[start + 1 : start + 4] == ["REF:  yes   it is so", "HYP:  maybe ** ** **", "Eval: S     D  D  D"]


def test_the_old_files_stay_if_the_new_ones_cannot_be_written(evaluation, tmp_path, monkeypatch):
    score.write_hypotheses(evaluation, tmp_path / "dev.jsonl")
    before = (tmp_path / "dev.jsonl").read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        score.write_hypotheses(evaluation, tmp_path / "dev.jsonl")
    assert (tmp_path / "dev.jsonl").read_text() == before
