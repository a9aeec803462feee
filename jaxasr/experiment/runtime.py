"""What a command says and an experiment must not."""

from dataclasses import dataclass, field
from pathlib import Path

from jaxasr.scale import How, Layout, Rules, Watchdog

PATIENCE = 16.0  # times as long may the first step take, which is compiled, an evaluation or a save


@dataclass(frozen=True)
class Machine:
    """Where a run finds its data, and how its step is compiled; no number depends on it beyond float tolerance."""

    data_dir: Path
    how: How = "auto"
    workers: int = 0  # loader processes; 0: threads of this one
    layout: Layout = field(default_factory=Layout)  # of the mesh
    rules: Rules = field(default_factory=Rules)  # where the state lies on it
    stuck_s: float = 1_800.0  # a process that makes no step for so long ends, and with it the job

    def __post_init__(self):
        if self.how == "jit" and (self.layout.data > 1 or self.rules != Rules()):
            raise ValueError("--how jit is for one device, without mesh and rules; leave these out, or use --how mesh")

    def watchdog(self, folder: Path) -> Watchdog:
        """What ends a process that is stuck."""
        return Watchdog(folder, self.stuck_s, PATIENCE * self.stuck_s)
