"""A stage of a run, made ready for the devices: its compiled step, its evaluator, and the states that it can start from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from jaxasr.data import Batches, BoundPipeline, PlanRow
from jaxasr.evaluation.decode_split import evaluated_variables
from jaxasr.evaluation.evaluators import EvalResult, Evaluator, make_evaluator
from jaxasr.evaluation.language_models import load_language_models
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.stages import init_next_stage
from jaxasr.experiment.workdir import Workdir
from jaxasr.records import Batch, LanguageModel, pytree
from jaxasr.report import Measurements
from jaxasr.run.clocks import StageSchedule
from jaxasr.run.initial_state import (
    PretrainedRuns,
    checkpoint_metadata,
    init_feature_statistics,
    initial_state,
    resolve_objective,
)
from jaxasr.run.metric_accumulator import AccumulatedMetrics, empty_metrics
from jaxasr.run.train_step import make_train_step, step_without_remat
from jaxasr.scale import CompiledStep, compile_step
from jaxasr.training import Checkpoints, Metadata, Objective, TrainState, plateau_scale, update_plateau


@pytree
@dataclass(frozen=True)
class CheckpointState:
    """The contents of a checkpoint."""

    train: TrainState
    metrics: AccumulatedMetrics  # since the last line of the log


@dataclass(frozen=True)
class StageTrainer:
    """A stage, ready to be trained on the devices of its step. Nothing is compiled before the first step."""

    experiment: Experiment  # of the stage (Experiment.stages)
    data: BoundPipeline
    objective: Objective  # with the values that depend on the data
    step: CompiledStep[TrainState, Any]
    counted_step: Callable[..., Any]  # the step whose FLOPs are reported
    learning_rate: Callable[[Any], Any]  # of a step, by its number; compiled
    evaluator: Evaluator
    workers: int  # processes of the loader
    is_last: bool  # False in pretraining, whose checkpoints are not ranked

    @classmethod
    def create(
        cls,
        experiment: Experiment,
        data: BoundPipeline,
        runtime: RuntimeConfig,
        lms: Mapping[str, LanguageModel],
        measurements: Measurements,
        *,
        is_last: bool,
    ) -> "StageTrainer":
        """Returns the stage of `experiment` for the devices of this run.

        Args:
            experiment: the experiment of the stage.
            data: the training data of the run.
            runtime: data folder, parallelism and loader.
            lms: language models that the search of the validation split fuses, by name.
            is_last: True: the stage trains the run's own experiment.

        Raises:
            ValueError: the batches cannot be split evenly over the devices, or there is no such mesh.
        """
        objective = resolve_objective(experiment, data)
        step = compile_step(
            make_train_step(experiment, objective),
            runtime.parallelism,
            layout=runtime.layout,
            rules=runtime.rules,
            microbatches=runtime.microbatches,
        )
        for shape in data.shapes:
            step.check_divisible(shape.examples)
        return cls(
            experiment,
            data,
            objective,
            step,
            step_without_remat(experiment, objective, step.function),
            jax.jit(experiment.optimizer.rate),
            make_evaluator(
                experiment,
                "validation",
                experiment.validation,
                runtime.data_dir,
                lms,
                runtime.parallelism,
                measurements,
            ),
            runtime.workers,
            is_last,
        )

    @property
    def metadata(self) -> Metadata:
        """The metadata of the stage's checkpoints."""
        return checkpoint_metadata(self.experiment, self.data)

    @property
    def schedule(self) -> StageSchedule:
        """The work of the stage, as far as it takes time."""
        experiment = self.experiment
        return StageSchedule(
            experiment.steps, self.data.shapes, self.data.rate_hz, experiment.eval_every, experiment.save_every
        )

    def init(self, pretrained: PretrainedRuns) -> CheckpointState:
        """Returns the state before the first step of the run."""
        shapes, metrics = self._blank()
        state = initial_state(self.experiment, self.data, self.step.shardings(shapes))
        state = init_feature_statistics(state, self.experiment, self.data)
        state = pretrained.load_into(state, self.experiment)
        return CheckpointState(self.step.place_state(state), metrics)

    def restore(self, checkpoints: Checkpoints, step: int) -> CheckpointState:
        """Returns the state of a checkpoint that belongs to this stage."""
        shapes, metrics = self._blank()
        like = CheckpointState(jax.tree.map(_abstract, shapes, self.step.shardings(shapes)), metrics)
        saved, _ = checkpoints.restore(step, like, self.metadata)
        return replace(saved, train=self.step.place_state(saved.train))

    def from_previous(self, before: TrainState, print_fn: Callable[[str], None]) -> CheckpointState:
        """Returns the first state of the stage, which inherits from the last state of the stage before."""
        shapes, metrics = self._blank()
        fresh = initial_state(self.experiment, self.data, self.step.shardings(shapes))
        state, new = init_next_stage(fresh, before, self.experiment.optimizer, self.experiment.freeze)
        print_fn(f"the next stage begins; new in it: {', '.join(new) or 'no parameters'}")
        return CheckpointState(self.step.place_state(state), metrics)

    def batches(self, start: int) -> Batches:
        """Returns this process's part of the batches from step `start` to the end of the stage."""
        shard = self.step.host_shard
        return self.data.batches(
            start, workers=self.workers, host=shard.host, hosts=shard.hosts, stop_step=self.experiment.steps
        )

    def evaluate(self, state: TrainState, workdir: Workdir, before_batch: Callable[[], None]) -> EvalResult:
        """Returns the result on the validation split. Hypotheses and an alignment are written into the workdir."""
        variables = evaluated_variables(self.experiment, state)
        return self.evaluator(variables, workdir, workers=self.workers, before_batch=before_batch)

    def ids_of(self, row: PlanRow) -> list[str]:
        """Returns the ids of the utterances in a batch, those of other processes included."""
        examples: list[int] = row.examples_b.tolist()
        return [self.data.ids[example] for example in examples if example >= 0]

    def optimizer_metrics(self, state: TrainState, number: int) -> dict[str, float]:
        """Returns the learning rate of step `number`, and the factor that a plateau applies to it."""
        optimizer = self.experiment.optimizer
        rate = jax.device_get(self.learning_rate(jax.device_put(np.int32(number))))
        metrics = {"train/learning_rate": float(rate)}
        if optimizer.on_plateau is not None:
            metrics["train/plateau_scale"] = plateau_scale(state.optimizer)
        return metrics

    def update_plateau(self, state: TrainState, scores: Mapping[str, float]) -> TrainState:
        """Returns the state after an evaluation; it is the state given unless the optimizer has a plateau rule."""
        rule = self.experiment.optimizer.on_plateau
        if rule is None:
            return state
        score = scores[self.experiment.ranked_by]
        return self.step.place_state(replace(state, optimizer=update_plateau(state.optimizer, rule, score)))

    def _blank(self) -> tuple[TrainState, AccumulatedMetrics]:
        """Returns the shapes of the state, and metrics without any step."""
        shapes = jax.eval_shape(lambda: initial_state(self.experiment, self.data))
        batch = Batch.blank(self.data.shapes[0])
        _, sums = jax.eval_shape(make_train_step(self.experiment, self.objective), shapes, batch)
        return shapes, empty_metrics(list(sums))


def restore_or_init(
    stages: Sequence[StageTrainer],
    checkpoints: Checkpoints,
    pretrained: PretrainedRuns,
    check_step: Callable[[int], None],
) -> tuple[int, CheckpointState]:
    """Returns the steps of the newest checkpoint that is whole, and its state; without a checkpoint the first state.

    Damaged checkpoints are printed and set aside.

    Args:
        stages: the stages of the run.
        checkpoints: those of the run.
        pretrained: the runs that the first state has variables of.
        check_step: is called with the steps done before the state is read or initialised.

    Raises:
        DamagedCheckpointError: no checkpoint is whole.
        ValueError: a checkpoint has more steps than the run, or belongs to another run.
    """

    def restore(step: int) -> tuple[int, CheckpointState]:
        # a folder that is no checkpoint has an arbitrary step
        if checkpoints.metadata(step).is_imported:
            raise ValueError(
                f"{checkpoints.directory} holds imported parameters without a state of training: train in a folder of its "
                f"own, with --init-from {checkpoints.directory.parent}"
            )
        check_step(step)
        stage = next((stage for stage in stages if stage.experiment.steps >= step), None)
        if stage is None:
            raise ValueError(f"{checkpoints.directory} has {step} steps, the run only {stages[-1].experiment.steps}")
        return step, stage.restore(checkpoints, step)

    if checkpoints.steps():
        return checkpoints.first_whole("last", restore)
    check_step(0)
    return 0, stages[0].init(pretrained)


def stage_trainers(
    experiment: Experiment,
    data: BoundPipeline,
    runtime: RuntimeConfig,
    lms: Mapping[str, str],
    measurements: Measurements,
) -> list[StageTrainer]:
    """Returns the stages of a run in the order of training. Errors are those of StageTrainer.create and of the models.

    Args:
        experiment: the experiment of the run.
        data: its training data.
        runtime: data folder, parallelism and loader.
        lms: the paths of the language models that the search of the validation split fuses, by name.
        measurements: those of the run.
    """
    models = load_language_models(lms, experiment.tokenizer).models
    return [
        StageTrainer.create(stage, data, runtime, models, measurements, is_last=stage is experiment)
        for stage in experiment.stages
    ]


def _abstract(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
