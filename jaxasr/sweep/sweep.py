"""Sweeps: named variants of an experiment, each a run and a process of its own, until all have their rows of results.

A sweep keeps nothing in memory that matters: the rows say what is done, the workdirs what is half done. So one that was
killed and is started again does only what is left, and one that is started twice waits for the other's runs.
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

LOG = "log.txt"  # in each workdir: what the run said
TAIL_LINES = 12  # of the log, told of a run that failed
POLL_S = 1.0
RATE_OF_S = 3_600.0  # the rate is that of so long: runs compile, train and are evaluated, over and over

Command = Callable[[str, Sequence[str]], list[str]]  # a variant's name and the splits it lacks -> a command line


@dataclass(frozen=True)
class SweepResult:
    """What came of each variant, by name."""

    done: tuple[str, ...]  # by this sweep
    skipped: tuple[str, ...]  # all rows were there
    failed: Mapping[str, str] = field(default_factory=dict)  # the ends of their logs
    signum: int = 0  # of the signal that stopped the sweep; 0: it came to its end


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
    """Runs the variants that lack rows, `jobs` at once, in the order of the generator.

    A variant that is equal to one with rows (the same experiment and seed under another name) is not trained again: it
    gets copies of the rows, which say so (`same_as`). A run that fails is named, and the others go on.

    Args:
        reference: "FILE.py:generator".
        folder: each variant's workdir lies in it, under its name.
        results: takes the rows of all.
        assignments: overrides of every variant, "path=value".
        command: what trains and evaluates a variant; `python -m jaxasr train` by default.

    Raises:
        ValueError: a variant can't be built or has no evals, or jobs is less than 1; nothing has been started then.
    """
    if jobs < 1:
        raise ValueError(f"jobs={jobs}; it must be 1 or more")
    built = variants(reference, tree.parse(list(assignments)))
    bare = [name for name, each in built.items() if not each.evals]
    if bare:
        raise ValueError(
            f"{reference}: {', '.join(bare)} has no evals, and their rows are how a sweep knows what is done; give the "
            "experiment one at least"
        )
    command = command or _command(reference, folder, results, runtime, assignments)
    with requests_to_stop() as requests:
        work = _Work(built, folder, results, command)
        total = sum(each.steps for each in built.values())
        with report.Progress(total, "sweep", "steps", done=work.steps(), window_s=RATE_OF_S) as bar:
            while work.waiting or work.running:
                if requests.signum:
                    break
                work.settle(bar)
                work.start(jobs, bar)
                work.count(bar)
                if work.waiting or work.running:
                    time.sleep(poll_s)
        return work.swept(requests)


@dataclass
class _Run:
    """A process that is under way."""

    process: subprocess.Popen[bytes]
    log: Path
    begins: int  # of this process's lines in the log, in bytes
    beyond: int  # its lines in the watchdog's file, likewise

    def tail(self) -> str:
        with self.log.open("rb") as file:
            file.seek(self.begins)
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])


class _Work:
    """The variants, and where each of them stands."""

    def __init__(self, built: Mapping[str, Experiment], folder: Path, results: Path, command: Command):
        self.waiting, self.running = dict(built), dict[str, _Run]()
        self._built, self._folder, self._results, self._command = built, folder, results, command
        self._fingerprints = {name: tree.fingerprint(each) for name, each in built.items()}
        self._done, self._skipped, self._failed = list[str](), list[str](), dict[str, str]()
        self._others = set[str]()  # which another process has
        saved = {name: Workdir(folder / name).saved_steps() for name in built}
        self._steps = {name: min(saved[name], each.steps) for name, each in built.items()}  # that each has made

    def steps(self) -> int:
        """Steps that need not be made any more."""
        return sum(self._steps.values())

    def count(self, bar: report.Progress) -> None:
        """Counts the steps that were made since, also those of a run that another process has."""
        before = self.steps()
        now_on = (*self.running, *sorted(self._others))
        for name in now_on:
            run = self.running.get(name)
            now = Watchdog.last_step(self._folder / name, beyond=run.beyond if run else 0)
            self._steps[name] = min(max(now, self._steps[name]), self._built[name].steps)
        ended = len(self._done) + len(self._skipped) + len(self._failed)
        at = " and ".join(f"{name} at {self._steps[name]:,} of {self._built[name].steps:,}" for name in now_on)
        bar.advance(self.steps() - before, runs=f"{ended} of {len(self._built)}", now=at or "none")

    def _leave(self, name: str, bar: report.Progress, *, made: bool) -> None:
        """The rest of a variant's steps need not be made any more; those that were made count for the rate."""
        rest, self._steps[name] = self._built[name].steps - self._steps[name], self._built[name].steps
        self._others.discard(name)
        if made:
            bar.advance(rest)
        else:
            bar.skip(rest)

    def start(self, jobs: int, bar: report.Progress) -> None:
        """Starts what can be started: what waits, is nobody else's, and is no twin of what is running."""
        rows = report.read(self._results) if self._results.is_file() else []
        for name in list(self.waiting):
            missing = self._missing(name, rows)
            if not missing:
                self._adopt(name, rows)
                del self.waiting[name]
                self._skipped.append(name)
                self._leave(name, bar, made=name in self._others)
                bar.say(f"{name}: its rows are there")
            elif len(self.running) < jobs and not self._twin_runs(name):
                if Workdir(self._folder / name).is_free():
                    bar.say(f"{name}: begins ({self._fingerprints[name]}, {', '.join(missing)})")
                    self.running[name] = self._started(name, missing)
                    del self.waiting[name]
                    self._others.discard(name)
                elif name not in self._others:
                    self._others.add(name)
                    bar.say(f"{name}: another process holds {self._folder / name}; waits for it")

    def settle(self, bar: report.Progress) -> None:
        """Takes note of the processes that have ended."""
        for name, run in list(self.running.items()):
            status = run.process.poll()
            if status is None:
                continue
            del self.running[name]
            missing = self._missing(name, report.read(self._results) if self._results.is_file() else [])
            if status == 0 and not missing:
                self._done.append(name)
                self._leave(name, bar, made=True)
                bar.say(f"{name}: done")
                continue
            if status and not Workdir(self._folder / name).is_free():
                self.waiting[name] = self._built[name]
                bar.say(f"{name}: another process was faster to take {self._folder / name}; waits for it")
                continue
            unlike = f"left no row of {self._fingerprints[name]} for {', '.join(missing)} (has the code changed since?)"
            why = f"ended with status {status}" if status else unlike
            self._failed[name] = f"{why}; the end of {run.log}:\n{run.tail()}"
            self._leave(name, bar, made=False)
            bar.say(f"{name}: FAILED, {self._failed[name]}")

    def swept(self, requests: StopRequests) -> SweepResult:
        """What came of it; what is still running is told to save and waited for."""
        for run in self.running.values():
            run.process.terminate()
        for run in self.running.values():
            run.process.wait()
        return SweepResult(tuple(self._done), tuple(self._skipped), dict(self._failed), requests.signum)

    def _missing(self, name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        found = {row["split"] for row in rows if self._is_of(name, row)}
        return [split for split in self._built[name].evals if split not in found]

    def _is_of(self, name: str, row: Mapping[str, Any]) -> bool:
        """Whether a row is of this experiment and seed, trained to its end, decoded as `jaxasr train` does."""
        steps = self._built[name].steps
        return (
            row.get("experiment") == self._fingerprints[name]
            and row.get("trained", steps) == steps
            and row.get("checkpoint", "best") == "best"
        )

    def _adopt(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Gives the variant rows of its own where they are another run's."""
        same = [row for row in rows if self._is_of(name, row)]
        own = {row["split"] for row in same if row.get("name") == name}
        others = {row["split"]: row for row in same if row["split"] not in own}  # the last of each
        for split in self._built[name].evals:
            if split in others:
                row = others[split]
                report.append(self._results, {**row, "name": name, "same_as": row.get("name", "")})

    def _twin_runs(self, name: str) -> bool:
        return self._fingerprints[name] in {self._fingerprints[other] for other in self.running}

    def _started(self, name: str, missing: Sequence[str]) -> _Run:
        log = self._folder / name / LOG
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            begins, beyond = file.tell(), Watchdog.size(self._folder / name)
            process = subprocess.Popen(
                self._command(name, missing), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
        return _Run(process, log, begins, beyond)


def _command(reference: str, folder: Path, results: Path, machine: RuntimeConfig, assignments: Sequence[str]) -> Command:
    def command(name: str, missing: Sequence[str]) -> list[str]:
        train = [sys.executable, "-m", "jaxasr", "train", f"{reference}:{name}", *assignments]
        options = {
            "--workdir": folder / name,
            "--name": name,
            "--results": results,
            "--splits": ",".join(missing),
            "--data-dir": machine.data_dir,
            "--parallelism": machine.parallelism,
            "--mesh": machine.layout,
            "--workers": machine.workers,
        }
        return train + [str(each) for pair in options.items() for each in pair]

    return command
