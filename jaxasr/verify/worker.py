"""One training process of `jaxasr verify-resume`: `python -m jaxasr.verify.worker JSON`.

It trains as `jaxasr train` does, and writes the examples of each step and the loss of the global batch to a file.
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
    """The examples and losses of a step, from all of its processes."""

    examples: tuple[str, ...]  # of the global batch, in the order of the rows
    losses: tuple[float, ...]  # of the global batch, one value from each process


Trace = dict[int, StepTrace]  # by step


@dataclass(frozen=True)
class WorkerArgs:
    """The arguments of a worker process, passed as JSON."""

    experiment: str  # FILE.py, as on the command line
    assignments: tuple[str, ...]
    data_dir: str
    workdir: str
    trace: str = ""  # the file that gets a line for each step
    wait_after_step: int = -1  # the step after which the process waits until it is killed; -1: it trains to the end

    def with_files(self, trace: Path, wait_after_step: int) -> "WorkerArgs":
        """Returns the arguments of one process."""
        return replace(self, trace=str(trace), wait_after_step=wait_after_step)

    def to_json(self) -> str:
        """Returns the arguments as JSON."""
        return json.dumps(asdict(self))


def main(text: str) -> None:
    """Trains a run. If `wait_after_step` is given, the process waits after that step until it is killed."""
    args = WorkerArgs(**json.loads(text))
    jax.config.update("jax_num_cpu_devices", 1)
    with hosts.distributed():
        scale.use_compile_cache()
        experiment = load(args.experiment, tree.parse(list(args.assignments)))
        with Path(args.trace).open("x", encoding="utf-8") as file:

            def write_step(step: int, batch: Batch, loss: Sum) -> None:
                row = {"step": step, "examples": example_names(batch), "loss": float(loss.value) / float(loss.weight)}
                print(json.dumps(row), file=file, flush=True)
                while step == args.wait_after_step:
                    time.sleep(60.0)

            train(experiment, Path(args.workdir), RuntimeConfig(Path(args.data_dir)), step_callback=write_step)


def example_names(batch: Batch) -> list[str]:
    """Returns a name for each row: the key of the example at its speed, and a checksum of wave and tokens.

    Padding rows have an empty name.
    """
    names = []
    for wave_n, tokens_u, key, real in zip(batch.wave_bn, batch.tokens_bu, batch.ids_b, batch.valid_b, strict=True):
        content = zlib.crc32(np.asarray(tokens_u).tobytes(), zlib.crc32(np.asarray(wave_n).tobytes()))
        names.append(f"{int(key):08x}{content:08x}" if real else "")
    return names


def read_trace(files: Sequence[Path]) -> Trace:
    """Returns the steps that are in the files of all processes of a job.

    The rows of a global batch are those of process 0, then those of process 1, and so on. An incomplete last line is ignored.
    """
    processes = [_lines(file) for file in files]
    steps = sorted(set.intersection(*(set(lines) for lines in processes)))
    return {
        step: StepTrace(
            tuple(name for lines in processes for name in lines[step]["examples"]),
            tuple(lines[step]["loss"] for lines in processes),
        )
        for step in steps
    }


def _lines(file: Path) -> dict[int, dict]:
    whole = [line for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    rows = [json.loads(line) for line in whole]
    return {row["step"]: row for row in rows}


if __name__ == "__main__":
    main(sys.argv[1])
