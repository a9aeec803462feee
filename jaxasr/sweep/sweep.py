"""Sweeps over the named variants of an experiment. Each variant is a run and a process of its own.

The state of a sweep is on the disk: the rows of results of finished runs, and the workdirs of unfinished ones. So a sweep
that was killed and is started again runs only what is left. Two sweeps at once wait for each other's runs. A run ends with
the sweep that started it, also if that is killed by SIGKILL.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxasr import report, tree
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.runtime import RuntimeConfig
from jaxasr.experiment.variants import variants
from jaxasr.experiment.workdir import Workdir
from jaxasr.run.interrupt import StopRequests, requests_to_stop
from jaxasr.scale import Watchdog
from jaxasr.scale.child import bound_command

LOG = "log.txt"  # in each workdir: the output of the run
TAIL_LINES = 12  # of the log of a run that failed, for the error
POLL_S = 1.0
RATE_WINDOW_S = 3_600.0  # long, because runs alternate between compiling, training and evaluating

Command = Callable[[str, Sequence[str]], list[str]]  # a variant's name and its missing splits -> a command line


@dataclass(frozen=True)
class SweepResult:
    """The outcome of each variant, by name."""

    done: tuple[str, ...]  # by this sweep
    skipped: tuple[str, ...]  # all rows were there before
    failed: Mapping[str, str] = field(default_factory=dict)  # the ends of their logs
    signum: int = 0  # of the signal that stopped the sweep; 0: none did


def sweep(
    reference: str,
    folder: Path,
    results: Path,
    runtime: RuntimeConfig,
    *,
    jobs: int = 1,
    assignments: Sequence[str] = (),
    command: Command | None = None,
    poll_s: float = POLL_S,
) -> SweepResult:
    """Runs the variants without rows of results, in the order of the generator.

    A variant that equals one with rows (the same experiment and seed under another name) is not trained again. It gets
    copies of the rows, with the name of the other variant as `same_as`. If a run fails, the others continue.

    Args:
        reference: "FILE.py:generator".
        folder: takes the workdir of each variant, under the variant's name.
        results: takes the rows of all variants.
        runtime: data folder, parallelism, mesh and loader of every run.
        jobs: runs at once.
        assignments: overrides of every variant, "path=value".
        command: returns the command that trains and evaluates a variant; `python -m jaxasr train` by default.
        poll_s: seconds between two looks at the processes.

    Raises:
        ValueError: a variant can't be built or has no evals, or jobs is less than 1. Nothing has been started then.
    """
    if jobs < 1:
        raise ValueError(f"jobs={jobs}; it must be 1 or more")
    built = variants(reference, tree.parse(list(assignments)))
    bare = [name for name, variant in built.items() if not variant.evals]
    if bare:
        raise ValueError(
            f"{reference}: {', '.join(bare)} has no evals, and their rows are how a sweep knows what is done; give the "
            "experiment one at least"
        )
    command = command or _command(reference, folder, results, runtime, assignments)
    with requests_to_stop() as requests:
        queue = _RunQueue(built, folder, results, command)
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


@dataclass
class _Run:
    """A process that trains a variant."""

    process: subprocess.Popen[bytes]
    log: Path
    log_start: int  # byte at which this process's lines begin in the log
    watchdog_start: int  # byte at which they begin in the watchdog's file

    def tail(self) -> str:
        """Returns the last lines of the process."""
        with self.log.open("rb") as file:
            file.seek(self.log_start)
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])


class _RunQueue:
    """The variants of a sweep: those that wait, run, are done, were skipped or failed."""

    def __init__(self, built: Mapping[str, Experiment], folder: Path, results: Path, command: Command):
        self.waiting = dict(built)
        self.running: dict[str, _Run] = {}
        self._built = built
        self._folder = folder
        self._results = results
        self._command = command
        self._fingerprints = {name: tree.fingerprint(variant) for name, variant in built.items()}
        self._done: list[str] = []
        self._skipped: list[str] = []
        self._failed: dict[str, str] = {}
        self._others: set[str] = set()  # variants whose workdir another process holds
        saved = {name: Workdir(folder / name).saved_steps() for name in built}
        self._steps = {name: min(saved[name], variant.steps) for name, variant in built.items()}  # done

    def steps(self) -> int:
        """Returns the steps that are done, of all variants together."""
        return sum(self._steps.values())

    def count(self, bar: report.Progress) -> None:
        """Counts the steps since the last call, also those of runs of other processes."""
        before = self.steps()
        active = (*self.running, *sorted(self._others))
        for name in active:
            run = self.running.get(name)
            now = Watchdog.last_step(self._folder / name, beyond=run.watchdog_start if run else 0)
            self._steps[name] = min(max(now, self._steps[name]), self._built[name].steps)
        ended = len(self._done) + len(self._skipped) + len(self._failed)
        at = " and ".join(f"{name} at {self._steps[name]:,} of {self._built[name].steps:,}" for name in active)
        bar.advance(self.steps() - before, runs=f"{ended} of {len(self._built)}", now=at or "none")

    def _leave(self, name: str, bar: report.Progress, *, made: bool) -> None:
        """Removes a variant from the steps that are left.

        Args:
            made: True: its steps were made just now, and count for the rate.
        """
        rest = self._built[name].steps - self._steps[name]
        self._steps[name] = self._built[name].steps
        self._others.discard(name)
        if made:
            bar.advance(rest)
        else:
            bar.skip(rest)

    def start(self, jobs: int, bar: report.Progress) -> None:
        """Starts waiting variants, up to `jobs` at once.

        A variant waits on if another process holds its workdir, or if a run of an equal variant is running.
        """
        rows = report.read(self._results) if self._results.is_file() else []
        for name in list(self.waiting):
            missing = self._missing(name, rows)
            if not missing:
                self._adopt(name, rows)
                del self.waiting[name]
                self._skipped.append(name)
                self._leave(name, bar, made=name in self._others)
                bar.print(f"{name}: its rows are there")
            elif len(self.running) < jobs and not self._equal_runs(name):
                if Workdir(self._folder / name).is_free():
                    bar.print(f"{name}: begins ({self._fingerprints[name]}, {', '.join(missing)})")
                    self.running[name] = self._start_run(name, missing)
                    del self.waiting[name]
                    self._others.discard(name)
                elif name not in self._others:
                    self._others.add(name)
                    bar.print(f"{name}: another process holds {self._folder / name}; waits for it")

    def poll(self, bar: report.Progress) -> None:
        """Checks which processes have ended, and how."""
        for name, run in list(self.running.items()):
            status = run.process.poll()
            if status is None:
                continue
            del self.running[name]
            missing = self._missing(name, report.read(self._results) if self._results.is_file() else [])
            if status == 0 and not missing:
                self._done.append(name)
                self._leave(name, bar, made=True)
                bar.print(f"{name}: done")
                continue
            if status and not Workdir(self._folder / name).is_free():
                self.waiting[name] = self._built[name]
                bar.print(f"{name}: another process was faster to take {self._folder / name}; waits for it")
                continue
            unlike = f"left no row of {self._fingerprints[name]} for {', '.join(missing)} (has the code changed since?)"
            why = f"ended with status {status}" if status else unlike
            self._failed[name] = f"{why}; the end of {run.log}:\n{run.tail()}"
            self._leave(name, bar, made=False)
            bar.print(f"{name}: FAILED, {self._failed[name]}")

    def finish(self, requests: StopRequests) -> SweepResult:
        """Stops the processes that still run, waits until they have saved, and returns the result of the sweep."""
        for run in self.running.values():
            run.process.terminate()
        for run in self.running.values():
            run.process.wait()
        return SweepResult(tuple(self._done), tuple(self._skipped), dict(self._failed), requests.signum)

    def _missing(self, name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        found = {row["split"] for row in rows if self._matches(name, row)}
        return [split for split in self._built[name].evals if split not in found]

    def _matches(self, name: str, row: Mapping[str, Any]) -> bool:
        """Returns True for a row of this experiment and seed, trained to its end and decoded as `jaxasr train` does."""
        steps = self._built[name].steps
        return (
            row.get("experiment") == self._fingerprints[name]
            and row.get("trained", steps) == steps
            and row.get("checkpoint", "best") == "best"
        )

    def _adopt(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows of the variant where the rows are those of an equal one."""
        same = [row for row in rows if self._matches(name, row)]
        own = {row["split"] for row in same if row.get("name") == name}
        others = {row["split"]: row for row in same if row["split"] not in own}  # the last of each
        for split in self._built[name].evals:
            if split in others:
                row = others[split]
                report.append(self._results, {**row, "name": name, "same_as": row.get("name", "")}, unless_there=True)

    def _equal_runs(self, name: str) -> bool:
        return self._fingerprints[name] in {self._fingerprints[other] for other in self.running}

    def _start_run(self, name: str, missing: Sequence[str]) -> _Run:
        log = self._folder / name / LOG
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            log_start = file.tell()
            watchdog_start = Watchdog.size(self._folder / name)
            process = subprocess.Popen(
                bound_command(self._command(name, missing)),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        return _Run(process, log, log_start, watchdog_start)


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
