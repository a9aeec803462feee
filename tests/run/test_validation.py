"""Evaluations of a run that is interrupted: the state is saved before, none is lost, and none is written twice."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from jaxasr import training
from jaxasr.evaluation.evaluators import EvalResult
from jaxasr.experiment import RuntimeConfig, Stage
from jaxasr.run import TrainingInterrupt, train
from jaxasr.run.reports import RunReports
from jaxasr.run.stage_trainer import StageTrainer
from jaxasr.training import SavedCheckpoints, read_metrics
from tests import tiny_experiments as tiny
from tests.trained_run import saved_state

RECORDED = ("metrics.jsonl", "hypotheses.validation.jsonl")


class Killed(BaseException):
    """The end of an attempt, at a place that a test chooses."""


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_ends_in_its_evaluations_is_equal_to_one_that_does_not(trained_run, tmp_path, monkeypatch):
    """Four attempts: killed in an evaluation, killed before its line is written, told to stop in the last one, finished.
    The optimizer has a plateau rule, so an evaluation changes the state."""
    experiment = tiny.restless()
    runtime = RuntimeConfig(trained_run.data_dir)
    broken = tmp_path / "broken"
    printed: list[str] = []
    evaluations: list[int] = []
    evaluate, report = StageTrainer.evaluate, RunReports.evaluation

    def attempt(*, at_evaluation=lambda: None, at_report=lambda: None, folder=broken):
        def watched_evaluate(self, state, workdir, before_batch):
            evaluations.append(int(state.step))
            at_evaluation()
            return evaluate(self, state, workdir, before_batch)

        def watched_report(self, step, evaluation, summary):
            at_report()
            report(self, step, evaluation, summary)

        with monkeypatch.context() as patch:
            patch.setattr(StageTrainer, "evaluate", watched_evaluate)
            patch.setattr(RunReports, "evaluation", watched_report)
            train(experiment, folder, runtime, print_fn=printed.append)

    def kill():
        raise Killed

    def terminate():
        os.kill(os.getpid(), signal.SIGTERM)

    attempt(folder=tmp_path / "whole")
    assert evaluations == [4, 8]
    with pytest.raises(Killed):
        attempt(at_evaluation=kill)
    checkpoints = SavedCheckpoints(broken / "checkpoints")
    assert (checkpoints.steps(), checkpoints.evaluation(4)) == ([4], None)
    with pytest.raises(Killed):
        attempt(at_report=kill)
    assert checkpoints.evaluation(4) is not None
    assert [row for row in read_metrics(broken / "metrics.jsonl") if "validation/wer" in row] == []
    steps = []
    with pytest.raises(TrainingInterrupt, match="SIGTERM: saved after 8 steps; the same command resumes from there"):
        attempt(at_evaluation=lambda: steps.append(evaluations[-1]) or (evaluations[-1] == 8 and terminate()))
    assert (checkpoints.steps(), steps) == ([4, 8], [8])  # that of step 4 is not made again
    attempt()
    assert evaluations == [4, 8, 4, 4, 8, 8]

    left, right = (saved_state(tmp_path / name, 8) for name in ("whole", "broken"))
    assert left.keys() == right.keys()
    assert all(left[path].tobytes() == right[path].tobytes() for path in left)
    for name in (*RECORDED, "checkpoints/4/evaluation.json", "checkpoints/8/evaluation.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (broken / name).read_bytes(), name

    before = contents(broken)
    attempt()  # finished: nothing is left to do
    assert printed[-1] == "finished after 8 steps"
    assert contents(broken) == {**before, ".lock": b""}
    assert evaluations == [4, 8, 4, 4, 8, 8]


def test_the_selection_metric_ranks_checkpoints_and_lowers_the_rate(trained_run, tmp_path, monkeypatch):
    """As in a script without spaces: every word error rate is 100 %, and the mixed error rate falls and rises again."""
    experiment = replace(
        tiny.experiment(),
        optimizer=training.Adam(training.Constant(1e-3), on_plateau=training.Newbob(0.5)),
        selection_metric="mer",
        **dict.fromkeys(("eval_every", "save_every", "log_every"), 1),
        steps=4,
        evals={},
    )
    mixed = iter((0.5, 0.4, 0.45, 0.45))

    def evaluate(self, state, workdir, before_batch):
        return EvalResult("", {"wer": 1.0, "cer": 1.0, "mer": next(mixed)}, {})

    monkeypatch.setattr(StageTrainer, "evaluate", evaluate)
    train(experiment, tmp_path, RuntimeConfig(trained_run.data_dir), print_fn=str)
    assert SavedCheckpoints(tmp_path / "checkpoints", by="mer").best() == 2
    scales = [row["train/plateau_scale"] for row in read_metrics(tmp_path / "metrics.jsonl") if "train/loss" in row]
    assert scales == [1.0, 1.0, 1.0, 0.5]  # of the word error rate, 0.5 from the third step on


class Scores:
    """A stand-in for the evaluation of a stage, with given error rates, which can be killed."""

    def __init__(self, monkeypatch, scores):
        self.scores = scores
        self.killed_at = 0
        self.evaluated: list[int] = []
        monkeypatch.setattr(StageTrainer, "evaluate", lambda _, state, *__: self.evaluate(int(state.step)))

    def evaluate(self, step: int) -> EvalResult:
        if step == self.killed_at:
            self.killed_at = 0
            raise Killed
        self.evaluated.append(step)
        return EvalResult("", {"wer": self.scores[step], "cer": 1.0}, {})


@pytest.mark.parametrize("killed_at", [0, 3, 4])
def test_patience_ends_a_run_also_one_that_was_killed_in_an_evaluation(trained_run, tmp_path, monkeypatch, killed_at):
    every_step = dict.fromkeys(("eval_every", "save_every", "log_every"), 1)
    experiment = replace(tiny.experiment(), **every_step, steps=8, patience=2, evals={})
    scores = Scores(monkeypatch, {1: 0.9, 2: 0.5, 3: 0.5, 4: float("nan")})
    printed: list[str] = []

    def attempt():
        train(experiment, tmp_path, RuntimeConfig(trained_run.data_dir), print_fn=printed.append)

    if killed_at:
        scores.killed_at = killed_at
        with pytest.raises(Killed):
            attempt()
    attempt()
    assert scores.evaluated == [1, 2, 3, 4]
    checkpoints = SavedCheckpoints(tmp_path / "checkpoints")
    assert (max(checkpoints.steps()), checkpoints.best()) == (4, 3)  # of two equal ones, the newest
    before = contents(tmp_path)
    attempt()
    assert printed[-1] == "finished after 4 steps"
    assert contents(tmp_path) == {**before, ".lock": b""}


def test_patience_does_not_count_the_evaluations_of_pretraining(trained_run, tmp_path, monkeypatch):
    every_step = dict.fromkeys(("eval_every", "save_every", "log_every"), 1)
    stage = Stage(until=2, changes=("objective.ctc_weight=0.3",))
    experiment = replace(tiny.experiment(), **every_step, steps=8, patience=1, evals={}, pretraining=(stage,))
    scores = Scores(monkeypatch, {1: 0.1, 2: 0.2, 3: 0.9, 4: 0.8, 5: 0.8})
    train(experiment, tmp_path, RuntimeConfig(trained_run.data_dir), print_fn=str)
    assert scores.evaluated == [1, 2, 3, 4, 5]
