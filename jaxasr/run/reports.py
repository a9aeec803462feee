"""The reports of a training run: lines of metrics, warnings, curves, and the page of the run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxasr import report
from jaxasr.evaluation.attention_metrics import AttentionCollapseMonitor, replay_warnings
from jaxasr.experiment.workdir import Workdir
from jaxasr.files import write_whole
from jaxasr.training import Evaluation, Writer, read_metrics

VALIDATION = "validation/"  # begins the names of the metrics of an evaluation
WARNINGS = "the attention monitor"  # its name in messages


class RunReports:
    """The reports of one run. They are measurements: no parameter depends on them."""

    def __init__(self, workdir: Workdir, writer: Writer, bar: report.Progress, measurements: report.Measurements):
        """Replays the warnings of earlier attempts, so that none is printed twice.

        Args:
            workdir: takes the curves and the page.
            writer: takes the lines of metrics.
            bar: prints lines for people.
            measurements: those of the run; everything but the lines of metrics is one of them.
        """
        self._measurements = measurements
        self._workdir = workdir
        self._writer = writer
        self._bar = bar
        self._monitor = AttentionCollapseMonitor()
        rows = read_metrics(workdir.metrics)
        self._evaluated = _evaluated_steps(rows)
        with measurements.optional(WARNINGS):
            replay_warnings(rows, self._monitor)

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

    def evaluation(self, step: int, evaluation: Evaluation, summary: Callable[[], str]) -> None:
        """Prints and writes the result of an evaluation, and draws the curves and the page anew.

        Nothing is done if an earlier attempt has written the line of metrics.

        Args:
            step: steps done.
            evaluation: the result on the validation split.
            summary: returns a line about the time and the speed of the run, for the page.
        """
        if step in self._evaluated:
            return
        self._bar.print(f"step {step:,}: {evaluation.line}")
        values = {**evaluation.scores, **evaluation.attention}
        self.write(step, {f"{VALIDATION}{name}": value for name, value in values.items()})
        with self._measurements.optional("the page of the run"):
            self._draw(summary())

    def _draw(self, summary: str) -> None:
        """Draws the curves and writes the page of the run."""
        workdir = self._workdir
        rows = read_metrics(workdir.metrics)
        curves = workdir.pictures / "curves.png"
        with self._measurements.optional("the picture of the curves"):
            report.pictures.curves(rows, path=curves)
        pictures: list[Any] = [curves, *sorted(workdir.pictures.glob("alignment.*.png"))]
        page = report.page(
            workdir.path.resolve().name,
            metrics=rows,
            warnings=replay_warnings(rows, AttentionCollapseMonitor()),
            pictures=[path.relative_to(workdir.path) for path in pictures],
            experiment=workdir.experiment.read_text(encoding="utf-8"),
            summary=summary,
        )
        write_whole(workdir.page, page)


def _evaluated_steps(rows: Sequence[Mapping[str, Any]]) -> set[int]:
    return {int(row["step"]) for row in rows if any(name.startswith(VALIDATION) for name in row)}
