"""What a command says and an experiment must not."""

from dataclasses import dataclass
from pathlib import Path

from jaxasr.scale import How


@dataclass(frozen=True)
class Machine:
    """Where a run finds its data, and how its step is compiled; no number depends on it beyond float tolerance."""

    data_dir: Path
    how: How = "jit"
    workers: int = 0  # loader processes; 0: threads of this one
