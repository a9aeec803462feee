"""The reports of a training run: lines of metrics, warnings, curves, and the page of the run."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxasr import report
from jaxasr.data import BoundPipeline
from jaxasr.evaluation.attention_metrics import AttentionCollapseMonitor, replay_warnings
from jaxasr.evaluation.run_page import write_run_page
from jaxasr.experiment.early_stopping import VALIDATION
from jaxasr.experiment.workdir import Workdir
from jaxasr.scale import is_primary
from jaxasr.training import Evaluation, Writer, read_metrics

WARNINGS = "the attention monitor"  # its name in messages


class RunReports:
    """The reports of one run. They are measurements: no parameter depends on them."""

    def __init__(
        self,
        workdir: Workdir,
        bar: report.Progress,
        measurements: report.Measurements,
        *,
        resume_step: int = 0,
        trackers: tuple[str, ...] = (),
    ):
        """Opens the metrics, and replays the warnings of earlier attempts, so that none is printed twice.

        Args:
            workdir: takes the metrics, the curves and the page.
            bar: prints lines for people.
            measurements: those of the run; everything but the lines of metrics is one of them.
            resume_step: steps that are done; lines of later ones are removed.
            trackers: names of trackers besides TensorBoard; only the primary process has them.
        """
        self._measurements = measurements
        self._workdir = workdir
        own = trackers if is_primary() else ()
        self._writer = Writer(workdir.path, resume_step=resume_step, trackers=own, measurements=measurements)
        self._bar = bar
        self._monitor = AttentionCollapseMonitor()
        rows = read_metrics(workdir.metrics)
        self._evaluated = _evaluated_steps(rows)
        with measurements.optional(WARNINGS):
            replay_warnings(rows, self._monitor)

    def __enter__(self) -> "RunReports":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds a line of metrics, and prints the warnings that it gives.

        Args:
            step: steps done.
            metrics: numbers by name, such as "train/loss".
        """
        self._writer.write(step, metrics)
        with self._measurements.optional(WARNINGS):
            for line in self._monitor.warnings(step, metrics):
                self._bar.print(line)

    def print(self, line: str) -> None:
        """Prints a line for people; an empty one, of a measurement that failed, is left out."""
        if line:
            self._bar.print(line)

    @staticmethod
    def has_evaluation(workdir: Workdir, step: int) -> bool:
        """Returns True if the metrics in a workdir have the line of the evaluation of a step."""
        return workdir.metrics.exists() and step in _evaluated_steps(read_metrics(workdir.metrics))

    def evaluation(self, step: int, evaluation: Evaluation, data: BoundPipeline) -> None:
        """Prints and writes the result of an evaluation, and draws the curves and the page anew.

        Nothing is done if an earlier attempt has written the line of metrics.

        Args:
            step: steps done.
            evaluation: the result on the validation split.
            data: the validation split, whose worst utterances can be heard on the page.
        """
        if step in self._evaluated:
            return
        self._bar.print(f"step {step:,}: {evaluation.line}")
        values = {**evaluation.scores, **evaluation.attention}
        self.write(step, {f"{VALIDATION}{name}": value for name, value in values.items()})
        with self._measurements.optional("the page of the run"):
            write_run_page(self._workdir, {"validation": data}, self._measurements)


def _evaluated_steps(rows: Sequence[Mapping[str, Any]]) -> set[int]:
    return {int(row["step"]) for row in rows if any(name.startswith(VALIDATION) for name in row)}
