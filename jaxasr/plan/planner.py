"""The planner of `jaxasr plan`: compiles an experiment for other devices and forecasts its run from their limits.

    candidates     meshes x batch sizes. The longest batch shape of each candidate is compiled: does it fit, how fast is it
    choice         the candidate that fits and has the highest throughput. All of its batch shapes are compiled
    scaling        the commonest batch shape of the choice on fewer and on more chips (plan/scaling.py)

Each compilation runs in its own process, several at a time. The cache keeps its result under a key of everything that
determines it.
"""

import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxasr import data, report, scale, tree
from jaxasr.cost.chips import CHIPS
from jaxasr.cost.roofline import Assumptions, Limits, ProgramWork, forecast
from jaxasr.cost.topology import Topology
from jaxasr.data.batching.shape import Shape, assign_buckets
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.variants import ExperimentRef
from jaxasr.plan.cache import compile_in_subprocess
from jaxasr.plan.compile import CompileJob
from jaxasr.plan.fit import fill_memory
from jaxasr.plan.limits import limits_of
from jaxasr.plan.records import BucketForecast, MeshCandidate, Plan, PlanRequest
from jaxasr.plan.scaling import ScalingForecast, extrapolate_scaling
from jaxasr.plan.synthetic_lengths import DESCRIPTION, synthetic_lengths

LogFn = Callable[[str], None]
_ASSUMPTIONS = {  # by platform: the overhead of a kernel and of a collective
    "tpu": Assumptions(kernel_s=1e-6, collective_s=10e-6),
    "cuda": Assumptions(kernel_s=3e-6, collective_s=20e-6),
    "cpu": Assumptions(kernel_s=5e-6, collective_s=50e-6),
}


def plan(source: ExperimentRef, request: PlanRequest, data_dir: Path, *, log_fn: LogFn = print) -> Plan:
    """Forecasts a run of an experiment on other devices.

    Args:
        source: the reference to the experiment, which every compiling process loads for itself.
        request: the devices and the settings to try on them.
        data_dir: the folder of the prepared corpora. If a corpus is missing, synthetic lengths are used.
        log_fn: is called with lines about the progress.

    Raises:
        ValueError: the package that describes the chips is not installed, or no batch can be split evenly over them.
        RuntimeError: a compilation failed for a reason other than lack of memory.
    """
    request.topology.check_known()
    if request.fit and request.topology.chip not in CHIPS:
        raise ValueError(
            f"--fit needs the memory of a chip, and that of {request.topology.chip!r} is not known; give a TPU or GPU"
        )
    experiment = source.load()
    opened, lengths = _open_data(experiment, data_dir)
    planner = Planner(source, tree.fingerprint(experiment), request, opened, log_fn)
    layouts = request.layouts or _usual_layouts(request.topology)
    candidates = planner.compile_longest(
        [planner.make_candidate(layout, size) for size in request.batch_scales for layout in layouts]
    )
    chosen = _fastest(candidates, planner.limits)
    filled = planner.fill(chosen or _first_possible(candidates)) if request.fit else None
    run = filled or chosen
    buckets = () if run is None else planner.forecast_buckets(run)
    scaling = planner.extrapolate(run, buckets) if run is not None and request.with_scaling else ()
    return Plan(
        experiment=experiment,
        request=request,
        lengths_source=lengths,
        limits=planner.limits,
        chip=planner.chip,
        assumptions=planner.assumptions,
        candidates=candidates,
        chosen=chosen,
        buckets=buckets,
        scaling=scaling,
        filled=filled,
        overrides=() if filled is None else planner.overrides(filled),
    )


class Planner:
    """A compiler of the batch shapes of one experiment that forecasts their steps."""

    def __init__(
        self,
        source: ExperimentRef,
        fingerprint: str,
        request: PlanRequest,
        opened: data.BoundPipeline,
        log_fn: LogFn,
    ):
        self.source = source
        self.fingerprint = fingerprint
        self.request = request
        self.opened = opened
        self.log_fn = log_fn
        self.assumptions = _ASSUMPTIONS[request.topology.platform]
        self.chip = CHIPS.get(request.topology.chip)
        self.limits = None if self.chip is None else limits_of(self.chip, request.topology, "float32")

    def make_candidate(self, layout: scale.MeshShape, size: float) -> MeshCandidate:
        """Returns a candidate with its batch shapes, or one with the reason why it is impossible."""
        where = self.request.topology
        rest, left = divmod(_device_count(where), layout.fsdp * layout.tensor)
        if left or layout.data not in (0, rest):
            return MeshCandidate(where, layout, size, (), None, f"it is not a mesh of {_device_count(where)} devices")
        layout = replace(layout, data=rest)
        try:
            return MeshCandidate(where, layout, size, self._shapes(self._multiple(where, layout), size), None)
        except ValueError as error:
            return MeshCandidate(where, layout, size, (), None, str(error))

    def compile_longest(self, candidates: Sequence[MeshCandidate]) -> tuple[MeshCandidate, ...]:
        """Compiles the longest batch shape of each possible candidate."""
        possible = [candidate for candidate in candidates if not candidate.rejection]
        buckets = iter(self._forecast_all([(candidate, len(candidate.shapes) - 1) for candidate in possible]))
        return tuple(
            candidate if candidate.rejection else replace(candidate, bucket=next(buckets)) for candidate in candidates
        )

    def forecast_buckets(self, chosen: MeshCandidate) -> tuple[BucketForecast, ...]:
        """Compiles all batch shapes of a candidate."""
        return tuple(self._forecast_all([(chosen, place) for place in range(len(chosen.shapes))]))

    def fill(self, candidate: MeshCandidate | None) -> MeshCandidate | None:
        """Returns a candidate with the examples that fill its memory, found by compiling."""
        if candidate is None or self.limits is None:
            return None
        multiple = self._multiple(candidate.topology, candidate.layout)
        return fill_memory(
            candidate,
            self._forecast_bucket,
            memory_bytes=self.limits.memory_bytes,
            multiple=multiple,
            jobs=self.request.jobs,
        )

    def overrides(self, candidate: MeshCandidate) -> tuple[str, ...]:
        """Returns the overrides with which `jaxasr train` has the batch shapes of a candidate."""
        multiple = self._multiple(candidate.topology, candidate.layout)
        examples = tuple(shape.examples for shape in candidate.shapes)
        return f"train_data.shapes.examples_multiple={multiple}", f"train_data.shapes.examples={examples}"

    def extrapolate(self, chosen: MeshCandidate, buckets: Sequence[BucketForecast]) -> tuple[ScalingForecast, ...]:
        """Forecasts the commonest batch shape on other numbers of chips."""
        if self.chip is None or any(bucket.program.unread for bucket in buckets):
            return ()
        place = max(range(len(buckets)), key=lambda place: buckets[place].share)
        bucket = buckets[place]
        less = _quarter_candidate(chosen)
        small = None
        if less is not None:
            (found,) = self._forecast_all([(less, place)])
            unknown = found.program.out_of_memory or found.program.unread
            small = None if unknown else (found.work, _device_count(less.topology))
        chip = self.chip

        def limits_at(devices: int) -> Limits:
            where = chosen.topology.with_chips(devices // chosen.topology.devices_per_chip)
            return limits_of(chip, where, bucket.program.dtype)

        return extrapolate_scaling(bucket.work, _device_count(chosen.topology), small, limits_at, self.assumptions)

    def _forecast_all(self, wanted: Sequence[tuple[MeshCandidate, int]]) -> list[BucketForecast]:
        with (
            ThreadPoolExecutor(self.request.jobs) as pool,
            report.Progress(len(wanted), "compile", "shapes") as bar,
        ):
            futures = [pool.submit(self._forecast_bucket, candidate, place) for candidate, place in wanted]
            for future in futures:
                future.result()
                bar.advance(1)
        return [future.result() for future in futures]

    def _forecast_bucket(self, candidate: MeshCandidate, place: int) -> BucketForecast:
        shape = candidate.shapes[place]
        where = candidate.topology
        shares, real_shares = self._step_and_real_shares(candidate.shapes)
        program = compile_in_subprocess(
            CompileJob(self.source, self.fingerprint, shape, where, candidate.layout, self.request.rules), self.log_fn
        )
        work = ProgramWork(
            flops=program.product_flops / _device_count(where),
            memory_bytes=float(program.traffic.bytes),
            kernels=program.traffic.kernels,
            collectives=program.collectives,
        )
        step = None
        if self.chip is not None and not program.out_of_memory and not program.unread:
            step = forecast(work, limits_of(self.chip, where, program.dtype), self.assumptions)
        return BucketForecast(shape, float(shares[place]), float(real_shares[place]), program, work, step)

    def _multiple(self, where: Topology, layout: scale.MeshShape) -> int:
        """Returns the number whose multiples of examples can be split evenly over the devices."""
        choice: Any = self.opened.shape_choice
        return math.lcm(choice.examples_multiple, _example_groups(where, layout))

    def _shapes(self, multiple: int, size: float) -> tuple[Shape, ...]:
        """Returns the batch shapes of the experiment, with multiples of this number of examples."""
        choice: Any = self.opened.shape_choice  # any choice of shapes has the fields below
        amount = "seconds_per_batch" if choice.audio else "tokens_per_batch"
        most = getattr(choice, amount) * size
        changes = {amount: type(getattr(choice, amount))(most), "examples_multiple": multiple}
        if choice.examples:
            changes["examples"] = tuple(max(1, int(count * size) // multiple) * multiple for count in choice.examples)
        scaled = replace(choice, **changes)
        return replace(self.opened, shape_choice=scaled).plan.shapes

    def _step_and_real_shares(self, shapes: tuple[Shape, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Returns for each batch shape its share of the steps, and the share of its capacity that is not padding."""
        lengths = self.opened.plan.lengths
        speeds = lengths.samples.shape[1]
        tokens = np.repeat(lengths.tokens[:, None], speeds, axis=1)
        bucket_ids = assign_buckets(shapes, lengths.samples, tokens)
        weights = np.repeat(lengths.weights[:, None] / speeds, speeds, axis=1)
        amount = lengths.samples if shapes[-1].samples else tokens + 1
        steps = []
        real_shares = []
        for bucket_id, shape in enumerate(shapes):
            here = np.where(bucket_ids == bucket_id, weights, 0.0)
            steps.append(here.sum() / shape.examples)
            real_shares.append((here * amount).sum() / max(here.sum() * shape.padded_length, 1e-9))
        return np.array(steps) / max(sum(steps), 1e-9), np.array(real_shares)


def _open_data(experiment: Experiment, data_dir: Path) -> tuple[data.BoundPipeline, str]:
    try:
        opened = experiment.train_data.open(data_dir)
    except FileNotFoundError:
        return synthetic_lengths(experiment.train_data), DESCRIPTION
    return opened, f"the prepared corpora (data {opened.hash})"


def _usual_layouts(where: Topology) -> tuple[scale.MeshShape, ...]:
    """Returns meshes with data parallelism, and with the state split over two or eight devices, and over all devices."""
    devices = _device_count(where)
    sizes = dict.fromkeys((1, 8 if devices > 8 else 2, devices))
    return tuple(scale.MeshShape(fsdp=size) for size in sizes if devices % size == 0)


def _device_count(where: Topology) -> int:
    return where.chips * where.devices_per_chip


def _example_groups(where: Topology, layout: scale.MeshShape) -> int:
    """Returns the number of groups of devices over which the examples of a batch are split."""
    return _device_count(where) // layout.tensor


def _first_possible(candidates: Sequence[MeshCandidate]) -> MeshCandidate | None:
    return next((candidate for candidate in candidates if not candidate.rejection), None)


def _quarter_candidate(chosen: MeshCandidate) -> MeshCandidate | None:
    """Returns the same batch on a quarter of the chips. None: there is no such topology, or its mesh is too small."""
    where = chosen.topology.quarter()
    layout = replace(chosen.layout, data=0)
    if where is None or _device_count(where) % (layout.fsdp * layout.tensor):
        return None
    return replace(chosen, topology=where, layout=layout)


def _fastest(candidates: Sequence[MeshCandidate], limits: Limits | None) -> MeshCandidate | None:
    """Returns the candidate that fits and has the highest throughput, in capacity a second.

    Without a forecast it is the first candidate that can be compiled.
    """
    memory = sys.maxsize if limits is None else limits.memory_bytes
    fitting = [candidate for candidate in candidates if candidate.bucket is not None and candidate.bucket.fits(memory)]

    def throughput(candidate: MeshCandidate) -> float:
        bucket = candidate.bucket
        if bucket is None or bucket.forecast is None:
            return 0.0
        return bucket.shape.padded_length * bucket.shape.examples / bucket.forecast.step_s

    return max(fitting, key=throughput, default=None)
