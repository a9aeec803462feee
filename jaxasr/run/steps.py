"""The steps of a stage: what they are made with, where they begin, and one after another."""

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax

from jaxasr.data import OpenPipeline
from jaxasr.evaluation.evaluators import Judge, judge_of
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.runtime import Machine
from jaxasr.experiment.stages import grown
from jaxasr.records import LanguageModel, pytree
from jaxasr.run.initial_state import Elders, blank_batch, bound_objective, initial_state, measured, metadata_of
from jaxasr.run.interrupt import Requests
from jaxasr.run.metric_log import Log, Window, empty_window
from jaxasr.run.throughput import Pace
from jaxasr.run.train_step import counted_step, pure_step
from jaxasr.scale import CompiledStep, compile_step
from jaxasr.training import Checkpoints, Metadata, Objective, TrainState, scale_of


@pytree
@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds."""

    train: TrainState
    window: Window


@dataclass
class Moment:
    """The run after a step: what is due, and what it takes."""

    done: int
    shown: dict[str, Any]  # beside the progress bar
    means: dict[str, float]  # since the last line of the log; empty between two lines
    judges: bool
    saves: bool
    stops: bool
    saved: Saved  # the steps go on from what stands here when the moment is over


@dataclass(frozen=True)
class Steps:
    """A stage, ready to be trained on the devices of its step. Nothing is compiled before the first one."""

    experiment: Experiment  # of the stage (Experiment.stages)
    data: OpenPipeline
    objective: Objective  # bound to the data
    step: CompiledStep[TrainState, Any]
    judge: Judge
    workers: int  # of the loader
    own: bool  # the run's own experiment: of its checkpoints one is the best

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        data: OpenPipeline,
        machine: Machine,
        lms: Mapping[str, LanguageModel],
        *,
        own: bool,
    ) -> "Steps":
        """Raises: ValueError: the machine can't share out the batches evenly, or has no such mesh."""
        objective = bound_objective(experiment, data)
        pure = pure_step(experiment, objective)
        step = compile_step(pure, machine.how, layout=machine.layout, rules=machine.rules)
        for shape in data.shapes:
            step.refuse_uneven(shape.examples)
        judge = judge_of(experiment, "watch", experiment.watch, machine.data_dir, lms, machine.how)
        return cls(experiment, data, objective, step, judge, machine.workers, own)

    @property
    def metadata(self) -> Metadata:
        """Of its checkpoints."""
        return metadata_of(self.experiment, self.data)

    def first(self, elders: Elders) -> Saved:
        """Before the run's first step."""
        shapes, window = self._blank()
        state = initial_state(self.experiment, self.data, self.step.shardings(shapes))
        state = elders.given_to(measured(state, self.experiment, self.data), self.experiment)
        return Saved(self.step.place_state(state), window)

    def restored(self, checkpoints: Checkpoints, say: Callable[[str], None]) -> Saved:
        """Where the last checkpoint, which is of this stage, was written."""
        shapes, window = self._blank()
        like = Saved(jax.tree.map(_at, shapes, self.step.shardings(shapes)), window)
        saved, _ = checkpoints.restore("last", like, self.metadata)
        say(f"goes on after step {int(saved.train.step):,}")
        return replace(saved, train=self.step.place_state(saved.train))

    def grown_from(self, before: Saved, say: Callable[[str], None]) -> Saved:
        """Where the stage before ended."""
        shapes, window = self._blank()
        fresh = initial_state(self.experiment, self.data, self.step.shardings(shapes))
        state, new = grown(fresh, before.train, self.experiment.optimizer)
        say(f"the next stage begins; new in it: {', '.join(new) or 'no parameters'}")
        return Saved(self.step.place_state(state), window)

    def after(self, start: Saved, log: Log, pace: Pace, requests: Requests) -> Generator[Moment, None, None]:
        """One step after another; the sums of each are read when the next one is under way."""
        here, step, state = self.experiment, self.step, start.train
        counted, seat = counted_step(here, self.objective, step.function), step.seat
        shown: dict[str, Any] = {}
        with (
            self.data.batches(
                int(state.step), workers=self.workers, host=seat.host, hosts=seat.hosts, stop_step=here.steps
            ) as batches,
            pace,
        ):
            for number, row, batch in batches:
                placed = step.place(batch)
                pace.know(row.shape, counted, state, placed)
                state, sums = step(state, placed)
                log.add(number, batch, [self.data.ids[i] for i in row.examples_b.tolist() if i >= 0], sums)
                done = number + 1
                pace.add(row, batches)

                last = done == here.steps
                judges = last or done % here.eval_every == 0
                stops = requests.due(done) and not last
                saves = judges or stops or done % here.save_every == 0
                means: dict[str, float] = {}
                if last or done % here.log_every == 0:
                    means = log.means() | _of_optimizer(here, state, number)
                    shown = {"loss": f"{means['train/loss']:.3f}"} | pace.write(done)
                if saves:
                    log.settle()
                left = time.perf_counter()
                moment = Moment(done, shown, means, judges, saves, stops, Saved(state, log.window))
                yield moment
                if moment.saved.train is not state:
                    state = step.place_state(moment.saved.train)
                pace.leave_out(time.perf_counter() - left)

    def _blank(self) -> tuple[TrainState, Window]:
        """Shapes of the state, and sums that are still empty."""
        shapes = jax.eval_shape(lambda: initial_state(self.experiment, self.data))
        _, sums = jax.eval_shape(pure_step(self.experiment, self.objective), shapes, blank_batch(self.data))
        return shapes, empty_window(list(sums))


def _of_optimizer(experiment: Experiment, state: TrainState, number: int) -> dict[str, float]:
    told = {"train/learning_rate": float(experiment.optimizer.rate(number))}
    if experiment.optimizer.on_plateau is not None:
        told["train/plateau_scale"] = scale_of(state.optimizer)
    return told


def _at(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
