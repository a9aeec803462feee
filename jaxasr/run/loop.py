"""Training, from top to bottom: where the four wings meet.

The position in everything is one integer, the step. A checkpoint holds the state and the sums of the metrics since the last
line of the log; so a run that was killed and started again writes the very lines, and comes to the very parameters, of one
that was not.
"""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

from jaxasr import report, tree
from jaxasr.data import OpenPipeline
from jaxasr.records import pytree
from jaxasr.run.begin import Elders, blank_batch, bound_objective, initial_state, measured, metadata_of
from jaxasr.run.evaluate import evaluated_variables
from jaxasr.run.experiment import Experiment, decided_by
from jaxasr.run.goodput import Goodput
from jaxasr.run.interrupt import Interrupted, Requests, requests_to_stop
from jaxasr.run.judges import judge_of
from jaxasr.run.language_models import NO_LMS, language_models
from jaxasr.run.log import Log, Window, Witness, empty_window
from jaxasr.run.machine import Machine
from jaxasr.run.pace import Pace
from jaxasr.run.watch import Alarm, said_of
from jaxasr.run.work import counted_step, pure_step
from jaxasr.run.workdir import Workdir
from jaxasr.scale import CompiledStep, compile_step, is_first
from jaxasr.scale.chips import chip_of, chips_among
from jaxasr.train import Checkpoints, Metadata, TrainState, Writer, judged, read_metrics, scale_of
from jaxasr.train.writer import write_whole

Say = Callable[[str], None]


@pytree
@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds."""

    train: TrainState
    window: Window


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
        witness: is told of each step when its sums are known (run/verify_resume.py).
        began_s: when this life of the run began, by time.perf_counter; None: now.

    Raises:
        ValueError: the folder is another run's, or in use.
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
        judge = judge_of(experiment, "watch", experiment.watch, machine.data_dir, models, machine.how)
        workdir.keep_experiment(experiment)
        for line in introduction(experiment, data):
            say(line)

        objective = bound_objective(experiment, data)
        pure = pure_step(experiment, objective)
        step = compile_step(pure, machine.how, layout=machine.layout, rules=machine.rules)
        for shape in data.shapes:
            step.refuse_uneven(shape.examples)
        metadata = metadata_of(experiment, data)
        with Checkpoints(
            workdir.checkpoints,
            keep_last=experiment.keep_last,
            keep_best=experiment.keep_best,
            by=decided_by(experiment.model),
        ) as checkpoints:
            with goodput.spent("other" if checkpoints.last() is None else "restore"):
                start = _first_or_last(experiment, data, pure, step, checkpoints, metadata, Elders(teacher, fused), say)
            done, alarm = int(start.train.step), Alarm()
            goodput.go_on(done)
            pace = _pace(experiment, workdir, step, goodput)
            counted = counted_step(experiment, objective, step.function)
            with (
                requests_to_stop() as requests,
                Writer(workdir.path, resume_step=done) as writer,
                report.Progress(experiment.steps, "train", "steps", done=done, quiet=not is_first()) as bar,
                machine.watchdog(folder) as watchdog,
                closing(
                    _steps(experiment, data, step, counted, start, machine, workdir, requests, witness, pace)
                ) as moments,
                goodput.spent("step"),
            ):
                said_of(read_metrics(workdir.metrics), alarm)
                for moment in moments:
                    bar.advance(1, **moment.shown)
                    watchdog.beat(moment.done - 1)  # the last one whose sums have come
                    if moment.means:
                        writer.write(moment.done, moment.means)
                    news = alarm.lines(moment.done, moment.means)
                    metrics = None
                    if moment.judges:
                        variables = evaluated_variables(experiment, moment.saved.train)
                        with watchdog.pause(), goodput.spent("evaluation"):
                            verdict = judge(variables, workdir, workers=machine.workers)
                        metrics = verdict.scores
                        moment.saved = _judged(experiment, moment.saved, metrics[decided_by(experiment.model)])
                        bar.say(f"step {moment.done:,}: {verdict.line}")
                        row = {f"watch/{name}": value for name, value in (metrics | verdict.watched).items()}
                        writer.write(moment.done, row)
                        news += alarm.lines(moment.done, row)
                        with goodput.spent("evaluation"):
                            _show(workdir, pace.told())
                    for line in news:
                        bar.say(line)
                    if moment.saves:
                        with watchdog.pause(), goodput.spent("checkpoint"):
                            checkpoints.save(moment.done, moment.saved, metadata, metrics, wait=moment.stops)
                        goodput.write(moment.done)  # what the next life, which may begin here, goes on from
                    if moment.stops or moment.done == experiment.steps:
                        bar.say(pace.told())
                    if moment.stops:
                        raise Interrupted(requests.signum, moment.done)


def _pace(experiment: Experiment, workdir: Workdir, step: CompiledStep, goodput: Goodput) -> Pace:
    """What measures the run on the devices of its step."""
    pipeline, devices = experiment.train_data, list(step.mesh.devices.flat)
    return Pace(
        workdir.path,
        rate_hz=pipeline.rate_hz if pipeline.shapes.audio else None,
        goodput=goodput,
        chip=chip_of(devices[0].device_kind),
        chips=chips_among(devices),
    )


def _show(workdir: Workdir, summary: str) -> None:
    """Draws the curves and writes the run's page."""
    rows = read_metrics(workdir.metrics)
    report.pictures.curves(rows, path=workdir.pictures / "curves.png")
    pictures = [workdir.pictures / "curves.png", *sorted(workdir.pictures.glob("alignment.*.png"))]
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


@dataclass
class _Moment:
    """The run after a step: what is due, and what it takes."""

    done: int
    shown: dict[str, Any]  # beside the progress bar
    means: dict[str, float]  # since the last line of the log; empty between two lines
    judges: bool
    saves: bool
    stops: bool
    saved: Saved  # the steps go on from what stands here when the moment is over


def _steps(
    experiment: Experiment,
    data: OpenPipeline,
    step: CompiledStep,
    counted: Callable[..., Any],
    start: Saved,
    machine: Machine,
    workdir: Workdir,
    requests: Requests,
    witness: Witness | None,
    pace: Pace,
) -> Generator[_Moment, None, None]:
    """One step after another; the sums of each are read when the next one is under way."""
    state, log = start.train, Log(start.window, folder=workdir.path, witness=witness)
    shown: dict[str, Any] = {}
    first, seat = int(state.step), step.seat
    with (
        data.batches(
            first, workers=machine.workers, host=seat.host, hosts=seat.hosts, stop_step=experiment.steps
        ) as batches,
        pace,
    ):
        for number, row, batch in batches:
            placed = step.place(batch)
            pace.know(row.shape, counted, state, placed)
            state, sums = step(state, placed)
            log.add(number, batch, [data.ids[i] for i in row.examples_b.tolist() if i >= 0], sums)
            done = number + 1
            pace.add(row, batches)

            last = done == experiment.steps
            judges = last or done % experiment.eval_every == 0
            stops = requests.due(done) and not last
            saves = judges or stops or done % experiment.save_every == 0
            means: dict[str, float] = {}
            if last or done % experiment.log_every == 0:
                means = log.means() | {"train/learning_rate": float(experiment.optimizer.rate(number))}
                if experiment.optimizer.on_plateau is not None:
                    means["train/plateau_scale"] = scale_of(state.optimizer)
                shown = {"loss": f"{means['train/loss']:.3f}"} | pace.write(done)
            if saves:
                log.settle()
            left = time.perf_counter()
            moment = _Moment(done, shown, means, judges, saves, stops, Saved(state, log.window))
            yield moment
            if moment.saved.train is not state:
                state = step.place_state(moment.saved.train)
            pace.leave_out(time.perf_counter() - left)


def _first_or_last(
    experiment: Experiment,
    data: OpenPipeline,
    pure: Callable[..., Any],
    step: CompiledStep,
    checkpoints: Checkpoints,
    metadata: Metadata,
    elders: Elders,
    say: Say,
) -> Saved:
    """What the last checkpoint holds, or the beginning, on the step's devices."""
    shapes = jax.eval_shape(lambda: initial_state(experiment, data))
    _, sums = jax.eval_shape(pure, shapes, blank_batch(data))
    window, shardings = empty_window(list(sums)), step.shardings(shapes)
    if checkpoints.last() is None:
        state = measured(initial_state(experiment, data, shardings), experiment, data)
        return Saved(step.place_state(elders.given_to(state, experiment)), window)
    like = Saved(jax.tree.map(_at, shapes, shardings), window)
    saved, _ = checkpoints.restore("last", like, metadata)
    say(f"goes on after step {int(saved.train.step):,}")
    return replace(saved, train=step.place_state(saved.train))


def _at(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _nothing(_: str) -> None:
    """What another process than the first says."""


def introduction(experiment: Experiment, data: OpenPipeline) -> list[str]:
    """What a run is, in a few lines: fingerprint, size, data, shapes, what is left out."""
    shapes = jax.eval_shape(lambda: initial_state(experiment, data))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes.params))
    lines = [
        f"experiment {tree.fingerprint(experiment)}: {parameters / 1e6:.2f} M parameters, {experiment.steps:,} steps, "
        f"seed {experiment.seed}, data {data.hash}, vocabulary {experiment.tokenizer.size} ({experiment.tokenizer.digest})",
        *data.describe().splitlines(),
    ]
    return lines + [f"left out: {each.corpus} {each.id}: {each.reason} ({each.detail})" for each in data.skipped[:20]]
