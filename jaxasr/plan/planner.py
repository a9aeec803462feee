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
from jaxasr.data.batching.shape import Shape, assign_buckets
from jaxasr.experiment.experiment import Experiment
from jaxasr.plan.cache import compile_in_subprocess
from jaxasr.plan.compile import CompileJob, CompileReport
from jaxasr.plan.scaling import ScalingForecast, extrapolate_scaling
from jaxasr.plan.synthetic_lengths import DESCRIPTION, synthetic_lengths
from jaxasr.run.initial_state import resolve_objective

LogFn = Callable[[str], None]
_ASSUMPTIONS = {  # by platform: from one kernel to the next, and of a collective
    "tpu": Assumptions(kernel_s=1e-6, collective_s=10e-6),
    "cuda": Assumptions(kernel_s=3e-6, collective_s=20e-6),
    "cpu": Assumptions(kernel_s=5e-6, collective_s=50e-6),
}


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is made for."""

    topology: Topology
    layouts: tuple[scale.Layout, ...] = ()  # empty: a few that usually make sense
    rules: scale.Rules = scale.Rules()  # where the state lies on the mesh
    batch_scales: tuple[float, ...] = (1.0,)  # of the experiment's batch
    chip_hour_price: float | None = None  # of a chip for an hour
    efficiency: float = 0.5  # the share below which it is said to scale no more
    with_scaling: bool = True  # a table of scaling, for which a smaller machine is compiled for as well
    jobs: int = 1  # compilations at once


@dataclass(frozen=True)
class BucketForecast:
    """A batch shape, how often it comes, and what its step takes."""

    shape: Shape
    share: float  # of the steps
    real_share: float  # of its room: the rest is padding
    program: CompileReport
    work: Work
    forecast: Forecast | None  # None: the chip's limits are not known, or it does not fit

    def fits(self, limit: int) -> bool:
        """Whether a device has the memory."""
        return not self.program.out_of_memory and self.program.memory_bytes <= limit


@dataclass(frozen=True)
class MeshCandidate:
    """A mesh and a batch."""

    topology: Topology
    layout: scale.Layout
    batch_scale: float
    shapes: tuple[Shape, ...]
    bucket: BucketForecast | None  # the one that was tried; None: refused before that
    rejection: str = ""


@dataclass(frozen=True)
class Plan:
    """All that a report tells."""

    experiment: Experiment
    request: PlanRequest
    lengths_source: str  # where the batch shapes come from
    limits: Limits | None
    chip: Chip | None
    assumptions: Assumptions
    candidates: tuple[MeshCandidate, ...]
    chosen: MeshCandidate | None  # None: nothing fits
    buckets: tuple[BucketForecast, ...]  # of the chosen one
    scaling: tuple[ScalingForecast, ...]  # of the commonest of them

    @property
    def commonest(self) -> BucketForecast:
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


def plan(experiment: Experiment, request: PlanRequest, data_dir: Path, *, log_fn: LogFn = print) -> Plan:
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
    request.topology.refuse_unknown()
    opened, lengths = _open_data(experiment, data_dir)
    maker = Planner(experiment, request, opened, log_fn)
    layouts = request.layouts or _usual_layouts(request.topology)
    candidates = maker.compile_longest([maker.make_candidate(layout, size) for size in request.batch_scales for layout in layouts])
    chosen = _fastest(candidates, maker.limits)
    buckets = () if chosen is None else maker.buckets(chosen)
    scaling = maker.extrapolate(chosen, buckets) if chosen is not None and request.with_scaling else ()
    return Plan(
        experiment, request, lengths, maker.limits, maker.chip, maker.assumed, candidates, chosen, buckets, scaling
    )


class Planner:
    """Compiles shapes of one experiment, and forecasts their steps."""

    def __init__(self, experiment: Experiment, asked: PlanRequest, opened: data.BoundPipeline, say: LogFn):
        self.experiment, self.asked, self.opened, self.say = experiment, asked, opened, say
        self.objective = resolve_objective(experiment, opened)
        self.assumed = _ASSUMPTIONS[asked.topology.platform]
        self.chip = CHIPS.get(asked.topology.chip)
        self.limits = None if self.chip is None else limits_of(self.chip, asked.topology, "float32")

    def make_candidate(self, layout: scale.Layout, size: float) -> MeshCandidate:
        """With the batch shapes that it would have, if there are such."""
        where = self.asked.topology
        rest, left = divmod(_device_count(where), layout.fsdp * layout.tensor)
        if left or layout.data not in (0, rest):
            return MeshCandidate(where, layout, size, (), None, f"it is not a mesh of {_device_count(where)} devices")
        layout = replace(layout, data=rest)
        try:
            return MeshCandidate(where, layout, size, self._shapes(_example_groups(where, layout), size), None)
        except ValueError as error:
            return MeshCandidate(where, layout, size, (), None, str(error))

    def compile_longest(self, candidates: Sequence[MeshCandidate]) -> tuple[MeshCandidate, ...]:
        """Each with its longest shape compiled."""
        possible = [each for each in candidates if not each.rejection]
        forecast_buckets = iter(self._forecast_all([(each, len(each.shapes) - 1) for each in possible]))
        return tuple(each if each.rejection else replace(each, bucket=next(forecast_buckets)) for each in candidates)

    def buckets(self, chosen: MeshCandidate) -> tuple[BucketForecast, ...]:
        """All shapes of a candidate."""
        return tuple(self._forecast_all([(chosen, place) for place in range(len(chosen.shapes))]))

    def extrapolate(self, chosen: MeshCandidate, buckets: Sequence[BucketForecast]) -> tuple[ScalingForecast, ...]:
        """The commonest shape on other numbers of chips."""
        if self.chip is None:
            return ()
        place = max(range(len(buckets)), key=lambda place: buckets[place].share)
        bucket, less = buckets[place], _quarter_candidate(chosen)
        limits = limits_of(self.chip, chosen.topology, bucket.program.dtype)
        small = None
        if less is not None:
            (found,) = self._forecast_all([(less, place)])
            small = None if found.program.out_of_memory else (found.work, _device_count(less.topology))
        return extrapolate_scaling(bucket.work, _device_count(chosen.topology), small, limits, self.assumed)

    def _forecast_all(self, wanted: Sequence[tuple[MeshCandidate, int]]) -> list[BucketForecast]:
        with (
            ThreadPoolExecutor(self.asked.jobs) as pool,
            report.Progress(len(wanted), "compile", "shapes") as bar,
        ):
            futures = [pool.submit(self._forecast_bucket, *each) for each in wanted]
            for each in futures:
                each.result()
                bar.advance(1)
        return [each.result() for each in futures]

    def _forecast_bucket(self, candidate: MeshCandidate, place: int) -> BucketForecast:
        shape, where = candidate.shapes[place], candidate.topology
        shares, useful = self._step_and_real_shares(candidate.shapes)
        found = compile_in_subprocess(
            CompileJob(self.experiment, self.objective, shape, where, candidate.layout, self.asked.rules), self.say
        )
        work = Work(
            found.product_flops / _device_count(where), float(found.traffic.bytes), found.traffic.kernels, found.collectives
        )
        ahead = None
        if self.chip is not None and not found.out_of_memory:
            ahead = forecast(work, limits_of(self.chip, where, found.dtype), self.assumed)
        return BucketForecast(shape, float(shares[place]), float(useful[place]), found, work, ahead)

    def _shapes(self, groups: int, size: float) -> tuple[Shape, ...]:
        """The experiment's, with as many examples as can be shared out."""
        choice: Any = self.opened.shape_choice  # a dataclass with these two fields, whichever it is
        amount = "seconds_per_batch" if choice.audio else "tokens_per_batch"
        most = getattr(choice, amount) * size
        multiple = math.lcm(choice.examples_multiple, groups)
        scaled = replace(choice, **{amount: type(getattr(choice, amount))(most), "examples_multiple": multiple})
        return replace(self.opened, shape_choice=scaled).plan.shapes

    def _step_and_real_shares(self, shapes: tuple[Shape, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The share of the steps that each shape has, and the part of its room that is no padding."""
        lengths = self.opened.plan.lengths
        speeds = lengths.samples.shape[1]
        tokens = np.repeat(lengths.tokens[:, None], speeds, axis=1)
        places = assign_buckets(shapes, lengths.samples, tokens)
        weights = np.repeat(lengths.weights[:, None] / speeds, speeds, axis=1)
        amount = lengths.samples if shapes[-1].samples else tokens + 1
        steps, useful = [], []
        for place, shape in enumerate(shapes):
            here = np.where(places == place, weights, 0.0)
            steps.append(here.sum() / shape.examples)
            useful.append((here * amount).sum() / max(here.sum() * shape.padded_length, 1e-9))
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


def _open_data(experiment: Experiment, data_dir: Path) -> tuple[data.BoundPipeline, str]:
    try:
        opened = experiment.train_data.open(data_dir)
    except FileNotFoundError:
        return synthetic_lengths(experiment.train_data), DESCRIPTION
    return opened, f"the prepared corpora (data {opened.hash})"


def _usual_layouts(where: Topology) -> tuple[scale.Layout, ...]:
    """Data parallel; the state split over two, over a node or eight, and over all devices."""
    devices = _device_count(where)
    sizes = dict.fromkeys((1, 8 if devices > 8 else 2, devices))
    return tuple(scale.Layout(fsdp=size) for size in sizes if devices % size == 0)


def _device_count(where: Topology) -> int:
    return where.chips * where.devices_per_chip


def _example_groups(where: Topology, layout: scale.Layout) -> int:
    """Among which the examples of a batch are shared out."""
    return _device_count(where) // layout.tensor


def _quarter_candidate(chosen: MeshCandidate) -> MeshCandidate | None:
    """The same batch on a quarter of the chips; None: there is no such machine, or its mesh is too small."""
    where, layout = chosen.topology.quarter(), replace(chosen.layout, data=0)
    if where is None or _device_count(where) % (layout.fsdp * layout.tensor):
        return None
    return replace(chosen, topology=where, layout=layout)


def _fastest(candidates: Sequence[MeshCandidate], limits: Limits | None) -> MeshCandidate | None:
    """Of those that fit the one that does most room a second; without a forecast the first that can be compiled."""
    memory = sys.maxsize if limits is None else limits.memory_bytes
    fitting = [each for each in candidates if each.bucket is not None and each.bucket.fits(memory)]

    def rate(each: MeshCandidate) -> float:
        bucket = each.bucket
        if bucket is None or bucket.forecast is None:
            return 0.0
        return bucket.shape.padded_length * bucket.shape.examples / bucket.forecast.step_s

    return max(fitting, key=rate, default=None)
