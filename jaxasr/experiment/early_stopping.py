"""The end of a run whose evaluations bring no new best: a function of its lines of metrics, so every reader agrees on it."""

import math
from collections.abc import Iterable, Mapping, Sequence

from jaxasr.experiment.experiment import Experiment

VALIDATION = "validation/"  # begins the names of the metrics of an evaluation


def is_out_of_patience(experiment: Experiment, rows: Iterable[Mapping[str, int | float]], done: int) -> bool:
    """Returns True if the evaluations up to step `done` end the run.

    Evaluations of the stages of pretraining do not count, because their checkpoints are not ranked.

    Args:
        experiment: the run's own experiment.
        rows: the lines of its metrics.
        done: steps done.
    """
    if experiment.patience is None:
        return False
    begin = max((stage.until for stage in experiment.pretraining), default=0)
    name = f"{VALIDATION}{experiment.ranked_by}"
    scores = [float(row[name]) for row in rows if name in row and begin < row["step"] <= done]
    return evaluations_since_best(scores) >= experiment.patience


def evaluations_since_best(scores: Sequence[float]) -> int:
    """Returns the number of scores after the first one that none is below; NaN is never the best."""
    best = math.inf
    waited = 0
    for score in scores:
        waited += 1
        if score < best:
            best = score
            waited = 0
    return waited
