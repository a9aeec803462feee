"""The state before the first step of a run, with the parameters of the runs that it builds on."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr import nn, report, text, tree
from jaxasr.data import BoundPipeline
from jaxasr.experiment.experiment import Experiment, Model
from jaxasr.experiment.restore import variables_of
from jaxasr.experiment.workdir import Workdir
from jaxasr.files import write_whole
from jaxasr.nn.decoders.fusion import HOLDER, LM
from jaxasr.ops.audio.features import FeatureSums
from jaxasr.records import END, Batch, NBest, Outputs
from jaxasr.report.results import SOURCES
from jaxasr.run.inherit import inherit
from jaxasr.scale import is_primary
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.training import (
    AuxiliaryLoss,
    ExpectedErrors,
    Metadata,
    Objective,
    TrainState,
    log_probs_of,
    new_state,
    spelling_of,
)

STATISTICS_BATCHES = 200  # batches of training data that the feature statistics are computed from, at most
USUAL = (0.05, 0.95)  # quantiles of the durations of training, between which an utterance is usual
MIN_DEVIATION = 1e-3  # of a feature, so that a constant one is not divided by zero


def make_apply_fn(
    model: Model, objective: Objective | None = None, teacher: Model | None = None
) -> Callable[[Any, Batch, jax.Array, Mapping[str, jax.Array]], Outputs]:
    """Returns the training form of the model: (variables, batch, step, random streams) -> outputs.

    Args:
        model: the model that is trained.
        objective: an objective with `ExpectedErrors` adds the n best hypotheses of its search, made with the same variables.
        teacher: a frozen model that adds its logits. Its variables are the collection "teacher".
    """
    search = None if objective is None else objective.search

    def apply(variables: Any, batch: Batch, step: jax.Array, streams: Mapping[str, jax.Array]) -> Outputs:
        rngs = dict(streams)
        teacher_variables = variables.get("teacher")
        variables = {name: collection for name, collection in variables.items() if name != "teacher"}
        outputs: Any = model.apply(variables, batch, step=step, rngs=rngs)
        if teacher is not None:
            teacher_outputs: Any = teacher.apply(jax.lax.stop_gradient(teacher_variables), batch, step=None)
            outputs = replace(outputs, teacher_logits_buv=teacher_outputs.logits_buv)
        if search is None or not isinstance(model, nn.Seq2Seq):
            return outputs
        found = search(nn.Recogniser(model, jax.lax.stop_gradient(variables)), batch)
        logits: Any = model.apply(
            variables, batch, found.tokens_bwu, step=step, rngs=rngs, method="teacher_forced_logits"
        )
        log_probs_bw = log_probs_of(logits, found.tokens_bwu, found.token_lengths_bw)
        n_best = NBest(found.tokens_bwu, found.token_lengths_bw, log_probs_bw, found.scores_bw > -jnp.inf)
        return replace(outputs, n_best=n_best)

    return apply


def resolve_objective(experiment: Experiment, data: BoundPipeline) -> Objective:
    """Returns the objective with the values that depend on the vocabulary and on the training transcripts."""
    objective = experiment.objective
    tokenizer = experiment.tokenizer
    tokens = data.examples.tokens
    if objective.prior == "unigram" and tokens is not None:
        counts_v = np.bincount(tokens.flat, minlength=tokenizer.size)
        counts_v[END] = len(tokens.lengths)
        objective = replace(objective, prior=tuple((counts_v / counts_v.sum()).tolist()))
    return replace(objective, auxiliary=tuple(_resolve_term(term, tokenizer) for term in objective.auxiliary))


def _resolve_term(term: AuxiliaryLoss, tokenizer: Tokenizer) -> AuxiliaryLoss:
    if not isinstance(term, ExpectedErrors) or term.unit == "token":
        return term
    return replace(term, spelling=spelling_of(text.piece_texts(tokenizer)))


def checkpoint_metadata(experiment: Experiment, data: BoundPipeline) -> Metadata:
    """Returns the metadata of the checkpoints of this run."""
    packages = ("jaxasr", "jax", "flax", "optax", "orbax-checkpoint")
    return Metadata(
        experiment=tree.render(experiment),
        defaults=tree.defaults(experiment),
        fingerprint=tree.fingerprint(experiment),
        tokenizer=experiment.tokenizer.digest,
        data=data.hash,
        versions={name: report.version(name) for name in packages} | {SOURCES: report.package_provenance()[SOURCES]},
        longest_s=data.shapes[-1].samples / data.rate_hz,
        train_hours=round(data.train_hours, 4),
        usual_s=data.duration_quantiles_s(USUAL),
    )


def initial_state(experiment: Experiment, data: BoundPipeline, shardings: Any = None) -> TrainState:
    """Returns the state with freshly initialised parameters.

    The feature statistics are still blank (see `init_feature_statistics`), and so are the variables of a teacher.

    Args:
        experiment: the experiment, or a stage of it.
        data: the training data, whose smallest batch shape the parameters are initialised with.
        shardings: the sharding of each leaf, a tree of the state; None: the first device. The drawn values are the same.
    """

    def make(key: jax.Array, batch: Batch) -> TrainState:
        variables: Any = experiment.model.init(key, batch, step=None)
        if experiment.teacher is not None:
            variables = {**variables, "teacher": experiment.teacher.init(key, batch, step=None)}
        return new_state(
            variables, experiment.optimizer.build_for(experiment.freeze), key, keeps_average=experiment.keeps_average
        )

    batch = Batch.blank(data.shapes[0])
    return jax.jit(make, out_shardings=shardings)(jax.random.key(experiment.seed), batch)


def init_feature_statistics(state: TrainState, experiment: Experiment, data: BoundPipeline) -> TrainState:
    """Returns the state with mean and deviation of the training data's features, if the model normalises by them."""
    if "statistics" not in state.statistics or not isinstance(experiment.model, nn.Seq2Seq):
        return state
    variables = {"params": state.params, "statistics": state.statistics["statistics"]}
    model = experiment.model
    sums = jax.jit(lambda variables, batch: model.apply(variables, batch, method="feature_sums"))
    total = [np.zeros(()), np.zeros(model.frontend.bins), np.zeros(model.frontend.bins)]
    stop = min(STATISTICS_BATCHES, len(data.plan.epoch(0)))
    with data.batches(0, stop_step=stop) as batches:
        for _, _, batch in batches:
            found: FeatureSums = jax.device_get(sums(variables, batch))  # pyright: ignore[reportAssignmentType]
            total = [a + np.asarray(b, np.float64) for a, b in zip(total, found, strict=True)]
    count, values_f, squares_f = total
    mean_f = values_f / count
    deviation_f = np.sqrt(np.maximum(squares_f / count - mean_f**2, MIN_DEVIATION**2))
    values = {"mean": mean_f.astype(np.float32), "deviation": deviation_f.astype(np.float32)}
    statistics = jax.tree_util.tree_map_with_path(lambda path, _: values[path[-1].key], variables["statistics"])
    return replace(state, statistics={**state.statistics, "statistics": statistics})


def load_teacher(state: TrainState, experiment: Experiment, run: Path | None) -> TrainState:
    """Returns the state with the variables of the teacher, if the experiment has one. Its checkpoints hold them, too.

    Args:
        state: the initial state.
        experiment: the experiment, or a stage of it.
        run: the workdir of the teacher, whose best checkpoint is read.

    Raises:
        ValueError: a teacher without a run, a run without a teacher, or a run of another model.
        FileNotFoundError: no such run or checkpoint.
    """
    if (experiment.teacher is None) != (run is None):
        raise ValueError(
            f"the experiment has {'no ' if experiment.teacher is None else 'a '}teacher and the command "
            f"{'no run of one' if run is None else f'the run {run}'}; give both (`teacher`, --teacher) or none"
        )
    if experiment.teacher is None or run is None:
        return state
    variables, _ = variables_of(experiment.teacher, experiment.tokenizer, Workdir(run))
    return replace(state, statistics={**state.statistics, "teacher": variables})


def load_fusion_lm(state: TrainState, experiment: Experiment, run: Path | None) -> TrainState:
    """Returns the state with the variables of the language model that the decoder fuses. Its checkpoints hold them, too.

    Args:
        state: the initial state.
        experiment: the experiment, or a stage of it.
        run: the workdir of the language model, whose best checkpoint is read.

    Raises:
        ValueError: a fusion without a run, a run without a fusion, or a run of another model.
        FileNotFoundError: no such run or checkpoint.
    """
    fusion = None if isinstance(experiment.model, nn.Lm) else getattr(experiment.model.decoder, "fusion", None)
    if (fusion is None) != (run is None):
        raise ValueError(
            f"the experiment's decoder fuses {'no' if fusion is None else 'a'} language model and the command has "
            f"{'no run of one' if run is None else f'the run {run}'}; give both (`model.decoder.fusion`, --fusion-lm) or none"
        )
    if fusion is None or run is None:
        return state
    variables, _ = variables_of(fusion.lm, experiment.tokenizer, Workdir(run))
    return replace(state, statistics={**state.statistics, LM: {"decoder": {"fusion": {HOLDER: variables}}}})


class PretrainedRuns(NamedTuple):
    """The workdirs of the runs that a run builds on."""

    teacher: Path | None = None
    fusion_lm: Path | None = None
    init_from: Path | None = None  # whose parameters the model begins with, where they match
    print_fn: Callable[[str], None] = print
    record: Path | None = None  # the file that names these runs, for the rows of results

    def load_into(self, state: TrainState, experiment: Experiment) -> TrainState:
        """Returns the state with the variables of these runs. Errors are those of the functions that load them."""
        state = load_fusion_lm(load_teacher(state, experiment, self.teacher), experiment, self.fusion_lm)
        runs = {name: str(run) for name, run in (("teacher", self.teacher), ("fusion_lm", self.fusion_lm)) if run}
        if self.init_from is not None:
            state, inheritance = inherit(state, experiment, self.init_from)
            runs["init_from"] = inheritance.source
            if is_primary():
                self.print_fn("\n".join(inheritance.lines()))
        if self.record is not None and runs:
            write_whole(self.record, json.dumps(runs, ensure_ascii=False))
        return state
