"""A dry run: two batches of every shape and one of an evaluation, and from them the time and the memory of the whole run.

Nothing is written. What fails here would have failed in the run, perhaps after hours: a shape that does not fit into memory,
a loss that is not finite, a search that does not compile.
"""

import contextlib
import math
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxasr import report
from jaxasr.data import Shape
from jaxasr.evaluation.decode_split import evaluated_variables
from jaxasr.evaluation.language_models import NO_LMS
from jaxasr.evaluation.trial import EvalTrial, seconds_of
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.records import Batch, Sum
from jaxasr.report import clock_time
from jaxasr.run.initial_state import PretrainedRuns
from jaxasr.run.loop import run_summary
from jaxasr.run.stage_trainer import StageTrainer, stage_trainers
from jaxasr.run.validation import is_due
from jaxasr.scale import is_primary
from jaxasr.training import TrainState

BATCHES = 2  # of every shape: one compiles, the other has the time of a step


@dataclass(frozen=True)
class ShapeTrial:
    """The times of a training step for one shape."""

    share: float  # of the batches of an epoch
    compile_s: float  # tracing and compiling
    step_s: float


@dataclass(frozen=True)
class StageTrial:
    """The times of a stage of training."""

    steps: int
    evaluations: int
    shapes: tuple[ShapeTrial, ...]
    evaluation: EvalTrial

    @property
    def step_s(self) -> float:
        """The mean time of a step in seconds, without compilation."""
        return sum(shape.share * shape.step_s for shape in self.shapes)

    @property
    def compile_s(self) -> float:
        """The time of all programs of the stage in seconds."""
        return sum(shape.compile_s for shape in self.shapes) + self.evaluation.first_s


def dry_run(
    experiment: Experiment,
    runtime: RuntimeConfig | None = None,
    *,
    teacher: Path | None = None,
    fusion_lm: Path | None = None,
    init_from: Path | None = None,
    lms: Mapping[str, str] = NO_LMS,
    print_fn: Callable[[str], None] = print,
) -> list[StageTrial]:
    """Trains on two batches of every shape and evaluates one batch, and prints what the run will take.

    Arguments are those of `train`. Compilation takes less time in a run that finds the programs in the compile cache.

    Raises:
        FloatingPointError: a loss is not finite.
        ValueError: parts of the experiment do not fit each other, its data or the devices.
    """
    runtime = runtime or RuntimeConfig()
    print_fn = print_fn if is_primary() else lambda _: None
    data = experiment.train_data.open(runtime.data_dir)
    stages = stage_trainers(experiment, data, runtime, lms, report.Measurements(print_fn))
    print_fn("\n".join(run_summary(experiment, data)))
    begin = 0
    trials: list[StageTrial] = []
    state = stages[0].init(PretrainedRuns(teacher, fusion_lm, init_from, print_fn=print_fn)).train
    for stage in stages:
        state = state if stage is stages[0] else stage.from_previous(state, print_fn).train
        state, trial = _try_stage(stage, state, begin, print_fn)
        begin = stage.experiment.steps
        trials.append(trial)
    print_fn("\n".join(_conclusion(experiment, trials, state, stages[-1])))
    return trials


def _try_stage(
    stage: StageTrainer, state: TrainState, begin: int, print_fn: Callable[[str], None]
) -> tuple[TrainState, StageTrial]:
    end = stage.experiment.steps
    data = stage.data
    ids = data.plan.epoch(0).bucket_ids
    shares = np.bincount(ids, minlength=len(data.shapes)) / len(ids)
    shapes: list[ShapeTrial] = []
    for number, shape in enumerate(data.shapes):
        title = f"shape {number + 1} of {len(data.shapes)}, {_size(shape, data.rate_hz)}"
        print_fn(f"{title}: {shares[number]:.0%} of the batches")
        state, times, loss = _try_shape(stage, state, number)
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss of {title} is {loss} in the first steps; lower the learning rate")
        shapes.append(ShapeTrial(float(shares[number]), max(times[0] - times[-1], 0.0), times[-1]))
        print_fn(f"  compiled in {shapes[-1].compile_s:.1f} s, {times[-1]:.3g} s a step, loss {loss:.3f}")
    evaluation = stage.evaluator.trial(evaluated_variables(stage.experiment, state), workers=stage.workers)
    print_fn(
        f"longest batch of the validation split: compiled in {evaluation.compile_s:.1f} s, {evaluation.batch_s:.3g} s"
    )
    evaluations = sum(is_due(stage, done) for done in range(begin + 1, end + 1))
    return state, StageTrial(end - begin, evaluations, tuple(shapes), evaluation)


def _try_shape(stage: StageTrainer, state: TrainState, number: int) -> tuple[TrainState, list[float], float]:
    """Returns the state after two batches of a shape, their times in seconds, and the mean loss."""
    times: list[float] = []
    losses: list[Sum] = []
    for batch in _batches_of(stage, number):
        placed = stage.step.place(batch)
        results: list[Any] = [state]

        def step(placed: Any = placed, results: list[Any] = results) -> Any:
            results[:] = stage.step(results[0], placed)
            return results

        times.append(seconds_of(step))
        state, sums = results
        losses.append(sums["loss"])
    total: Sum = jax.device_get(losses[0] + losses[1])
    return state, times, float(total.mean) if total.weight else 0.0


def _batches_of(stage: StageTrainer, number: int) -> list[Batch]:
    """Returns the first two batches of a shape in the first epoch, or fewer and blank ones if it has not so many."""
    shard = stage.step.host_shard
    steps = np.flatnonzero(stage.data.plan.epoch(0).bucket_ids == number)[:BATCHES].tolist()
    found: list[Batch] = []
    for step in steps:
        with contextlib.closing(
            stage.data.batches(step, workers=0, host=shard.host, hosts=shard.hosts, stop_step=step + 1)
        ) as batches:
            found.append(next(batches)[2])
    shape = stage.data.shapes[number]
    blank = Batch.blank(replace(shape, examples=shape.examples // shard.hosts))
    return found + [blank] * (BATCHES - len(found))


def _conclusion(experiment: Experiment, trials: list[StageTrial], state: TrainState, last: StageTrainer) -> list[str]:
    """Returns the lines about the time and the memory of the run."""
    steps_s = sum(trial.steps * trial.step_s for trial in trials)
    compile_s = sum(trial.compile_s for trial in trials)
    evaluations_s = sum(trial.evaluations * trial.evaluation.each_s for trial in trials)
    count = sum(trial.evaluations for trial in trials)
    checkpoint_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    kept = experiment.keep_last + experiment.keep_best
    return [
        f"the run takes about {clock_time(steps_s + compile_s + evaluations_s)} on these devices: {experiment.steps:,} steps "
        f"{clock_time(steps_s)}, {count} evaluations {clock_time(evaluations_s)}, compilation {clock_time(compile_s)}; "
        "waiting for data and the decoding of the evals at the end are not included",
        f"memory: {_memory(list(last.step.mesh.local_devices))}; a checkpoint has {checkpoint_bytes / 1e6:,.1f} MB, at most "
        f"{kept} are kept",
        "this was a dry run: nothing was written",
    ]


def _memory(devices: list[Any]) -> str:
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    parts = [f"at most {peak_kib * 1024 / 1e9:.2f} GB of this process"]
    found = [stats for device in devices if (stats := device.memory_stats())]
    if found:
        most = max(found, key=lambda stats: stats.get("peak_bytes_in_use", 0))
        limit = f" of {most['bytes_limit'] / 1e9:.2f}" if "bytes_limit" in most else ""
        parts.append(f"{most.get('peak_bytes_in_use', 0) / 1e9:.2f}{limit} GB of a device")
    return ", ".join(parts)


def _size(shape: Shape, rate_hz: int) -> str:
    audio = f"{shape.samples / rate_hz:.2f} s and " if shape.samples else ""
    return f"{shape.examples} examples of {audio}{shape.tokens} tokens"
