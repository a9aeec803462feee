"""The row of a split that was decoded."""

from jaxasr import report, score
from jaxasr.evaluation.result_fields import row_of
from jaxasr.score.evaluate import Speed


def evaluation(references: list[str], hypotheses: list[str]) -> score.EvalOutput:
    """Each with one candidate."""
    rows = enumerate(zip(references, hypotheses, strict=True))
    utterances = tuple(
        score.Utterance(str(i), "anna", said, 16_000, (score.Candidate(heard, -1.0, -1.0, True),))
        for i, (said, heard) in rows
    )
    return score.EvalOutput(utterances, score.measure(references, hypotheses), Speed(0, 0.0))


def test_a_split_without_a_word_of_reference_has_a_row(tmp_path):
    """Noise alone, to see what a model makes of it: a rate has nothing to be a rate of, and the rest is told."""
    row = row_of(evaluation([""] * 3, ["yes", "", "no"]), 16_000)
    assert (row["wer"], row["cer"], row["oracle_wer"], row["insertions"]) == (None,) * 4
    assert row["intervals"]["wer"] == [0.0, None]  # in some draws nothing was heard
    assert (row["deletions"], row["ser"], row["words"], row["utterances"]) == (0.0, 0.666667, 0, 3)
    report.append(tmp_path / "results.jsonl", row)
    assert report.read(tmp_path / "results.jsonl") == [row]


def test_rates_are_fractions_with_their_intervals():
    row = row_of(evaluation(["yes no", "no"] * 20, ["yes no", "yes"] * 20), 16_000)
    assert row["wer"] == row["oracle_wer"] == 0.333333
    assert row["intervals"]["wer"][0] < 1 / 3 < row["intervals"]["wer"][1]
    assert row["audio_s_per_s"] is None
