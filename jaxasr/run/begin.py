"""What a run begins with: the state before the first step, or the one that a checkpoint holds."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from typing import Any

import jax
import numpy as np

from jaxasr import nn, tree
from jaxasr.data import OpenPipeline
from jaxasr.ops.features import FeatureSums
from jaxasr.records import Batch, Outputs
from jaxasr.run.experiment import Experiment
from jaxasr.train import Metadata, TrainState, new_state

STATISTICS_BATCHES = 200  # batches of training data that global normalisation is measured on, at most
MIN_DEVIATION = 1e-3


def training_form(model: nn.Seq2Seq) -> Callable[[Any, Batch, jax.Array, Mapping[str, jax.Array]], Outputs]:
    """The model as a training step sees it: variables, batch, step and random streams in, outputs out."""

    def apply(variables: Any, batch: Batch, step: jax.Array, streams: Mapping[str, jax.Array]) -> Outputs:
        return model.apply(variables, batch, step=step, rngs=dict(streams))  # pyright: ignore[reportReturnType]

    return apply


def metadata_of(experiment: Experiment, data: OpenPipeline) -> Metadata:
    """What a checkpoint of this run says of itself."""
    packages = ("jaxasr", "jax", "flax", "optax", "orbax-checkpoint")
    return Metadata(
        experiment=tree.render(experiment),
        fingerprint=tree.fingerprint(experiment),
        tokenizer=experiment.tokenizer.digest,
        data=data.hash,
        versions={name: metadata.version(name) for name in packages},
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


def initial_state(experiment: Experiment, data: OpenPipeline) -> TrainState:
    """Freshly initialised parameters; the statistics of the data are still blank (see `measured`)."""

    def make(key: jax.Array, batch: Batch) -> TrainState:
        variables: Any = experiment.model.init(key, batch, step=None)
        return new_state(variables, experiment.optimizer.build(), key)

    return jax.jit(make)(jax.random.key(experiment.seed), blank_batch(data))


def measured(state: TrainState, experiment: Experiment, data: OpenPipeline) -> TrainState:
    """The state with mean and deviation of the training data's features, where the model wants to know them."""
    if "statistics" not in state.statistics:
        return state
    variables = {"params": state.params, **state.statistics}
    sums = jax.jit(lambda batch: experiment.model.apply(variables, batch, method="feature_sums"))
    total = [np.zeros(()), np.zeros(experiment.model.frontend.bins), np.zeros(experiment.model.frontend.bins)]
    stop = min(STATISTICS_BATCHES, len(data.plan.epoch(0)))
    with data.batches(0, stop_step=stop) as batches:
        for _, _, batch in batches:
            found: FeatureSums = jax.device_get(sums(batch))  # pyright: ignore[reportAssignmentType]
            total = [a + np.asarray(b, np.float64) for a, b in zip(total, found, strict=True)]
    count, values_f, squares_f = total
    mean_f = values_f / count
    deviation_f = np.sqrt(np.maximum(squares_f / count - mean_f**2, MIN_DEVIATION**2))
    values = {"mean": mean_f.astype(np.float32), "deviation": deviation_f.astype(np.float32)}
    statistics = jax.tree_util.tree_map_with_path(lambda path, _: values[path[-1].key], state.statistics)
    return replace(state, statistics=statistics)
