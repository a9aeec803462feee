"""What an experiment will take on a machine that is not here: compiled for its chips, held against what they can do.

    candidates     mesh x batch; for each, the longest batch shape is compiled: does it fit, how fast is it
    the choice     the one that was asked for, or that fits and does most audio a second: all its batch shapes are compiled
    scaling        its commonest shape on fewer and on more chips (plan/scaling.py)

Each compilation is a process of its own, some at a time, and its answer is kept under a key of all that decides it.
"""

import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxasr import data, report, scale
from jaxasr.cost.chips import CHIPS, Chip
from jaxasr.cost.roofline import Assumptions, Forecast, Limits, Work, forecast
from jaxasr.cost.topology import Topology
from jaxasr.data.batching.shape import Shape, assign
from jaxasr.experiment.experiment import Experiment
from jaxasr.plan.cache import compile_apart
from jaxasr.plan.compile import Compiled, Job
from jaxasr.plan.scaling import Point, scaled
from jaxasr.plan.synthetic_lengths import TOLD, stand_in
from jaxasr.run.initial_state import bound_objective

Say = Callable[[str], None]
_ASSUMED = {  # by platform: from one kernel to the next, and of a collective
    "tpu": Assumptions(kernel_s=1e-6, collective_s=10e-6),
    "cuda": Assumptions(kernel_s=3e-6, collective_s=20e-6),
    "cpu": Assumptions(kernel_s=5e-6, collective_s=50e-6),
}


@dataclass(frozen=True)
class Asked:
    """What a plan is made for."""

    topology: Topology
    layouts: tuple[scale.Layout, ...] = ()  # empty: a few that usually make sense
    rules: scale.Rules = scale.Rules()  # where the state lies on the mesh
    batch_scales: tuple[float, ...] = (1.0,)  # of the experiment's batch
    price: float | None = None  # of a chip for an hour
    efficiency: float = 0.5  # the share below which it is said to scale no more
    scales: bool = True  # a table of scaling, for which a smaller machine is compiled for as well
    jobs: int = 1  # compilations at once


@dataclass(frozen=True)
class Bucket:
    """A batch shape, how often it comes, and what its step takes."""

    shape: Shape
    share: float  # of the steps
    useful: float  # of its room: the rest is padding
    found: Compiled
    work: Work
    forecast: Forecast | None  # None: the chip's limits are not known, or it does not fit

    def fits(self, limit: int) -> bool:
        """Whether a device has the memory."""
        return not self.found.refused and self.found.memory_bytes <= limit


@dataclass(frozen=True)
class Candidate:
    """A mesh and a batch."""

    topology: Topology
    layout: scale.Layout
    batch_scale: float
    shapes: tuple[Shape, ...]
    bucket: Bucket | None  # the one that was tried; None: refused before that
    why_not: str = ""


@dataclass(frozen=True)
class Plan:
    """All that a report tells."""

    experiment: Experiment
    asked: Asked
    lengths: str  # where the batch shapes come from
    limits: Limits | None
    chip: Chip | None
    assumed: Assumptions
    candidates: tuple[Candidate, ...]
    chosen: Candidate | None  # None: nothing fits
    buckets: tuple[Bucket, ...]  # of the chosen one
    scaling: tuple[Point, ...]  # of the commonest of them

    @property
    def commonest(self) -> Bucket:
        """The batch shape that most steps have."""
        return max(self.buckets, key=lambda each: each.share)

    @property
    def step_s(self) -> float | None:
        """The mean over all steps; None without a forecast."""
        ahead = [each.forecast for each in self.buckets]
        known = [each for each in ahead if each is not None]
        if not known or len(known) < len(ahead):
            return None
        return sum(each.share * found.step_s for each, found in zip(self.buckets, known, strict=True))


def plan(experiment: Experiment, asked: Asked, data_dir: Path, *, say: Say = print) -> Plan:
    """Compiles what has to be compiled, and forecasts.

    Args:
        experiment: as `train` would be given it.
        asked: for which machine, and what is to be tried there.
        data_dir: where its corpora may be prepared; if they are not, stand-in lengths take their place.
        say: takes the lines that are for people while it goes on.

    Raises:
        ValueError: what describes the chips is not installed, or no shape of a batch can be shared out over them.
        RuntimeError: a compilation failed for another reason than want of memory.
    """
    asked.topology.refuse_unknown()
    opened, lengths = _opened(experiment, data_dir)
    maker = _Maker(experiment, asked, opened, say)
    layouts = asked.layouts or _layouts(asked.topology)
    candidates = maker.tried([maker.candidate(layout, size) for size in asked.batch_scales for layout in layouts])
    chosen = _fastest(candidates, maker.limits)
    buckets = () if chosen is None else maker.buckets(chosen)
    scaling = maker.scaling(chosen, buckets) if chosen is not None and asked.scales else ()
    return Plan(
        experiment, asked, lengths, maker.limits, maker.chip, maker.assumed, candidates, chosen, buckets, scaling
    )


class _Maker:
    """Compiles shapes of one experiment, and forecasts their steps."""

    def __init__(self, experiment: Experiment, asked: Asked, opened: data.OpenPipeline, say: Say):
        self.experiment, self.asked, self.opened, self.say = experiment, asked, opened, say
        self.objective = bound_objective(experiment, opened)
        self.assumed = _ASSUMED[asked.topology.platform]
        self.chip = CHIPS.get(asked.topology.chip)
        self.limits = None if self.chip is None else limits_of(self.chip, asked.topology, "float32")

    def candidate(self, layout: scale.Layout, size: float) -> Candidate:
        """With the batch shapes that it would have, if there are such."""
        where = self.asked.topology
        rest, left = divmod(_devices(where), layout.fsdp * layout.tensor)
        if left or layout.data not in (0, rest):
            return Candidate(where, layout, size, (), None, f"it is not a mesh of {_devices(where)} devices")
        layout = replace(layout, data=rest)
        try:
            return Candidate(where, layout, size, self._shapes(_groups(where, layout), size), None)
        except ValueError as error:
            return Candidate(where, layout, size, (), None, str(error))

    def tried(self, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """Each with its longest shape compiled."""
        possible = [each for each in candidates if not each.why_not]
        buckets = iter(self._all([(each, len(each.shapes) - 1) for each in possible]))
        return tuple(each if each.why_not else replace(each, bucket=next(buckets)) for each in candidates)

    def buckets(self, chosen: Candidate) -> tuple[Bucket, ...]:
        """All shapes of a candidate."""
        return tuple(self._all([(chosen, place) for place in range(len(chosen.shapes))]))

    def scaling(self, chosen: Candidate, buckets: Sequence[Bucket]) -> tuple[Point, ...]:
        """The commonest shape on other numbers of chips."""
        if self.chip is None:
            return ()
        place = max(range(len(buckets)), key=lambda place: buckets[place].share)
        bucket, less = buckets[place], _smaller(chosen)
        limits = limits_of(self.chip, chosen.topology, bucket.found.dtype)
        small = None
        if less is not None:
            (found,) = self._all([(less, place)])
            small = None if found.found.refused else (found.work, _devices(less.topology))
        return scaled(bucket.work, _devices(chosen.topology), small, limits, self.assumed)

    def _all(self, wanted: Sequence[tuple[Candidate, int]]) -> list[Bucket]:
        with (
            ThreadPoolExecutor(self.asked.jobs) as pool,
            report.Progress(len(wanted), "compile", "shapes") as bar,
        ):
            futures = [pool.submit(self._bucket, *each) for each in wanted]
            for each in futures:
                each.result()
                bar.advance(1)
        return [each.result() for each in futures]

    def _bucket(self, candidate: Candidate, place: int) -> Bucket:
        shape, where = candidate.shapes[place], candidate.topology
        shares, useful = self._mix(candidate.shapes)
        found = compile_apart(
            Job(self.experiment, self.objective, shape, where, candidate.layout, self.asked.rules), self.say
        )
        work = Work(
            found.product_flops / _devices(where), float(found.traffic.bytes), found.traffic.kernels, found.collectives
        )
        ahead = None
        if self.chip is not None and not found.refused:
            ahead = forecast(work, limits_of(self.chip, where, found.dtype), self.assumed)
        return Bucket(shape, float(shares[place]), float(useful[place]), found, work, ahead)

    def _shapes(self, groups: int, size: float) -> tuple[Shape, ...]:
        """The experiment's, with as many examples as can be shared out."""
        choice: Any = self.opened.shape_choice  # a dataclass with these two fields, whichever it is
        amount = "seconds_per_batch" if choice.audio else "tokens_per_batch"
        most = getattr(choice, amount) * size
        multiple = math.lcm(choice.examples_multiple, groups)
        scaled = replace(choice, **{amount: type(getattr(choice, amount))(most), "examples_multiple": multiple})
        return replace(self.opened, shape_choice=scaled).plan.shapes

    def _mix(self, shapes: tuple[Shape, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The share of the steps that each shape has, and the part of its room that is no padding."""
        lengths = self.opened.plan.lengths
        speeds = lengths.samples.shape[1]
        tokens = np.repeat(lengths.tokens[:, None], speeds, axis=1)
        places = assign(shapes, lengths.samples, tokens)
        weights = np.repeat(lengths.weights[:, None] / speeds, speeds, axis=1)
        amount = lengths.samples if shapes[-1].samples else tokens + 1
        steps, useful = [], []
        for place, shape in enumerate(shapes):
            here = np.where(places == place, weights, 0.0)
            steps.append(here.sum() / shape.examples)
            useful.append((here * amount).sum() / max(here.sum() * shape.length, 1e-9))
        return np.array(steps) / max(sum(steps), 1e-9), np.array(useful)


def limits_of(chip: Chip, where: Topology, dtype: str) -> Limits:
    """What one device of these chips can do at most, with products of this type."""
    each = where.devices_per_chip
    flops = chip.flops_bf16 if dtype in ("bfloat16", "float16") else chip.flops_float32
    return Limits(
        flops=flops / each,
        memory_bytes=chip.memory_bytes // each,
        memory_bandwidth=chip.memory_bandwidth / each,
        link_bandwidth=chip.link_bandwidth / each,
        network_bandwidth=chip.network_bandwidth / each,
        node_devices=(chip.linked if where.platform == "tpu" else where.node_chips) * each,
    )


def _opened(experiment: Experiment, data_dir: Path) -> tuple[data.OpenPipeline, str]:
    try:
        opened = experiment.train_data.open(data_dir)
    except FileNotFoundError:
        return stand_in(experiment.train_data), TOLD
    return opened, f"the prepared corpora (data {opened.hash})"


def _layouts(where: Topology) -> tuple[scale.Layout, ...]:
    """Data parallel; the state split over two, over a node or eight, and over all devices."""
    devices = _devices(where)
    sizes = dict.fromkeys((1, 8 if devices > 8 else 2, devices))
    return tuple(scale.Layout(fsdp=size) for size in sizes if devices % size == 0)


def _devices(where: Topology) -> int:
    return where.chips * where.devices_per_chip


def _groups(where: Topology, layout: scale.Layout) -> int:
    """Among which the examples of a batch are shared out."""
    return _devices(where) // layout.tensor


def _smaller(chosen: Candidate) -> Candidate | None:
    """The same batch on a quarter of the chips; None: there is no such machine, or its mesh is too small."""
    where, layout = chosen.topology.quarter(), replace(chosen.layout, data=0)
    if where is None or _devices(where) % (layout.fsdp * layout.tensor):
        return None
    return replace(chosen, topology=where, layout=layout)


def _fastest(candidates: Sequence[Candidate], limits: Limits | None) -> Candidate | None:
    """Of those that fit the one that does most room a second; without a forecast the first that can be compiled."""
    memory = sys.maxsize if limits is None else limits.memory_bytes
    fitting = [each for each in candidates if each.bucket is not None and each.bucket.fits(memory)]

    def rate(each: Candidate) -> float:
        bucket = each.bucket
        if bucket is None or bucket.forecast is None:
            return 0.0
        return bucket.shape.length * bucket.shape.examples / bucket.forecast.step_s

    return max(fitting, key=rate, default=None)
