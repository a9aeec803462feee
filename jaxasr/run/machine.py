"""What a command says and an experiment must not."""

from dataclasses import dataclass, field
from pathlib import Path

from jaxasr.scale import How, Layout, Rules


@dataclass(frozen=True)
class Machine:
    """Where a run finds its data, and how its step is compiled; no number depends on it beyond float tolerance."""

    data_dir: Path
    how: How = "auto"
    workers: int = 0  # loader processes; 0: threads of this one
    layout: Layout = field(default_factory=Layout)  # of the mesh
    rules: Rules = field(default_factory=Rules)  # where the state lies on it
