"""The settings of the command line that are no part of an experiment."""

from dataclasses import dataclass, field
from pathlib import Path

from jaxasr.files import check_local, default_data_dir
from jaxasr.scale import MeshShape, Parallelism, Rules, Watchdog
from jaxasr.scale.profiler import StepProfiler
from jaxasr.training.tracking.trackers import check_trackers
from jaxasr.tree import check_numbers

SLOW_STEP_FACTOR = 16.0  # step timeouts that a first step, which compiles, an evaluation or a save may take


@dataclass(frozen=True)
class RuntimeConfig:
    """The data folder of a run, and the devices that its step is compiled for.

    No number depends on them beyond float tolerance.
    """

    data_dir: Path = field(default_factory=default_data_dir)  # of prepared corpora
    parallelism: Parallelism = "auto"
    workers: int = 0  # loader processes; 0: threads of this one
    layout: MeshShape = field(default_factory=MeshShape)  # of the mesh
    rules: Rules = field(default_factory=Rules)  # of the state's sharding
    microbatches: int = 1  # parts in which a device takes its examples of a step
    trackers: tuple[str, ...] = ()  # besides TensorBoard (training.tracking)
    profile: tuple[int, int] | None = None  # steps done before and after the steps that are traced
    step_timeout_s: float = 1_800.0  # a process that makes no step for so long ends, and with it the job

    def __post_init__(self):
        check_local(self.data_dir)
        check_numbers(self, positive=("step_timeout_s", "microbatches"), not_negative=("workers",))
        check_trackers(self.trackers)
        if self.profile is not None and not 0 <= self.profile[0] < self.profile[1]:
            raise ValueError(
                f"profile={self.profile}; it is two numbers of steps, the first below the second, such as 100:110"
            )
        if self.parallelism == "jit" and (self.layout.data > 1 or self.rules != Rules()):
            raise ValueError(
                "--parallelism jit is for one device, without mesh and rules; leave these out, or use --parallelism mesh"
            )

    def profiler(self, workdir: Path) -> StepProfiler:
        """Returns the profiler that writes a trace of some steps into the workdir."""
        return StepProfiler(workdir / "profile", self.profile)

    def watchdog(self, folder: Path) -> Watchdog:
        """Returns the watchdog that ends a process without progress."""
        return Watchdog(folder, self.step_timeout_s, SLOW_STEP_FACTOR * self.step_timeout_s)
