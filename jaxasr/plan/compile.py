"""A training step compiled for devices that this machine may not have, and the costs of the compiled program.

`python -m jaxasr.plan.compile` reads a pickled `CompileJob` from its standard input and prints a line of JSON. XLA
needs the other topology before it starts. Each job therefore has a process of its own (plan/cache.py).
"""

import json
import pickle
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import jax
import numpy as np

from jaxasr import scale, tree
from jaxasr.cost.collectives import Collective, collectives_of
from jaxasr.cost.flops import count
from jaxasr.cost.hlo import read_program
from jaxasr.cost.topology import Topology
from jaxasr.cost.traffic import Traffic, traffic_of
from jaxasr.data.batching.shape import Shape
from jaxasr.experiment.variants import ExperimentRef
from jaxasr.plan.synthetic_lengths import synthetic_lengths
from jaxasr.records import Batch
from jaxasr.report import Measurements
from jaxasr.run.initial_state import initial_state, resolve_objective
from jaxasr.run.train_step import make_train_step
from jaxasr.training import TrainState
from jaxasr.training.step import StepFunction

_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Ran out of memory", "out of memory")


@dataclass(frozen=True)
class CompileJob:
    """A training step, its batch shape and the devices for which it is compiled.

    The job is pickled for its process. It holds a reference to the experiment, because an experiment may hold classes of its
    file, which cannot be unpickled elsewhere.
    """

    experiment: ExperimentRef
    fingerprint: str  # of the experiment
    shape: Shape
    topology: Topology
    layout: scale.MeshShape
    rules: scale.Rules = scale.Rules()


@dataclass(frozen=True)
class CompileReport:
    """The costs of a compiled step. Memory is in bytes of one device."""

    arguments: int  # bytes of state and batch
    temporaries: int
    results: int  # bytes of outputs that do not reuse an argument
    code: int
    product_flops: int  # of the global batch
    flops: int  # with elementwise and all other operations
    parameters: int
    dtype: str  # of most product FLOPs
    traffic: Traffic
    collectives: tuple[Collective, ...]
    unbounded_loops: tuple[str, ...]  # loops of unknown trip count, counted once
    compile_s: float
    out_of_memory: str = (
        ""  # the compiler's message if the step does not fit; only the costs before compilation are set then
    )
    unread: str = ""  # the reason why traffic, collectives and loops are unknown
    notes: tuple[str, ...] = ()  # FLOPs that are counted in part, or not at all

    @property
    def memory_bytes(self) -> int:
        """The bytes that a device needs."""
        return self.arguments + self.temporaries + self.results + self.code


@dataclass(frozen=True)
class StepCosts:
    """The costs of a step that are known before it is compiled."""

    parameters: int
    product_flops: int  # of the global batch, padding included
    flops: int  # with elementwise and all other operations
    dtype: str  # of most product FLOPs
    notes: tuple[str, ...] = ()  # FLOPs that are counted in part, or not at all


def compile_job(job: CompileJob) -> CompileReport:
    """Compiles the step of a job in this process, which must have the environment of the topology."""
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
    memory = program.memory_analysis()
    text = program.as_text()
    if memory is None or text is None:
        raise RuntimeError(f"what compiles for {job.topology} tells neither its memory nor its program")
    return CompileReport(
        arguments=memory.argument_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        results=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        compile_s=spent_s,
        **read_costs(text, dict(placed.mesh.shape), job.topology.nodes),
        **known,
    )


def read_costs(text: str, mesh: Mapping[str, int], nodes: Sequence[int]) -> dict[str, Any]:
    """Returns traffic, collectives and loops of a program's text; only the reason if the text cannot be read."""
    reasons: list[str] = []
    costs: dict[str, Any] = {"traffic": Traffic(0, 0, 0), "collectives": (), "unbounded_loops": ()}
    with Measurements(reasons.append).optional("the communication and memory traffic of the compiled program"):
        program = read_program(text)
        costs["collectives"] = collectives_of(program, mesh, nodes)
        costs |= {"traffic": traffic_of(program), "unbounded_loops": program.unbounded_loops}
    return costs | ({"unread": reasons[0]} if reasons else {})


def count_costs(job: CompileJob) -> StepCosts:
    """Returns the costs of the step of a job without compiling it."""
    return _count_costs(*_trace_step(job))


def _trace_step(job: CompileJob) -> tuple[StepFunction, TrainState, Batch]:
    """Returns the step function, and the shapes of its state and batch."""
    experiment = job.experiment.load()
    if tree.fingerprint(experiment) != job.fingerprint:
        raise RuntimeError(f"{job.experiment.reference} was changed while the plan was made; start the command again")
    small = replace(
        synthetic_lengths(experiment.train_data, utterances=8), shape_choice=FixedShape(_one_row(job.shape))
    )
    objective = resolve_objective(experiment, small)  # values that depend on the data do not change the program's costs
    return (
        make_train_step(experiment, objective),
        jax.eval_shape(lambda: initial_state(experiment, small)),
        jax.eval_shape(lambda: Batch.blank(job.shape)),
    )


def _count_costs(step: StepFunction, state: TrainState, batch: Batch) -> StepCosts:
    flops = count(lambda state, batch: step(state, batch, scale.SINGLE_DEVICE), state, batch)
    by_type = {product.dtype: 0 for product in flops.products}
    for product in flops.products:
        by_type[product.dtype] += product.flops * product.times
    return StepCosts(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        product_flops=flops.of_products,
        flops=flops.total,
        dtype=max(by_type, key=by_type.__getitem__, default="float32"),
        notes=tuple(flops.notes),
    )


def to_json(report: CompileReport) -> str:
    """Returns a report as a line of JSON."""
    return json.dumps(asdict(report))


def from_json(line: str) -> CompileReport:
    """Reads a report that `to_json` wrote."""
    fields: dict[str, Any] = json.loads(line)
    collectives = tuple(Collective(**{**item, "axes": tuple(item["axes"])}) for item in fields.pop("collectives"))
    fields |= {name: tuple(fields.get(name, ())) for name in ("unbounded_loops", "notes")}
    traffic = Traffic(**fields.pop("traffic"))
    return CompileReport(**fields, collectives=collectives, traffic=traffic)


@dataclass(frozen=True)
class FixedShape:
    """A choice of shapes (data.ShapeChoice) that is one shape for all lengths."""

    shape: Shape
    audio: ClassVar[bool] = True

    def shapes(self, *lengths: np.ndarray, rate_hz: int) -> tuple[Shape, ...]:
        """Returns the shape."""
        del lengths, rate_hz
        return (self.shape,)

    eval_buckets = shapes


def _one_row(shape: Shape) -> Shape:
    """Returns the shape for one example, which is enough to initialise the parameters."""
    return replace(shape, examples=1)


def _out_of_memory_report(why: str, spent_s: float, known: Mapping[str, Any]) -> CompileReport:
    lines = [line.strip() for line in why.splitlines() if line.strip()]
    return CompileReport(
        arguments=0,
        temporaries=0,
        results=0,
        code=0,
        **known,
        traffic=Traffic(0, 0, 0),
        collectives=(),
        unbounded_loops=(),
        compile_s=spent_s,
        out_of_memory=lines[0],
    )


def main() -> None:
    """Compiles the job on the standard input and prints its report."""
    job: CompileJob = pickle.load(sys.stdin.buffer)
    print(to_json(compile_job(job)))


if __name__ == "__main__":
    main()
