"""The evaluations of a training run: made once, after the state is saved, and recorded in its checkpoint.

They can end the run early (`Experiment.patience`). The lines of metrics decide that, so a resumed run ends where an unbroken
one does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from jaxasr.experiment import early_stopping
from jaxasr.experiment.workdir import Workdir
from jaxasr.run.clocks import Clocks
from jaxasr.run.interrupt import StopRequests, TrainingInterrupt
from jaxasr.run.reports import RunReports
from jaxasr.run.stage_trainer import CheckpointState, StageTrainer
from jaxasr.scale.hosts import broadcast_from_primary
from jaxasr.training import Checkpoints, Evaluation, read_metrics


@dataclass(frozen=True)
class Validation:
    """The evaluations on the validation split. One that an earlier attempt recorded is not made again."""

    checkpoints: Checkpoints
    run_dir: Workdir
    requests: StopRequests
    reports: RunReports
    clocks: Clocks

    def evaluate(self, stage: StageTrainer, saved: CheckpointState, done: int) -> CheckpointState:
        """Returns the state after the evaluation of a step: it differs if the optimizer has a plateau rule.

        Args:
            stage: the stage that the step belongs to.
            saved: the state that is saved as this step's checkpoint.
            done: steps done.

        Raises:
            TrainingInterrupt: a signal came; the next attempt makes the evaluation.
        """
        with self.clocks.pause("evaluation"):
            evaluation = self.checkpoints.evaluation(done)
            if evaluation is None:
                evaluation = self._make(stage, saved, done)
                self.checkpoints.record(done, evaluation)
            self.reports.evaluation(done, evaluation, stage.evaluator.data)
            return replace(saved, train=stage.update_plateau(saved.train, evaluation.scores))

    def make_up(self, stage: StageTrainer, saved: CheckpointState, done: int) -> CheckpointState:
        """Returns the state from which an attempt goes on that begins after `done` steps, as `evaluate` does.

        An evaluation that is due there may be missing, because the attempt before ended while it was made.
        """
        if is_due(stage, done) and self.checkpoints.is_evaluated_later(done):
            return self.evaluate(stage, saved, done)
        return saved

    def remaining_steps(self, stage: StageTrainer, done: int) -> Iterator[int]:
        """Yields the numbers of the steps after `done` to the end of a stage, or until the patience of the run is at an end.

        Every process iterates over them.
        """
        experiment = stage.experiment
        for number in range(done, experiment.steps):
            if is_due(stage, number) and is_out_of_patience(stage, self.run_dir, number):
                self.reports.print(
                    f"step {number:,}: training ends early; the last {experiment.patience} evaluations brought no lower "
                    f"{experiment.ranked_by} (patience={experiment.patience})"
                )
                return
            yield number

    def _make(self, stage: StageTrainer, saved: CheckpointState, done: int) -> Evaluation:
        stopping = self.requests.stopping_evaluation(
            lambda signum: TrainingInterrupt(signum, done), lambda: self.checkpoints.is_complete(done)
        )
        with stopping as before_batch:
            result = stage.evaluate(saved.train, self.run_dir, before_batch)
        return Evaluation(result.scores, stage.is_last, result.attention, result.line)


def is_due(stage: StageTrainer, done: int) -> bool:
    """Returns True if the validation split is decoded after so many steps: regularly, and at the end of each stage."""
    return done > 0 and (done == stage.experiment.steps or done % stage.experiment.eval_every == 0)


def is_finished(stage: StageTrainer, checkpoints: Checkpoints, run_dir: Workdir, done: int) -> bool:
    """Returns True if no step, no evaluation and no line of metrics of the run is missing. Every process calls it."""
    complete = (
        stage.is_last
        and (done == stage.experiment.steps or is_out_of_patience(stage, run_dir, done))
        and (not checkpoints.is_evaluated_later(done) or checkpoints.evaluation(done) is not None)
        and RunReports.has_evaluation(run_dir, done)
    )
    return broadcast_from_primary("finished", str(complete)) == str(True)


def is_out_of_patience(stage: StageTrainer, run_dir: Workdir, done: int) -> bool:
    """Returns True if the evaluations up to step `done` end the run. Every process of a job calls it."""
    if stage.experiment.patience is None or not stage.is_last:
        return False
    rows = read_metrics(run_dir.metrics) if run_dir.metrics.is_file() else []
    ended = early_stopping.is_out_of_patience(stage.experiment, rows, done)
    return broadcast_from_primary("patience", str(ended)) == str(True)
