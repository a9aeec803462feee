"""One training step, compiled for chips that may not be here, and what the compiled program says of itself.

`python -m jaxasr.plan.compile` reads a pickled `Job` from its standard input and prints a line of JSON: XLA wants to know
of another machine before it starts, so each job has a process of its own (plan/planner.py).
"""

import json
import pickle
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr import scale
from jaxasr.cost.collectives import Collective, collectives_of
from jaxasr.cost.flops import count
from jaxasr.cost.hlo import read_program
from jaxasr.cost.topology import Topology
from jaxasr.cost.traffic import Traffic, traffic_of
from jaxasr.data.batching.shape import Shape
from jaxasr.evaluation.attention_metrics import watched
from jaxasr.experiment.experiment import Experiment
from jaxasr.plan.synthetic_lengths import stand_in
from jaxasr.records import Batch
from jaxasr.run.initial_state import initial_state, training_form
from jaxasr.training import Objective, TrainState, make_step
from jaxasr.training.step import StepFunction

_NO_ROOM = ("RESOURCE_EXHAUSTED", "Ran out of memory", "out of memory")


@dataclass(frozen=True)
class Job:
    """What is compiled, for what."""

    experiment: Experiment
    objective: Objective  # the experiment's, bound to its vocabulary
    shape: Shape
    topology: Topology
    layout: scale.Layout
    rules: scale.Rules = scale.Rules()


@dataclass(frozen=True)
class Compiled:
    """What a compiled step says of itself. Bytes are those of one device."""

    arguments: int  # the state and the batch
    temporaries: int
    results: int  # that have no argument's place
    code: int
    product_flops: int  # of the global batch
    flops: int  # elementwise and all else included
    parameters: int
    dtype: str  # that most of the products are in
    traffic: Traffic
    collectives: tuple[Collective, ...]
    endless: tuple[str, ...]  # loops of unknown trips, counted once
    compile_s: float
    refused: str = ""  # why the compiler gave up for want of memory; all else but the FLOPs is empty then

    @property
    def memory_bytes(self) -> int:
        """What a device needs."""
        return self.arguments + self.temporaries + self.results + self.code


@dataclass(frozen=True)
class Counted:
    """What a step is before it is compiled, on any machine."""

    parameters: int
    product_flops: int  # of the global batch, padding included
    flops: int  # elementwise and all else included
    dtype: str  # that most of the products are in


def compiled(job: Job) -> Compiled:
    """Compiles a job's step in this process, which was started in the topology's environment."""
    step, state, batch = _traced(job)
    known = asdict(_counted(step, state, batch))
    placed = scale.compile_step(step, "mesh", layout=job.layout, rules=job.rules, devices=job.topology.devices())
    began = time.perf_counter()
    try:
        program = placed.lower(state, batch).compile()
    except jax.errors.JaxRuntimeError as error:
        if not any(sign in str(error) for sign in _NO_ROOM):
            raise
        return _refused(str(error), time.perf_counter() - began, known)
    spent_s = time.perf_counter() - began
    memory, text = program.memory_analysis(), program.as_text()
    if memory is None or text is None:
        raise RuntimeError(f"what compiles for {job.topology} tells neither its memory nor its program")
    ready = read_program(text)
    return Compiled(
        arguments=memory.argument_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        results=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        traffic=traffic_of(ready),
        collectives=collectives_of(ready, dict(placed.mesh.shape), job.topology.nodes),
        endless=ready.endless,
        compile_s=spent_s,
        **known,
    )


def counted(job: Job) -> Counted:
    """What is known of a job's step without compiling it."""
    return _counted(*_traced(job))


def _traced(job: Job) -> tuple[StepFunction, TrainState, Batch]:
    """The step, and the shapes of what it is given."""
    experiment = job.experiment
    step = make_step(
        training_form(experiment.model, job.objective, experiment.teacher),
        watched(job.objective),
        experiment.optimizer.build(),
        ema_decay=experiment.ema_decay,
        noise=experiment.weight_noise,
    )
    small = replace(stand_in(experiment.train_data, utterances=8), shape_choice=_Only(_one_row(job.shape)))
    return step, jax.eval_shape(lambda: initial_state(experiment, small)), jax.eval_shape(lambda: _blank(job.shape))


def _counted(step: StepFunction, state: TrainState, batch: Batch) -> Counted:
    flops = count(lambda state, batch: step(state, batch, scale.ALONE), state, batch)
    by_type = {each.dtype: 0 for each in flops.products}
    for each in flops.products:
        by_type[each.dtype] += each.flops * each.times
    return Counted(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        product_flops=flops.of_products,
        flops=flops.total,
        dtype=max(by_type, key=by_type.__getitem__, default="float32"),
    )


def written(found: Compiled) -> str:
    """As a line of JSON."""
    return json.dumps(asdict(found))


def read(line: str) -> Compiled:
    """What `written` wrote."""
    fields: dict[str, Any] = json.loads(line)
    collectives = tuple(Collective(**{**each, "axes": tuple(each["axes"])}) for each in fields.pop("collectives"))
    endless, traffic = tuple(fields.pop("endless")), Traffic(**fields.pop("traffic"))
    return Compiled(**fields, collectives=collectives, endless=endless, traffic=traffic)


@dataclass(frozen=True)
class _Only:
    """One shape, whatever the lengths (data.ShapeChoice)."""

    shape: Shape
    audio: ClassVar[bool] = True

    def shapes(self, *lengths: np.ndarray, rate_hz: int) -> tuple[Shape, ...]:
        del lengths, rate_hz
        return (self.shape,)

    covering = shapes


def _one_row(shape: Shape) -> Shape:
    """Parameters are made with a batch of one example; their shapes are the same."""
    return replace(shape, examples=1)


def _blank(shape: Shape) -> Batch:
    b = shape.examples
    return Batch(
        wave_bn=jnp.zeros((b, shape.samples), jnp.int16),
        sample_lengths_b=jnp.zeros(b, jnp.int32),
        tokens_bu=jnp.zeros((b, shape.tokens), jnp.int32),
        token_lengths_b=jnp.zeros(b, jnp.int32),
        ids_b=jnp.zeros(b, jnp.uint32),
        valid_b=jnp.zeros(b, bool),
    )


def _refused(why: str, spent_s: float, known: Mapping[str, Any]) -> Compiled:
    lines = [line.strip() for line in why.splitlines() if line.strip()]
    return Compiled(
        0, 0, 0, 0, **known, traffic=Traffic(0, 0, 0), collectives=(), endless=(), compile_s=spent_s, refused=lines[0]
    )


def main() -> None:
    """Compiles the job on the standard input."""
    job: Job = pickle.load(sys.stdin.buffer)
    print(written(compiled(job)))


if __name__ == "__main__":
    main()
