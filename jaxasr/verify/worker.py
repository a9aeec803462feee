"""One process of a run that `jaxasr verify-resume` watches: `python -m jaxasr.verify.worker JSON`.

It trains as `jaxasr train` does, and writes down which examples it was given at each step and what the loss of all was.
"""

import json
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxasr import scale, tree
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.variants import load
from jaxasr.records import Batch, Sum
from jaxasr.run.loop import train
from jaxasr.scale import hosts


class StepTrace(NamedTuple):
    """A step, as its processes saw it."""

    examples: tuple[str, ...]  # of the global batch, row by row
    losses: tuple[float, ...]  # of the global batch, as each process says


Trace = dict[int, StepTrace]  # by step


@dataclass(frozen=True)
class WorkerArgs:
    """What a process is told; it travels as JSON."""

    experiment: str  # FILE.py, as on the command line
    assignments: tuple[str, ...]
    data_dir: str
    workdir: str
    trace: str = ""  # a file: a line a step
    wait_after_step: int = -1  # the step behind which it waits to be killed; -1: it goes on to the end

    def with_files(self, trace: Path, stop_at: int) -> "WorkerArgs":
        """For one process."""
        return replace(self, trace=str(trace), stop_at=stop_at)

    def to_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


def main(text: str) -> None:
    """Trains, and where it is told to stops behind a step until it is killed."""
    given = WorkerArgs(**json.loads(text))
    jax.config.update("jax_num_cpu_devices", 1)
    with hosts.joined():
        scale.use_compile_cache()
        experiment = load(given.experiment, tree.parse(list(given.assignments)))
        with Path(given.trace).open("x", encoding="utf-8") as file:

            def witness(step: int, batch: Batch, loss: Sum) -> None:
                row = {"step": step, "examples": example_names(batch), "loss": float(loss.value) / float(loss.weight)}
                print(json.dumps(row), file=file, flush=True)
                while step == given.wait_after_step:
                    time.sleep(60.0)

            train(experiment, Path(given.workdir), RuntimeConfig(Path(given.data_dir)), step_callback=witness)


def example_names(batch: Batch) -> list[str]:
    """A name for each row: key of the example at its speed, and checksum of wave and tokens; empty rows have none."""
    names = []
    for wave_n, tokens_u, key, real in zip(batch.wave_bn, batch.tokens_bu, batch.ids_b, batch.valid_b, strict=True):
        content = zlib.crc32(np.asarray(tokens_u).tobytes(), zlib.crc32(np.asarray(wave_n).tobytes()))
        names.append(f"{int(key):08x}{content:08x}" if real else "")
    return names


def read_trace(files: Sequence[Path]) -> Trace:
    """What all processes of a job have written down of the steps that all of them have made.

    The rows of a batch are those of process 0, then of 1, ... A line that is still being written is left out.
    """
    each = [_lines(file) for file in files]
    steps = sorted(set.intersection(*(set(lines) for lines in each)))
    return {
        step: StepTrace(
            tuple(name for lines in each for name in lines[step]["examples"]),
            tuple(lines[step]["loss"] for lines in each),
        )
        for step in steps
    }


def _lines(file: Path) -> dict[int, dict]:
    whole = [line for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    rows = [json.loads(line) for line in whole]
    return {row["step"]: row for row in rows}


if __name__ == "__main__":
    main(sys.argv[1])
