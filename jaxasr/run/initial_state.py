"""What a run begins with: the state before the first step, with what the runs it builds on have learnt."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr import nn, text, tree
from jaxasr.data import OpenPipeline
from jaxasr.experiment.experiment import Experiment, Model
from jaxasr.experiment.restore import variables_of
from jaxasr.experiment.workdir import Workdir
from jaxasr.nn.decoders.fusion import HOLDER, LM
from jaxasr.ops.audio.features import FeatureSums
from jaxasr.records import END, Batch, NBest, Outputs
from jaxasr.text.tokenizer import Tokenizer
from jaxasr.training import ExpectedErrors, Metadata, Objective, Term, TrainState, log_probs_of, new_state, spelling_of

STATISTICS_BATCHES = 200  # batches of training data that global normalisation is measured on, at most
MIN_DEVIATION = 1e-3


def training_form(
    model: Model, objective: Objective | None = None, teacher: Model | None = None
) -> Callable[[Any, Batch, jax.Array, Mapping[str, jax.Array]], Outputs]:
    """The model as a training step sees it: variables, batch, step and random streams in, outputs out.

    Where the objective has `ExpectedErrors` the n best of its search, made with the variables of the step, are among them;
    and what a teacher says, whose variables are the collection "teacher".
    """
    search = None if objective is None else objective.search

    def apply(variables: Any, batch: Batch, step: jax.Array, streams: Mapping[str, jax.Array]) -> Outputs:
        rngs, taught = dict(streams), variables.get("teacher")
        variables = {name: each for name, each in variables.items() if name != "teacher"}
        outputs: Any = model.apply(variables, batch, step=step, rngs=rngs)
        if teacher is not None:
            said: Any = teacher.apply(jax.lax.stop_gradient(taught), batch, step=None)
            outputs = replace(outputs, teacher_logits_buv=said.logits_buv)
        if search is None or not isinstance(model, nn.Seq2Seq):
            return outputs
        found = search(nn.Recogniser(model, jax.lax.stop_gradient(variables)), batch)
        logits: Any = model.apply(variables, batch, found.tokens_bwu, step=step, rngs=rngs, method="spell")
        log_probs_bw = log_probs_of(logits, found.tokens_bwu, found.token_lengths_bw)
        n_best = NBest(found.tokens_bwu, found.token_lengths_bw, log_probs_bw, found.scores_bw > -jnp.inf)
        return replace(outputs, n_best=n_best)

    return apply


def bound_objective(experiment: Experiment, data: OpenPipeline) -> Objective:
    """The objective with what it has to know of the vocabulary and of the training transcripts."""
    objective, tokenizer = experiment.objective, experiment.tokenizer
    tokens = data.draft.tokens
    if objective.prior == "unigram" and tokens is not None:
        counts_v = np.bincount(tokens.flat, minlength=tokenizer.size)
        counts_v[END] = len(tokens.lengths)
        objective = replace(objective, prior=tuple((counts_v / counts_v.sum()).tolist()))
    return replace(objective, extra=tuple(_bound_term(term, tokenizer) for term in objective.extra))


def _bound_term(term: Term, tokenizer: Tokenizer) -> Term:
    if not isinstance(term, ExpectedErrors) or term.unit == "token":
        return term
    return replace(term, spelling=spelling_of(text.written(tokenizer)))


def metadata_of(experiment: Experiment, data: OpenPipeline) -> Metadata:
    """What a checkpoint of this run says of itself."""
    packages = ("jaxasr", "jax", "flax", "optax", "orbax-checkpoint")
    return Metadata(
        experiment=tree.render(experiment),
        defaults=tree.defaults(experiment),
        fingerprint=tree.fingerprint(experiment),
        tokenizer=experiment.tokenizer.digest,
        data=data.hash,
        versions={name: metadata.version(name) for name in packages},
        longest_s=data.shapes[-1].samples / data.rate_hz,
    )


def blank_batch(data: OpenPipeline) -> Batch:
    """A batch of the smallest shape with nothing in it: what parameters are initialised with."""
    shape = data.shapes[0]
    b = shape.examples
    lengths_b = np.zeros(b, np.int32)
    return Batch(
        wave_bn=np.zeros((b, shape.samples), np.int16),
        sample_lengths_b=lengths_b,
        tokens_bu=np.zeros((b, shape.tokens), np.int32),
        token_lengths_b=lengths_b,
        ids_b=np.zeros(b, np.uint32),
        valid_b=np.zeros(b, bool),
    )


def initial_state(experiment: Experiment, data: OpenPipeline, shardings: Any = None) -> TrainState:
    """Freshly initialised parameters; the statistics of the data are still blank (see `measured`), so is a teacher.

    Args:
        shardings: where each leaf lies, a tree of the state; None: on the first device. What is drawn is the same.
    """

    def make(key: jax.Array, batch: Batch) -> TrainState:
        variables: Any = experiment.model.init(key, batch, step=None)
        if experiment.teacher is not None:
            variables = {**variables, "teacher": experiment.teacher.init(key, batch, step=None)}
        return new_state(variables, experiment.optimizer.build(), key)

    return jax.jit(make, out_shardings=shardings)(jax.random.key(experiment.seed), blank_batch(data))


def measured(state: TrainState, experiment: Experiment, data: OpenPipeline) -> TrainState:
    """The state with mean and deviation of the training data's features, where the model wants to know them."""
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


def taught(state: TrainState, experiment: Experiment, run: Path | None) -> TrainState:
    """The state with what the teacher has learnt, where the experiment has one. A checkpoint holds it from then on.

    Args:
        run: the workdir of the teacher, of which the best checkpoint is taken.

    Raises:
        ValueError: a teacher without a run, a run without a teacher, or one that does not fit the other.
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


def fused(state: TrainState, experiment: Experiment, run: Path | None) -> TrainState:
    """The state with what the language model has learnt that the decoder fuses, if it does; checkpoints hold it then.

    Args:
        run: the workdir of the language model, of which the best checkpoint is taken.

    Raises:
        ValueError: a fusion without a run, a run without a fusion, or one that does not fit the other.
        FileNotFoundError: no such run or checkpoint.
    """
    fusion = None if isinstance(experiment.model, nn.Lm) else getattr(experiment.model.decoder, "fusion", None)
    if (fusion is None) != (run is None):
        raise ValueError(
            f"the experiment's decoder fuses {'no' if fusion is None else 'a'} language model and the command has "
            f"{'no run of one' if run is None else f'the run {run}'}; give both (`model.decoder.fusion`, --fused) or none"
        )
    if fusion is None or run is None:
        return state
    variables, _ = variables_of(fusion.lm, experiment.tokenizer, Workdir(run))
    return replace(state, statistics={**state.statistics, LM: {"decoder": {"fusion": {HOLDER: variables}}}})


class Elders(NamedTuple):
    """The workdirs of the runs that one begins with."""

    teacher: Path | None = None
    fused: Path | None = None

    def given_to(self, state: TrainState, experiment: Experiment) -> TrainState:
        """The state with all that they have learnt. Errors are those of `taught` and `fused`."""
        return fused(taught(state, experiment, self.teacher), experiment, self.fused)
