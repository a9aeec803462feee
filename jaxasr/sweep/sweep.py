"""Sweeps over the named variants of an experiment. Each variant is a run and a process of its own.

The state of a sweep is on the disk: the rows of results of finished runs, and the workdirs of unfinished ones. So a sweep
that was killed and is started again runs only what is left. Two sweeps at once wait for each other's runs. A run ends with
the sweep that started it, also if that is killed by SIGKILL.
"""

import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jaxasr import report, tree
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.variants import variants
from jaxasr.run.interrupt import requests_to_stop
from jaxasr.sweep.devices import DevicePool
from jaxasr.sweep.halving import Halving
from jaxasr.sweep.run_queue import ALL_TO_THE_END, Command, RunQueue
from jaxasr.sweep.status import SweepResult

POLL_S = 1.0
RATE_WINDOW_S = 3_600.0  # long, because runs alternate between compiling, training and evaluating


def sweep(
    reference: str,
    folder: Path,
    results: Path,
    runtime: RuntimeConfig,
    *,
    jobs: int = 1,
    devices_per_run: int = 0,
    retries: int = 1,
    halving: Halving = ALL_TO_THE_END,
    budget_device_hours: float = math.inf,
    assignments: Sequence[str] = (),
    command: Command | None = None,
    poll_s: float = POLL_S,
) -> SweepResult:
    """Runs the variants without rows of results, in the order of the generator.

    A variant that equals one with rows (the same experiment and seed under another name) is not trained again. It gets
    copies of the rows, with the name of the other variant as `same_as`. If a run fails, the others continue. A run that was
    killed or ended by a fault that need not recur is started once more, from its last checkpoint. `sweep.md` in the folder
    shows all variants while they run.

    Args:
        reference: "FILE.py:generator".
        folder: takes the workdir of each variant, under the variant's name.
        results: takes the rows of all variants.
        runtime: data folder, parallelism, mesh and loader of every run.
        jobs: runs at once.
        devices_per_run: accelerators that each run sees, no two runs the same; 0: each sees all.
        retries: how often a run is started again after such a fault.
        halving: the rungs at which the weaker runs stop (`jaxasr.sweep.halving`).
        budget_device_hours: of all trainings together; when it is spent, all runs save and stop.
        assignments: overrides of every variant, "path=value".
        command: returns the command that trains and evaluates a variant; `python -m jaxasr train` by default.
        poll_s: seconds between two looks at the processes.

    Raises:
        ValueError: a variant can't be built or has no evals, jobs is less than 1, or there are fewer devices than the runs
            need. Nothing has been started then.
    """
    if jobs < 1:
        raise ValueError(f"jobs={jobs}; it must be 1 or more")
    pool = DevicePool(jobs, devices_per_run, os.environ) if devices_per_run else None
    built = variants(reference, tree.parse(list(assignments)))
    bare = [name for name, variant in built.items() if not variant.evals]
    if bare:
        raise ValueError(
            f"{reference}: {', '.join(bare)} has no evals, and their rows are how a sweep knows what is done; give the "
            "experiment one at least"
        )
    halving.check(built)
    command = command or _command(reference, folder, results, runtime, assignments)
    with requests_to_stop() as requests:
        queue = RunQueue(built, folder, results, command, pool, retries, halving, budget_device_hours)
        total = sum(variant.steps for variant in built.values())
        with report.Progress(total, "sweep", "steps", done=queue.steps(), window_s=RATE_WINDOW_S) as bar:
            while queue.waiting or queue.running:
                if requests.signum:
                    break
                queue.poll(bar)
                queue.start(jobs, bar)
                queue.count(bar)
                if queue.waiting or queue.running:
                    time.sleep(poll_s)
        return queue.finish(requests)


def _command(
    reference: str, folder: Path, results: Path, runtime: RuntimeConfig, assignments: Sequence[str]
) -> Command:
    def command(name: str, missing: Sequence[str]) -> list[str]:
        train = [sys.executable, "-m", "jaxasr", "train", f"{reference}:{name}", *assignments]
        options = {
            "--workdir": folder / name,
            "--name": name,
            "--results": results,
            "--splits": ",".join(missing),
            "--data-dir": runtime.data_dir,
            "--parallelism": runtime.parallelism,
            "--mesh": runtime.layout,
            "--workers": runtime.workers,
        }
        return train + [str(part) for option in options.items() for part in option]

    return command
