"""Training, from top to bottom: where the four wings meet.

The position in everything is one integer, the step. A checkpoint holds the state and the sums of the metrics since the last
line of the log; so a run that was killed and started again writes the very lines, and comes to the very parameters, of one
that was not.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import jax

from jaxasr import report, tree
from jaxasr.cost.chips import chip_of, chips_among
from jaxasr.data import OpenPipeline
from jaxasr.evaluation.language_models import NO_LMS, language_models
from jaxasr.experiment.experiment import Experiment, decided_by
from jaxasr.experiment.runtime import Machine
from jaxasr.experiment.workdir import Workdir
from jaxasr.run.books import Books
from jaxasr.run.goodput import Goodput
from jaxasr.run.initial_state import Elders, initial_state
from jaxasr.run.interrupt import Interrupted, Requests, requests_to_stop
from jaxasr.run.metric_log import Log, Witness
from jaxasr.run.same_run import refuse_another
from jaxasr.run.steps import Saved, Steps
from jaxasr.run.throughput import Pace
from jaxasr.scale import is_first
from jaxasr.training import Checkpoints, Writer

Say = Callable[[str], None]


def train(
    experiment: Experiment,
    folder: Path,
    machine: Machine,
    *,
    teacher: Path | None = None,
    fused: Path | None = None,
    lms: Mapping[str, str] = NO_LMS,
    say: Say = print,
    witness: Witness | None = None,
    began_s: float | None = None,
) -> None:
    """Trains to the experiment's last step, from the start or from where an earlier run came to.

    Args:
        folder: the run's own: checkpoints, metrics, pictures, hypotheses.
        machine: where it runs; no number depends on it beyond float tolerance.
        teacher: the workdir of the run that teaches, where the experiment has a teacher; read at the first step only.
        fused: that of the run that trained the language model that the decoder fuses, if it does; likewise.
        lms: where the language models are that the watched search fuses, by name.
        say: takes the lines that are for people.
        witness: is told of each step when its sums are known (verify/resume.py).
        began_s: when this life of the run began, by time.perf_counter; None: now.

    Raises:
        ValueError: the folder is another run's, or in use; or the job's processes are not about to make one run.
        Interrupted: SIGTERM or SIGINT came; all is saved.
        Diverged: a loss is not finite; the step, its utterances and the last finite step are named.
    """
    with (
        Workdir.here(folder) as here,
        here.held() as workdir,
        Goodput(workdir.path, began_s=began_s) as goodput,
    ):
        say = say if is_first() else _nothing
        data = experiment.train_data.open(machine.data_dir)
        models = language_models(lms, experiment.tokenizer).models
        stages = [Steps.of(each, data, machine, models, own=each is experiment) for each in experiment.stages]
        workdir.keep_experiment(experiment)
        for line in introduction(experiment, data):
            say(line)
        with Checkpoints(
            workdir.checkpoints,
            keep_last=experiment.keep_last,
            keep_best=experiment.keep_best,
            by=decided_by(experiment.model),
        ) as checkpoints:
            done = checkpoints.last() or 0
            refuse_another(experiment, data, done)
            left = [each for each in stages if each.experiment.steps >= done]
            with goodput.spent("restore" if done else "other"):
                saved = left[0].restored(checkpoints, say) if done else left[0].first(Elders(teacher, fused))
            goodput.go_on(done)
            with (
                requests_to_stop() as requests,
                Writer(workdir.path, resume_step=done) as writer,
                report.Progress(experiment.steps, "train", "steps", done=done, quiet=not is_first()) as bar,
                machine.watchdog(folder) as watchdog,
            ):
                books = Books(workdir, checkpoints, writer, goodput, bar, watchdog, machine.workers)
                for number, steps in enumerate(left):
                    if number > 0:
                        with watchdog.pause(), goodput.spent("other"):
                            saved = steps.grown_from(saved, bar.say)
                    saved = _trained(steps, saved, books, requests, witness)


def _trained(steps: Steps, saved: Saved, books: Books, requests: Requests, witness: Witness | None) -> Saved:
    """What a stage comes to, from where it stands to its last step."""
    pace = _pace(steps, books)
    log = Log(saved.window, folder=books.workdir.path, witness=witness)
    with (
        closing(steps.after(saved, log, pace, requests)) as moments,
        books.goodput.spent("step"),
    ):
        for moment in moments:
            books.settle(moment, steps, pace)
            if moment.stops:
                raise Interrupted(requests.signum, moment.done)
            saved = moment.saved
    return saved


def _pace(steps: Steps, books: Books) -> Pace:
    """What measures the run on the devices of its step."""
    pipeline, devices = steps.experiment.train_data, list(steps.step.mesh.devices.flat)
    return Pace(
        books.workdir.path,
        rate_hz=pipeline.rate_hz if pipeline.shapes.audio else None,
        goodput=books.goodput,
        chip=chip_of(devices[0].device_kind),
        chips=chips_among(devices),
    )


def _nothing(_: str) -> None:
    """What another process than the first says."""


def introduction(experiment: Experiment, data: OpenPipeline) -> list[str]:
    """What a run is, in a few lines: fingerprint, size, data, shapes, what is left out."""
    *smaller, own = (_millions(each, data) for each in experiment.stages)
    lines = [
        f"experiment {tree.fingerprint(experiment)}: {own} M parameters, {experiment.steps:,} steps, "
        f"seed {experiment.seed}, data {data.hash}, vocabulary {experiment.tokenizer.size} ({experiment.tokenizer.digest})",
        *(
            f"until step {stage.until:,}: {size} M parameters, {', '.join(stage.changes)}"
            for stage, size in zip(experiment.pretraining, smaller, strict=True)
        ),
        *data.describe().splitlines(),
    ]
    return lines + [f"left out: {each.corpus} {each.id}: {each.reason} ({each.detail})" for each in data.skipped[:20]]


def _millions(experiment: Experiment, data: OpenPipeline) -> str:
    shapes = jax.eval_shape(lambda: initial_state(experiment, data))
    return f"{sum(leaf.size for leaf in jax.tree.leaves(shapes.params)) / 1e6:.2f}"
