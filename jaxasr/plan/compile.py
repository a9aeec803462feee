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
from jaxasr.plan.synthetic_lengths import synthetic_lengths
from jaxasr.records import Batch
from jaxasr.run.initial_state import initial_state, make_apply_fn
from jaxasr.training import Objective, TrainState, make_step
from jaxasr.training.step import StepFunction

_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Ran out of memory", "out of memory")


@dataclass(frozen=True)
class CompileJob:
    """What is compiled, for what."""

    experiment: Experiment
    objective: Objective  # the experiment's, bound to its vocabulary
    shape: Shape
    topology: Topology
    layout: scale.Layout
    rules: scale.Rules = scale.Rules()


@dataclass(frozen=True)
class CompileReport:
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
    unbounded_loops: tuple[str, ...]  # loops of unknown trips, counted once
    compile_s: float
    out_of_memory: str = ""  # why the compiler gave up for want of memory; all else but the FLOPs is empty then

    @property
    def memory_bytes(self) -> int:
        """What a device needs."""
        return self.arguments + self.temporaries + self.results + self.code


@dataclass(frozen=True)
class StepCosts:
    """What a step is before it is compiled, on any machine."""

    parameters: int
    product_flops: int  # of the global batch, padding included
    flops: int  # elementwise and all else included
    dtype: str  # that most of the products are in


def compile_job(job: CompileJob) -> CompileReport:
    """Compiles a job's step in this process, which was started in the topology's environment."""
    step, state, batch = _trace_step(job)
    known = asdict(_count_costs(step, state, batch))
    placed = scale.compile_step(step, "mesh", layout=job.layout, rules=job.rules, devices=job.topology.devices())
    began = time.perf_counter()
    try:
        program = placed.lower(state, batch).compile()
    except jax.errors.JaxRuntimeError as error:
        if not any(sign in str(error) for sign in _OUT_OF_MEMORY):
            raise
        return _out_of_memory_report(str(error), time.perf_counter() - began, known)
    spent_s = time.perf_counter() - began
    memory, text = program.memory_analysis(), program.as_text()
    if memory is None or text is None:
        raise RuntimeError(f"what compiles for {job.topology} tells neither its memory nor its program")
    ready = read_program(text)
    return CompileReport(
        arguments=memory.argument_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        results=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        traffic=traffic_of(ready),
        collectives=collectives_of(ready, dict(placed.mesh.shape), job.topology.nodes),
        unbounded_loops=ready.endless,
        compile_s=spent_s,
        **known,
    )


def count_costs(job: CompileJob) -> StepCosts:
    """What is known of a job's step without compiling it."""
    return _count_costs(*_trace_step(job))


def _trace_step(job: CompileJob) -> tuple[StepFunction, TrainState, Batch]:
    """The step, and the shapes of what it is given."""
    experiment = job.experiment
    step = make_step(
        make_apply_fn(experiment.model, job.objective, experiment.teacher),
        watched(job.objective),
        experiment.optimizer.build(),
        ema_decay=experiment.ema_decay,
        noise=experiment.weight_noise,
    )
    small = replace(synthetic_lengths(experiment.train_data, utterances=8), shape_choice=FixedShape(_one_row(job.shape)))
    return step, jax.eval_shape(lambda: initial_state(experiment, small)), jax.eval_shape(lambda: Batch.blank(job.shape))


def _count_costs(step: StepFunction, state: TrainState, batch: Batch) -> StepCosts:
    flops = count(lambda state, batch: step(state, batch, scale.ALONE), state, batch)
    by_type = {each.dtype: 0 for each in flops.products}
    for each in flops.products:
        by_type[each.dtype] += each.flops * each.times
    return StepCosts(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        product_flops=flops.of_products,
        flops=flops.total,
        dtype=max(by_type, key=by_type.__getitem__, default="float32"),
    )


def to_json(found: CompileReport) -> str:
    """As a line of JSON."""
    return json.dumps(asdict(found))


def from_json(line: str) -> CompileReport:
    """What `written` wrote."""
    fields: dict[str, Any] = json.loads(line)
    collectives = tuple(Collective(**{**each, "axes": tuple(each["axes"])}) for each in fields.pop("collectives"))
    endless, traffic = tuple(fields.pop("endless")), Traffic(**fields.pop("traffic"))
    return CompileReport(**fields, collectives=collectives, unbounded_loops=endless, traffic=traffic)


@dataclass(frozen=True)
class FixedShape:
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


def _out_of_memory_report(why: str, spent_s: float, known: Mapping[str, Any]) -> CompileReport:
    lines = [line.strip() for line in why.splitlines() if line.strip()]
    return CompileReport(
        0, 0, 0, 0, **known, traffic=Traffic(0, 0, 0), collectives=(), unbounded_loops=(), compile_s=spent_s, out_of_memory=lines[0]
    )


def main() -> None:
    """Compiles the job on the standard input."""
    job: CompileJob = pickle.load(sys.stdin.buffer)
    print(to_json(compile_job(job)))


if __name__ == "__main__":
    main()
