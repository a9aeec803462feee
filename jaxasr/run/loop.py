"""The training loop, from top to bottom.

One integer, the step, is the position in everything. A checkpoint holds the state and the sums of the metrics since the last
line. So a run that was killed and started again writes the lines, and reaches the parameters, of a run that was not.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax

from jaxasr import report, tree
from jaxasr.cost.chips import Chip, chip_of, chips_among
from jaxasr.data import BoundPipeline
from jaxasr.evaluation.language_models import NO_LMS
from jaxasr.experiment.changes import CHANGEABLE
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.positions import too_many_tokens
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.workdir import Workdir
from jaxasr.run.clocks import Clocks, Outlook
from jaxasr.run.goodput import Goodput
from jaxasr.run.initial_state import PretrainedRuns, initial_state
from jaxasr.run.interrupt import TrainingInterrupt, requests_to_stop
from jaxasr.run.metric_accumulator import MetricAccumulator, StepCallback
from jaxasr.run.reports import RunReports
from jaxasr.run.same_run import check_same_run_on_all_hosts
from jaxasr.run.stage_trainer import CheckpointState, StageTrainer, restore_or_init, stage_trainers
from jaxasr.run.throughput import ThroughputMonitor
from jaxasr.run.validation import Validation, is_due, is_finished
from jaxasr.scale import is_primary
from jaxasr.scale.hosts import process
from jaxasr.training import Checkpoints

MAX_SKIPPED = 20  # examples that the summary lists as left out


def train(
    experiment: Experiment,
    workdir: str | Path | Workdir,
    runtime: RuntimeConfig | None = None,
    *,
    teacher: Path | None = None,
    fusion_lm: Path | None = None,
    init_from: Path | None = None,
    extends: bool = False,
    lms: Mapping[str, str] = NO_LMS,
    print_fn: Callable[[str], None] = print,
    step_callback: StepCallback | None = None,
    started_s: float | None = None,
) -> None:
    """Trains to the last step, from the start or the newest checkpoint that is whole. A finished run is left as it is.

    Args:
        workdir: the folder of the run: checkpoints, metrics, pictures, hypotheses. A Workdir is one that the caller holds.
        runtime: data folder and devices; no number depends on them beyond float tolerance. None: the defaults.
        teacher, fusion_lm: the workdirs of the runs of the teacher and of the language model that the decoder fuses, if any.
        init_from: the workdir of a run whose matching parameters the model begins with, read at the first step only.
        extends: True: a run that has begun takes the steps, patience and schedule of `experiment` from now on.
        lms: the paths of the language models that the search of the validation split fuses, by name.
        print_fn, step_callback: take the lines for people, and what a step came to as soon as its sums are known.
        started_s: when this attempt started, by time.perf_counter; None: now.

    Raises:
        ValueError: the folder belongs to another run or is in use, or the processes of the job would make different runs.
        DamagedCheckpointError: there are checkpoints and none is whole.
        TrainingInterrupt: SIGTERM or SIGINT came; the state is saved.
        DivergenceError: a loss is not finite; the message names the step, its utterances and the last finite step.
    """
    runtime = runtime or RuntimeConfig()
    with contextlib.ExitStack() as resources:
        # Open the workdir, the data and the checkpoints.
        enter = resources.enter_context
        print_fn = print_fn if is_primary() else _print_nothing
        measurements = report.Measurements(print_fn)
        run_dir = workdir if isinstance(workdir, Workdir) else enter(Workdir.held_for_this_process(Path(workdir)))
        goodput = enter(Goodput(run_dir.path, processes=process()[1], started_s=started_s, measurements=measurements))
        data = experiment.train_data.open(runtime.data_dir)
        stages = stage_trainers(experiment, data, runtime, lms, measurements)
        run_dir.keep_experiment(experiment, extends=extends, print_fn=print_fn)
        _print_summary(experiment, data, measurements, print_fn)
        checkpoints = enter(_open_checkpoints(experiment, run_dir, print_fn))

        # Restore the newest checkpoint that is whole, or initialise the first stage.
        with goodput.record("restore" if checkpoints.steps() else "other"):
            check_run = functools.partial(check_same_run_on_all_hosts, experiment, data)
            others = PretrainedRuns(teacher, fusion_lm, init_from, record=run_dir.pretrained)
            done, saved = restore_or_init(stages, checkpoints, others, check_run)
        stages = [stage for stage in stages if stage.experiment.steps >= done]
        goodput.resume_at(done)
        if is_finished(stages[0], checkpoints, run_dir, done):  # nothing is written
            goodput.cancel()
            print_fn(f"finished after {done:,} steps")
            return
        print_fn(f"resumes after step {done:,}" if done else "begins with the first step")

        # Start the handlers of signals, the reports and the clocks.
        requests = enter(requests_to_stop())
        bar = enter(report.Progress(experiment.steps, "train", "steps", done=done, quiet=not is_primary()))
        reports = enter(RunReports(run_dir, bar, measurements, resume_step=done, trackers=runtime.trackers))
        throughput = enter(_throughput_monitor(stages[0], run_dir, goodput, measurements))
        clocks = enter(_clocks(stages, runtime, run_dir, goodput, throughput, bar))
        validation = Validation(checkpoints, run_dir, requests, reports, clocks)

        saved = validation.make_up(stages[0], saved, done)  # if an earlier attempt ended before it
        for stage in stages:
            if stage is not stages[0]:
                with clocks.pause("other"):
                    saved = stage.from_previous(saved.train, bar.print)
            state = saved.train
            log = MetricAccumulator(saved.metrics, folder=run_dir.path, step_callback=step_callback)
            throughput.start_stage()
            with clocks.run_steps(), stage.batches(done) as batches:
                for number in validation.remaining_steps(stage, done):
                    # Load.
                    _, row, batch = next(batches)

                    # Place: start the copy to the devices.
                    placed = stage.step.place(batch)

                    # Step: dispatch it to the devices.
                    clocks.begin_step(number, row.shape, stage.counted_step, state, placed)
                    state, sums = stage.step(state, placed)

                    # Log: take the sums of the step before, which has ended by now, and write a line where one is due.
                    log.add(number, batch, stage.ids_of(row), sums)
                    throughput.add(row, batches)
                    done = number + 1
                    stops = requests.should_stop()
                    evaluates = is_due(stage, done)
                    saves = evaluates or stops or done % experiment.save_every == 0
                    shown: dict[str, str] = {}
                    if done == stage.experiment.steps or done % experiment.log_every == 0:
                        means = log.means() | stage.optimizer_metrics(state, number)
                        shown = {"loss": f"{means['train/loss']:.3f}"} | throughput.write(done)
                        reports.write(done, means)
                    clocks.end_step(done, **shown)

                    # Save.
                    if saves:
                        log.flush()  # raises DivergenceError before anything is saved
                        with clocks.pause("checkpoint"):
                            saved = CheckpointState(state, log.metrics)
                            checkpoints.save(done, saved, stage.metadata, wait=stops)
                        goodput.save_at(done)  # the next attempt may start here

                    # Stop, because a signal asks for it. The next attempt makes an evaluation that is due.
                    if stops:
                        reports.print(throughput.summary())
                        raise TrainingInterrupt(requests.signum, done)

                    # Evaluate: decode the validation split.
                    if evaluates:
                        saved = validation.evaluate(stage, saved, done)
                        state = saved.train
            reports.print(throughput.summary())


def run_summary(experiment: Experiment, data: BoundPipeline) -> list[str]:
    """Returns a few lines about the run: fingerprint, size, versions, data, shapes, and examples that are left out."""
    *smaller, own = (parameter_count_m(stage, data) for stage in experiment.stages)
    lines = [
        f"experiment {tree.fingerprint(experiment)}: {own} M parameters, {experiment.steps:,} steps, "
        f"seed {experiment.seed}, data {data.hash}, vocabulary {experiment.tokenizer.size} ({experiment.tokenizer.digest})",
        *(
            f"until step {stage.until:,}: {size} M parameters, {', '.join(stage.changes)}"
            for stage, size in zip(experiment.pretraining, smaller, strict=True)
        ),
        *report.version_lines(),
        *data.describe().splitlines(),
        *too_many_tokens(experiment, data),
    ]
    skipped = [
        f"left out: {example.corpus} {example.id}: {example.reason} ({example.detail})" for example in data.skipped
    ]
    return lines + skipped[:MAX_SKIPPED]


def parameter_count_m(experiment: Experiment, data: BoundPipeline) -> str:
    """Returns the number of parameters in millions, with two decimals."""
    shapes = jax.eval_shape(lambda: initial_state(experiment, data))
    return f"{sum(leaf.size for leaf in jax.tree.leaves(shapes.params)) / 1e6:.2f}"


def _print_summary(
    experiment: Experiment, data: BoundPipeline, measurements: report.Measurements, print_fn: Callable[[str], None]
) -> None:
    with measurements.optional("the summary of the run"):
        print_fn("\n".join(run_summary(experiment, data)))


def _open_checkpoints(experiment: Experiment, workdir: Workdir, print_fn: Callable[[str], None]) -> Checkpoints:
    return Checkpoints(
        workdir.checkpoints,
        keep_last=experiment.keep_last,
        keep_best=experiment.keep_best,
        by=experiment.ranked_by,
        may_differ=CHANGEABLE,
        print_fn=print_fn,
    )


def _throughput_monitor(
    stage: StageTrainer, workdir: Workdir, goodput: Goodput, measurements: report.Measurements
) -> ThroughputMonitor:
    """Returns the clock that measures the run on the devices of its step, which are those of every stage."""
    pipeline = stage.experiment.train_data
    devices = list(stage.step.mesh.devices.flat)
    goodput.count_devices(len(devices))
    chip: Chip | None = None
    chips = 1
    with measurements.optional("the MFU"):
        chip = chip_of(devices[0].device_kind)
        chips = chips_among(devices)
    return ThroughputMonitor(
        workdir.path,
        rate_hz=pipeline.rate_hz if pipeline.shapes.audio else None,
        goodput=goodput,
        chip=chip,
        chips=chips,
        measurements=measurements,
    )


@contextlib.contextmanager
def _clocks(
    stages: Sequence[StageTrainer],
    runtime: RuntimeConfig,
    run_dir: Workdir,
    goodput: Goodput,
    throughput: ThroughputMonitor,
    bar: report.Progress,
) -> Iterator[Clocks]:
    outlook = Outlook(bar, [stage.schedule for stage in stages])
    with runtime.watchdog(run_dir.root) as watchdog, runtime.profiler(run_dir.path) as profiler:
        yield Clocks(goodput, throughput, watchdog, outlook, profiler)


def _print_nothing(_: str) -> None:
    """Takes the lines of a process that is not the primary one."""
