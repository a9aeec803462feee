"""The end of a run that is out of patience, from its lines of metrics alone."""

from dataclasses import replace

import pytest

from jaxasr.experiment import Stage
from jaxasr.experiment.early_stopping import evaluations_since_best, is_out_of_patience
from tests import tiny_experiments as tiny

ROWS = [{"step": step, "validation/wer": wer} for step, wer in ((1, 0.3), (2, 0.5), (3, 0.4), (4, 0.45), (5, 0.4))]


@pytest.mark.parametrize(
    ("scores", "waited"),
    [([], 0), ([0.5], 0), ([0.5, 0.5, 0.4], 0), ([0.4, 0.4, 0.5], 2), ([float("nan"), float("inf")], 2)],
)
def test_evaluations_since_the_best(scores, waited):
    assert evaluations_since_best(scores) == waited


@pytest.mark.parametrize(
    ("patience", "begin", "ends"),
    [(None, 0, []), (1, 0, [2, 3, 4, 5]), (2, 0, [3, 4, 5]), (1, 1, [4, 5]), (2, 1, [5]), (9, 0, [])],
)
def test_a_run_ends_after_its_patience_whatever_comes_later(patience, begin, ends):
    """Evaluations up to the end of pretraining do not count, and lines of later steps are not read."""
    stages = (Stage(until=begin, changes=("objective.ctc_weight=0.3",)),) if begin else ()
    experiment = replace(tiny.experiment(), log_every=1, patience=patience, pretraining=stages)
    assert [done for done in range(6) if is_out_of_patience(experiment, ROWS, done)] == ends
