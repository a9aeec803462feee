"""The queue of a sweep: variants that wait, run, are done, were skipped or failed, and the processes that train them."""

import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxasr import report, tree
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.workdir import Workdir
from jaxasr.run.interrupt import StopRequests
from jaxasr.scale import Watchdog
from jaxasr.scale.child import bound_command
from jaxasr.sweep.devices import DevicePool
from jaxasr.sweep.halving import Halving, Standing, device_hours, standing
from jaxasr.sweep.status import SweepResult, VariantStatus, validation_scores, write_status

LOG = "log.txt"  # in each workdir: the output of the run
TAIL_LINES = 12  # of the log of a run that failed, for the error
ALL_TO_THE_END = Halving()
_RECURS = (1, 2)  # statuses of `jaxasr train` after an error that would recur

Command = Callable[[str, Sequence[str]], list[str]]  # a variant's name and its missing splits -> a command line


@dataclass
class _RunProcess:
    """A process that trains a variant."""

    process: subprocess.Popen[bytes]
    log: Path
    log_start: int  # byte at which this process's lines begin in the log
    watchdog_start: int  # byte at which they begin in the watchdog's file
    devices: tuple[int, ...] | None  # of the pool

    def tail(self) -> str:
        """Returns the last lines of the process."""
        with self.log.open("rb") as file:
            file.seek(self.log_start)
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])


class RunQueue:
    """The variants of a sweep: those that wait, run, are done, were skipped or failed."""

    def __init__(
        self,
        built: Mapping[str, Experiment],
        folder: Path,
        results: Path,
        command: Command,
        pool: DevicePool | None = None,
        retries: int = 0,
        halving: Halving = ALL_TO_THE_END,
        budget_device_hours: float = math.inf,
    ):
        """Finds out which steps are done.

        Args:
            built: the variants by name.
            folder: takes the workdirs.
            results: the rows of all.
            command: gives the command line of a run.
            pool: devices that are shared out; None: every run sees all.
            retries: how often a run is started again.
            halving: the rungs at which the weaker runs stop.
            budget_device_hours: of all trainings together, after which everything stops.
        """
        self.waiting = dict(built)
        self.running: dict[str, _RunProcess] = {}
        self._built = built
        self._folder = folder
        self._results = results
        self._command = command
        self._pool = pool
        self._retries = retries
        self._halving = halving
        self._budget = budget_device_hours
        self._faults = dict.fromkeys(built, 0)
        self._pausing: set[str] = set()  # running variants that were told to stop
        self._stopped: dict[str, str] = {}
        self._attempts = dict.fromkeys(built, 0)
        self._best: dict[str, float | None] = dict.fromkeys(built)
        self._written: list[VariantStatus] = []
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
        ended = len(self._done) + len(self._skipped) + len(self._failed) + len(self._stopped)
        at = " and ".join(f"{name} at {self._steps[name]:,} of {self._built[name].steps:,}" for name in active)
        bar.advance(self.steps() - before, runs=f"{ended} of {len(self._built)}", now=at or "none")
        self._write_status()

    def _write_status(self) -> None:
        """Writes the table of all variants if something in it has changed."""
        states = dict.fromkeys(self.waiting, "waits") | dict.fromkeys(self.running, "runs")
        states |= dict.fromkeys(self._done, "done") | dict.fromkeys(self._skipped, "there before")
        states |= dict.fromkeys(self._failed, "failed") | dict.fromkeys(self._stopped, "stopped")
        for name in self.running:
            self._note_best(name)
        found = [
            VariantStatus(
                name,
                states[name],
                self._steps[name],
                variant.steps,
                self._best[name],
                variant.ranked_by,
                self._devices_of(name),
                self._attempts[name],
            )
            for name, variant in self._built.items()
        ]
        if found != self._written:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_status(self._folder, found)
            self._written = found

    def _note_best(self, name: str) -> None:
        scores = validation_scores(self._folder / name, self._built[name])
        self._best[name] = min(scores.values(), default=None)

    def _devices_of(self, name: str) -> str:
        run = self.running.get(name)
        return ", ".join(map(str, run.devices)) if run and run.devices else ""

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
        now = self._pause()
        for name in list(self.waiting):
            missing = self._missing(name, rows)
            if not missing:
                self._adopt(name, rows)
                del self.waiting[name]
                self._skipped.append(name)
                self._leave(name, bar, made=name in self._others)
                bar.print(f"{name}: its rows are there")
            elif name in now.stopped:
                del self.waiting[name]
                self._stopped[name] = now.stopped[name]
                self._leave(name, bar, made=False)
                bar.print(f"{name}: stopped {now.stopped[name]}")
            elif now.may_run(name) and len(self.running) < jobs and not self._equal_runs(name):
                if Workdir(self._folder / name).is_free():
                    bar.print(f"{name}: begins ({self._fingerprints[name]}, {', '.join(missing)})")
                    self.running[name] = self._start_run(name, missing)
                    del self.waiting[name]
                    self._others.discard(name)
                elif name not in self._others:
                    self._others.add(name)
                    bar.print(f"{name}: another process holds {self._folder / name}; waits for it")

    def _pause(self) -> Standing:
        """Stops runs that have come to their rung, or all if the budget is spent, and returns where every variant stands."""
        ranked = {self._fingerprints[name]: name for name in reversed(list(self._built)) if name not in self._failed}
        built = {name: self._built[name] for name in self._built if name in ranked.values()}  # one of equal variants
        now = standing(self._halving, built, self._folder, ended={*self._done, *self._skipped})
        equal = {name: ranked.get(self._fingerprints[name], name) for name in self._built}
        stopped = {name: now.stopped[first] for name, first in equal.items() if first in now.stopped}
        now = Standing(now.targets, stopped)
        spent = device_hours(self._built, self._folder) if math.isfinite(self._budget) else 0.0
        if spent >= self._budget:
            why = f"by the budget of {self._budget:g} device-hours, of which {spent:.3g} are spent"
            now = Standing({}, dict.fromkeys(self._built, why) | stopped)
        for name in self.running.keys() - self._pausing:
            if now.is_reached(name, validation_scores(self._folder / name, self._built[name])):
                self._pausing.add(name)
                self.running[name].process.terminate()
        return now

    def poll(self, bar: report.Progress) -> None:
        """Checks which processes have ended, and how."""
        for name, run in list(self.running.items()):
            status = run.process.poll()
            if status is None:
                continue
            del self.running[name]
            was_told = name in self._pausing
            self._pausing.discard(name)
            self._note_best(name)
            if self._pool and run.devices is not None:
                self._pool.give_back(run.devices)
            missing = self._missing(name, report.read(self._results) if self._results.is_file() else [])
            if status == 0 and not missing:
                self._done.append(name)
                self._leave(name, bar, made=True)
                bar.print(f"{name}: done")
                continue
            if was_told:
                self.waiting[name] = self._built[name]
                continue
            if status and not Workdir(self._folder / name).is_free():
                self.waiting[name] = self._built[name]
                bar.print(f"{name}: another process was faster to take {self._folder / name}; waits for it")
                continue
            if status not in (0, *_RECURS) and self._faults[name] < self._retries:
                self._faults[name] += 1
                self.waiting[name] = self._built[name]
                bar.print(f"{name}: ended with status {status}; is started again. The end of {run.log}:\n{run.tail()}")
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
        return SweepResult(
            tuple(self._done), tuple(self._skipped), dict(self._failed), dict(self._stopped), requests.signum
        )

    def _missing(self, name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        found = {row["split"] for row in rows if self._matches(name, row)}
        return [split for split in self._built[name].evals if split not in found]

    def _matches(self, name: str, row: Mapping[str, Any]) -> bool:
        """Returns True for a row of this experiment and seed, trained to its end and decoded as `jaxasr train` does."""
        steps = self._built[name].steps
        return (
            row.get("experiment") == self._fingerprints[name]
            and row.get("trained", steps) == row.get("steps", steps)  # a run without patience ends before the last step
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

    def _start_run(self, name: str, missing: Sequence[str]) -> _RunProcess:
        log = self._folder / name / LOG
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            log_start = file.tell()
            watchdog_start = Watchdog.size(self._folder / name)
            devices = self._pool.take() if self._pool else None
            process = subprocess.Popen(
                bound_command(self._command(name, missing)),
                env=self._pool.environment_of(devices) if self._pool and devices is not None else None,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self._attempts[name] += 1
        return _RunProcess(process, log, log_start, watchdog_start, devices)
