"""The records of a plan: what is requested, the candidates that are tried, and the forecast that a report shows."""

from dataclasses import dataclass

from jaxasr import scale
from jaxasr.cost.chips import Chip
from jaxasr.cost.roofline import Assumptions, Forecast, Limits, ProgramWork
from jaxasr.cost.topology import Topology
from jaxasr.data.batching.shape import Shape
from jaxasr.experiment.experiment import Experiment
from jaxasr.plan.compile import CompileReport
from jaxasr.plan.scaling import ScalingForecast


@dataclass(frozen=True)
class PlanRequest:
    """The devices of a plan and the settings to try on them."""

    topology: Topology
    layouts: tuple[scale.MeshShape, ...] = ()  # meshes to try; empty: a few usual ones
    rules: scale.Rules = scale.Rules()  # sharding rules of the state
    batch_scales: tuple[float, ...] = (1.0,)  # factors on the batch size of the experiment
    chip_hour_price: float | None = None  # of one chip for one hour, in any currency
    efficiency: float = 0.5  # the scaling efficiency below which more chips are not worthwhile
    with_scaling: bool = True  # False: no table of scaling, and no compilation for fewer chips
    jobs: int = 1  # compilations at once
    fit: bool = False  # True: the numbers of examples that fill the memory are searched


@dataclass(frozen=True)
class BucketForecast:
    """A batch shape with its frequency, its compiled step and the forecast of the step."""

    shape: Shape
    share: float  # of the steps
    real_share: float  # of its capacity; the rest is padding
    program: CompileReport
    work: ProgramWork
    forecast: Forecast | None  # None: the limits of the chip are not known, or the step does not fit

    def fits(self, limit: int) -> bool:
        """Returns whether a device has enough memory. `limit` is in bytes."""
        return not self.program.out_of_memory and self.program.memory_bytes <= limit


@dataclass(frozen=True)
class MeshCandidate:
    """A mesh and a batch size that are tried."""

    topology: Topology
    layout: scale.MeshShape
    batch_scale: float
    shapes: tuple[Shape, ...]
    bucket: BucketForecast | None  # the longest shape; None: the candidate is impossible
    rejection: str = ""  # the reason, if the candidate is impossible


@dataclass(frozen=True)
class Plan:
    """A forecast of a run: the contents of the report."""

    experiment: Experiment
    request: PlanRequest
    lengths_source: str  # a description of the lengths from which the batch shapes are chosen
    limits: Limits | None
    chip: Chip | None
    assumptions: Assumptions
    candidates: tuple[MeshCandidate, ...]
    chosen: MeshCandidate | None  # None: nothing fits
    buckets: tuple[BucketForecast, ...]  # all batch shapes of the chosen candidate, or of the filled one
    scaling: tuple[ScalingForecast, ...]  # of the commonest batch shape
    filled: MeshCandidate | None = None  # the chosen candidate with the examples that fill its memory (--fit)
    overrides: tuple[str, ...] = ()  # with which `jaxasr train` has the shapes of `filled`

    @property
    def run(self) -> MeshCandidate | None:
        """The candidate of the forecast: the filled one, or the chosen one."""
        return self.filled or self.chosen

    @property
    def commonest(self) -> BucketForecast:
        """The batch shape that most steps have."""
        return max(self.buckets, key=lambda bucket: bucket.share)

    @property
    def step_s(self) -> float | None:
        """The mean time of a step, or None without a forecast."""
        known = [(bucket.share, bucket.forecast) for bucket in self.buckets if bucket.forecast is not None]
        if not known or len(known) < len(self.buckets):
            return None
        return sum(share * forecast.step_s for share, forecast in known)
