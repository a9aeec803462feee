"""The workloads of `jaxasr bench EXPERIMENT`: batches of the plan, and training steps and searches on them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxasr import nn
from jaxasr.bench.processes import CallTime, timed
from jaxasr.data import BoundPipeline, Shape
from jaxasr.evaluation.decode_split import compiled_search
from jaxasr.evaluation.evaluators import text_log_probs
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.split import search_of
from jaxasr.records import Batch, LanguageModel
from jaxasr.run.initial_state import initial_state, resolve_objective
from jaxasr.run.train_step import make_train_step
from jaxasr.scale import CompiledStep, Placement
from jaxasr.training import TrainState
from jaxasr.training.step import StepFunction

MIN_MEASURED_S = 0.3  # of one measurement; shorter calls are repeated

MeasureFn = Callable[[], CallTime]  # measures one call


@dataclass(frozen=True, eq=False)
class Workload:
    """A batch of the plan. If it has more examples than that of the plan, these are repeated in order."""

    shape: Shape  # of the plan
    batch: Batch
    rate_hz: int

    @property
    def real_amount(self) -> float:
        """The seconds of audio (for a language model the tokens and ends) without padding."""
        if self.shape.samples:
            return float(np.sum(self.batch.sample_lengths_b)) / self.rate_hz
        return float(np.sum(self.batch.token_lengths_b) + np.sum(self.batch.valid_b))

    @property
    def examples(self) -> int:
        """The number of examples on all devices."""
        return len(self.batch.valid_b)

    def resized(self, examples: int) -> "Workload":
        """Returns the workload with another number of examples."""
        batch = jax.tree.map(lambda x: np.resize(x, (examples, *x.shape[1:])), self.batch)
        return Workload(self.shape, batch, self.rate_hz)


def commonest_bucket(bucket_ids: np.ndarray) -> int:
    """Returns the bucket that most batches have."""
    return int(np.bincount(bucket_ids).argmax())


def training_workload(data: BoundPipeline, bucket_id: int) -> Workload:
    """Returns the fullest batch of a bucket in the first epoch."""
    epoch = data.plan.epoch(0)
    filled = np.where(epoch.bucket_ids == bucket_id, epoch.stops - epoch.starts, -1)
    step = int(filled.argmax())
    if filled[step] < 0:
        raise ValueError(f"no batch of the first epoch has the shape {data.shapes[bucket_id]}; leave it out")
    with data.batches(step, stop_step=step + 1) as batches:
        _, row, batch = next(batches)
    return Workload(row.shape, batch, data.rate_hz)


def evaluation_workload(data: BoundPipeline) -> Workload:
    """Returns a batch of the shape that most batches of the split have."""
    plan = data.eval_plan
    shape = plan.shapes[commonest_bucket(plan.bucket_ids)]
    with data.eval_batches() as batches:
        batch = next(found.batch for found in batches if found.row.shape == shape)
    return Workload(shape, batch, data.rate_hz)


def build_step(experiment: Experiment, data: BoundPipeline) -> tuple[StepFunction, TrainState]:
    """Returns the step function of a run and its initial state. Feature statistics are left blank."""
    objective = resolve_objective(experiment, data)
    return make_train_step(experiment, objective), initial_state(experiment, data)


def evaluation_fn(experiment: Experiment, state: TrainState, lms: Mapping[str, LanguageModel]) -> Callable[..., Any]:
    """Returns the compiled evaluation of a batch of the validation split.

    It maps (variables, batch) to hypotheses, or to log probabilities for a language model.
    """
    model = experiment.model
    if isinstance(model, nn.Lm):
        return jax.jit(lambda variables, batch: text_log_probs(model, variables, batch))
    search = compiled_search(model, search_of(experiment.validation))
    return lambda variables, batch: search(variables, batch, lms)


def step_timer(step: CompiledStep[TrainState, Any], state: TrainState, work: Workload) -> MeasureFn:
    """Returns a function that times training steps on one batch.

    The batch is placed on the devices before the measurement. The state is on the devices during the measurement only.
    """

    def measure() -> CallTime:
        placed_state = step.place_state(state)
        batch = step.place(work.batch)

        def call() -> Any:
            nonlocal placed_state
            placed_state, sums = step(placed_state, batch)
            return placed_state, sums

        return time_call(call)

    return measure


def search_timer(call: Callable[..., Any], placement: Placement, variables: Any, work: Workload) -> MeasureFn:
    """Returns a function that times searches of one batch, which is placed on the devices before the measurement."""

    def measure() -> CallTime:
        whole = placement.whole(variables)
        batch = placement.shared(work.batch, placement.host_shard([len(work.batch.valid_b)]))
        return time_call(lambda: call(whole, batch))

    return measure


def time_call(call: Callable[[], Any]) -> CallTime:
    """Returns the time of a call, after a call that may compile. Short calls are dispatched several times in a row."""
    jax.block_until_ready(call())
    once = _time_calls(call, 1)
    calls = int(MIN_MEASURED_S / max(once.wall_s, 1e-9))
    return _time_calls(call, calls) if calls > 1 else once


def _time_calls(call: Callable[[], Any], calls: int) -> CallTime:
    def several() -> None:
        last = None
        for _ in range(calls):
            last = call()
        jax.block_until_ready(last)

    all_calls = timed(several)
    return CallTime(all_calls.wall_s / calls, all_calls.cpu_s / calls)
