"""What is done between two steps: lines are written, the model is judged, checkpoints are saved."""

from dataclasses import dataclass, field, replace
from typing import Any

from jaxasr import report
from jaxasr.evaluation.attention_metrics import Alarm, said_of
from jaxasr.evaluation.decode_split import evaluated_variables
from jaxasr.experiment.experiment import Experiment, decided_by
from jaxasr.experiment.workdir import Workdir
from jaxasr.files import write_whole
from jaxasr.run.goodput import Goodput
from jaxasr.run.steps import Moment, Saved, Steps
from jaxasr.run.throughput import Pace
from jaxasr.scale import Watchdog
from jaxasr.training import Checkpoints, Writer, judged, read_metrics


@dataclass
class Books:
    """Those of one run, open as long as it goes."""

    workdir: Workdir
    checkpoints: Checkpoints
    writer: Writer
    goodput: Goodput
    bar: report.Progress
    watchdog: Watchdog
    workers: int
    alarm: Alarm = field(default_factory=Alarm)

    def __post_init__(self):
        said_of(read_metrics(self.workdir.metrics), self.alarm)  # what earlier lives have said is not said again

    def settle(self, moment: Moment, steps: Steps, pace: Pace) -> None:
        """All that is due after a step; `moment.saved` is what the next one goes on from."""
        self.bar.advance(1, **moment.shown)
        self.watchdog.beat(moment.done - 1)  # the last one whose sums have come
        self._write(moment.done, moment.means)
        scores = self._judge(moment, steps, pace) if moment.judges else None
        if moment.saves:
            with self.watchdog.pause(), self.goodput.spent("checkpoint"):
                ranked = scores if steps.own else None
                self.checkpoints.save(moment.done, moment.saved, steps.metadata, ranked, wait=moment.stops)
            self.goodput.write(moment.done)  # what the next life, which may begin here, goes on from
        if moment.stops or moment.done == steps.experiment.steps:
            self.bar.say(pace.told())

    def _write(self, done: int, row: dict[str, float]) -> None:
        if row:
            self.writer.write(done, row)
        for line in self.alarm.lines(done, row):
            self.bar.say(line)

    def _judge(self, moment: Moment, steps: Steps, pace: Pace) -> dict[str, float]:
        experiment = steps.experiment
        variables = evaluated_variables(experiment, moment.saved.train)
        with self.watchdog.pause(), self.goodput.spent("evaluation"):
            verdict = steps.judge(variables, self.workdir, workers=self.workers)
        moment.saved = _judged(experiment, moment.saved, verdict.scores[decided_by(experiment.model)])
        self.bar.say(f"step {moment.done:,}: {verdict.line}")
        self._write(moment.done, {f"watch/{name}": each for name, each in (verdict.scores | verdict.watched).items()})
        with self.goodput.spent("evaluation"):
            self._show(pace.told())
        return verdict.scores

    def _show(self, summary: str) -> None:
        """Draws the curves and writes the run's page."""
        workdir, rows = self.workdir, read_metrics(self.workdir.metrics)
        report.pictures.curves(rows, path=workdir.pictures / "curves.png")
        pictures: list[Any] = [workdir.pictures / "curves.png", *sorted(workdir.pictures.glob("alignment.*.png"))]
        page = report.page(
            workdir.path.resolve().name,
            metrics=rows,
            warnings=said_of(rows, Alarm()),
            pictures=[path.relative_to(workdir.path) for path in pictures],
            experiment=workdir.experiment.read_text(encoding="utf-8"),
            summary=summary,
        )
        write_whole(workdir.page, page)


def _judged(experiment: Experiment, saved: Saved, score: float) -> Saved:
    """With what the optimizer makes of a score."""
    rule = experiment.optimizer.on_plateau
    if rule is None:
        return saved
    return replace(saved, train=replace(saved.train, optimizer=judged(saved.train.optimizer, rule, score)))
