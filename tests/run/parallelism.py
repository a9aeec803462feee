"""Five steps of an experiment with everything random, in any parallelism, on any mesh, in any number of processes."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from jaxasr import nn, training
from jaxasr.experiment import Experiment
from jaxasr.run.initial_state import init_feature_statistics, initial_state, make_apply_fn, resolve_objective
from jaxasr.scale import MeshShape, Parallelism, Rules, compile_step
from jaxasr.scale.layout import host_local_copy, replicated
from jaxasr.training import make_step
from tests import tiny_experiments as tiny

STEPS = 5
RULES = Rules(split_from=32)  # so that even these arrays are split
BLOCKS = nn.Conformer(1, 16, 2, expansion=2, kernel_size=3, subsampling=nn.ConvSubsampling((4, 4)), dropout=0.1)


def experiment() -> Experiment:
    """As tiny.restless, with an encoder that has something for every rule; eight examples a batch, for eight devices.

    Adam divides by the root of the second moment: with its usual eps a gradient of 1e-9 would count like one of 1.
    """
    restless = tiny.restless()
    attention = nn.LocationAttention(8, filters=4, kernel_size=5)
    return replace(
        restless,
        model=restless.model.clone(encoder=BLOCKS, decoder=restless.model.decoder.clone(attention=attention)),
        train_data=replace(
            restless.train_data, shapes=replace(tiny.SHAPES, seconds_per_batch=8.0, examples_multiple=8)
        ),
        objective=training.Objective(label_smoothing=0.1, ctc_weight=0.5, prior="unigram"),
        optimizer=training.Adam(training.Constant(1e-2), clip_norm=1.0, eps=1e-3),
        ema_decay=0.9,
    )


def five_steps(data_dir: Path, how: Parallelism, layout: MeshShape) -> dict[str, np.ndarray]:
    """Returns the losses, the examples of every step, and the parameters after the last one, on the host, by path."""
    here = experiment()
    data = here.train_data.open(data_dir)
    objective = resolve_objective(here, data)
    pure = make_step(
        make_apply_fn(here.model, objective),
        objective,
        here.optimizer.build(),
        ema_decay=here.ema_decay,
        noise=here.weight_noise,
    )
    step = compile_step(pure, how, layout=layout, rules=RULES)
    state = step.place_state(init_feature_statistics(initial_state(here, data), here, data))
    losses = []
    examples = []
    shard = step.host_shard
    with data.batches(0, host=shard.host, hosts=shard.hosts, stop_step=STEPS) as batches:
        for _, row, batch in batches:
            state, sums = step(state, step.place(batch))
            losses.append(jax.device_get(sums["loss"]).mean)
            examples.append(row.examples_b)
    whole = jax.jit(lambda tree: tree, out_shardings=replicated(step.mesh))
    params = jax.device_get(whole(host_local_copy({"params": state.params, "ema_params": state.ema_params})))
    paths, _ = jax.tree_util.tree_flatten_with_path(params)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in paths}
    return {"losses": np.array(losses), "examples": np.array(examples), **named}


def write_five_steps(file: str, data_dir: str, how: Parallelism, layout: str) -> None:
    """Writes the result of `five_steps` to a file, in the primary process."""
    found = five_steps(Path(data_dir), how, MeshShape.parse(layout))
    if jax.process_index() == 0:
        np.savez(file, **found)
