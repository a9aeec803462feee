"""The verification that a run which is killed and resumed, on any number of processes, equals an uninterrupted run.

The experiment is cut to a few steps and trained once without interruption. It is then trained again in several attempts. All
processes of an attempt are killed (SIGKILL) some steps after a save, and the next attempt may have another number of
processes. Each process has one CPU device of this machine and writes the examples of each step to a file.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxasr import report, tree
from jaxasr.data import BoundPipeline
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.variants import load
from jaxasr.experiment.workdir import Workdir
from jaxasr.run.initial_state import initial_state
from jaxasr.training import SavedCheckpoints
from jaxasr.verify.attempts import Attempt, run_attempt
from jaxasr.verify.worker import StepTrace, Trace, WorkerArgs

STEPS_PER_ATTEMPT = 4  # from one save to the next
LOSS_TOLERANCE = 1e-5  # relative; the order of additions depends on the number of devices
PARAMETER_TOLERANCE = 1e-4  # of the distance, relative to the norm of all parameters
UNBROKEN = "unbroken"
WHOLE = "whole"  # the workdir of the unbroken run
BROKEN = "broken"  # the workdir of the attempts


@dataclass(frozen=True)
class AttemptComparison:
    """The comparison of an attempt with the same steps of the unbroken run."""

    attempt: Attempt
    steps: tuple[int, int]  # its first and its last step
    wrong_examples: tuple[int, ...]  # steps with other examples, or with another order of examples
    loss_distance: float  # the largest relative difference of a loss, also between processes
    allowed: float

    @property
    def is_equal(self) -> bool:
        """The verdict: True if steps and examples are equal and the loss is within the tolerance."""
        complete = self.attempt.kill_after_step < 0 or self.steps[1] == self.attempt.kill_after_step
        return (
            complete
            and self.steps[0] == self.attempt.first_step
            and not self.wrong_examples
            and self.loss_distance <= self.allowed
        )

    def cells(self) -> list[str]:
        """Returns the row of the table."""
        ended = (
            f"killed after step {self.steps[1]}" if self.attempt.kill_after_step >= 0 else f"ended with {self.steps[1]}"
        )
        order = f"OTHERS at {', '.join(map(str, self.wrong_examples))}" if self.wrong_examples else "equal, in order"
        loss = "bit-equal" if self.loss_distance == 0 else f"{self.loss_distance:.1e}"
        allowed = f"{self.allowed:.0e}" if self.allowed else "bit-equal"
        begun = (
            f"{self.steps[0]}"
            if self.steps[0] == self.attempt.first_step
            else f"{self.steps[0]}, NOT {self.attempt.first_step}"
        )
        verdict = "yes" if self.is_equal else "NO"
        return [self.attempt.name, f"{self.attempt.processes}", begun, ended, order, loss, allowed, verdict]


@dataclass(frozen=True)
class ResumeReport:
    """The result of a verification."""

    unbroken: Attempt
    comparisons: tuple[AttemptComparison, ...]
    parameter_distance: float  # relative distance of all parameters after the last step
    allowed: float

    @property
    def holds(self) -> bool:
        """The verdict: True if the interrupted run equals the unbroken run."""
        return all(comparison.is_equal for comparison in self.comparisons) and self.parameter_distance <= self.allowed

    def lines(self) -> list[str]:
        """Returns the lines of the report."""
        header = ("attempt", "processes", "from step", "end", "examples", "loss", "allowed", "as unbroken")
        distance = "bit-equal" if self.parameter_distance == 0 else f"{self.parameter_distance:.1e} apart"
        allowed = f"{self.allowed:.0e}" if self.allowed else "bit-equal"
        count = f"{self.unbroken.processes} process{'es' * (self.unbroken.processes > 1)}"
        return [
            report.markdown(header, [comparison.cells() for comparison in self.comparisons]),
            f"parameters after the last step: {distance} (allowed: {allowed})",
            f"{'PROVED' if self.holds else 'NOT PROVED'}: beside the unbroken run of {count}",
        ]


def verify_resume(
    reference: str,
    assignments: Sequence[str],
    data_dir: Path,
    folder: Path | None = None,
    *,
    hosts: Sequence[int],
    steps: int | None = None,
    limit_s: float = 900.0,
    print_fn: Callable[[str], None] = print,
) -> ResumeReport:
    """Trains with and without interruptions, and compares the two runs.

    If all attempts have the same number of processes, the unbroken run has it too, and everything must be bit-equal.
    Otherwise the unbroken run has one process, and losses and parameters may differ by the effect of the order of additions.

    Args:
        reference: the experiment, as on the command line.
        assignments: overrides of the experiment. This function sets the steps and the intervals itself.
        folder: a new folder for workdirs, traces and logs. None: a temporary one.
        hosts: the number of processes of each attempt.
        steps: the steps of the whole run, rounded down to a multiple of the attempts. None: 4 for each attempt.
        limit_s: the time that an attempt may take.
        print_fn: is called with a line about the folder.

    Raises:
        ValueError: too few attempts, processes or steps, a batch that can't be split evenly over the processes, a folder
            that is not empty, or an override that this function sets.
        RuntimeError: a process failed.
        TimeoutError: an attempt took too long.
    """
    attempts = plan_attempts(hosts, steps)
    save_every = attempts[1].first_step
    total = save_every * len(attempts)
    set_here = [f"steps={total}", f"eval_every={total}", f"save_every={save_every}", f"log_every={save_every}"]
    _check_not_set(assignments, set_here)
    assignments = (*assignments, *set_here)
    experiment = load(reference, tree.parse(list(assignments)))
    data = experiment.train_data.open(data_dir)
    _check_even_batches(data, lcm(*hosts))
    folder = _new_folder(folder)
    print_fn(f"workdirs, traces and logs are in {folder}")

    same = len(set(hosts)) == 1
    unbroken = Attempt(UNBROKEN, hosts[0] if same else 1, 0)
    made = sum((attempt.kill_after_step + 1 or experiment.steps) - attempt.first_step for attempt in attempts)
    with report.Progress(experiment.steps + made, "verify-resume", "steps") as bar:
        traces = {}
        for attempt in (unbroken, *attempts):
            bar.print(f"{attempt.name}: {attempt.processes} process{'es' * (attempt.processes > 1)}")
            workdir = folder / (WHOLE if attempt is unbroken else BROKEN)
            worker_args = WorkerArgs(reference, assignments, str(data_dir), str(workdir))
            traces[attempt] = run_attempt(
                attempt, worker_args, folder, limit_s=limit_s, on_steps=lambda n: bar.advance(n) if n else None
            )
    whole, broken = (_restore_parameters(experiment, data, folder / name) for name in (WHOLE, BROKEN))
    return ResumeReport(
        unbroken,
        tuple(
            compare_attempt(attempt, traces[attempt], traces[unbroken], 0.0 if same else LOSS_TOLERANCE)
            for attempt in attempts
        ),
        relative_distance(whole, broken),
        0.0 if same else PARAMETER_TOLERANCE,
    )


def plan_attempts(hosts: Sequence[int], steps: int | None = None) -> list[Attempt]:
    """Returns an attempt for each number of processes. All but the last are killed half-way between two saves.

    Raises:
        ValueError: fewer than two attempts, an attempt without a process, or too few steps.
    """
    if len(hosts) < 2 or min(hosts) < 1:
        raise ValueError(
            f"--hosts {','.join(map(str, hosts))}: two numbers of processes or more, each at least 1, such as 2,1,4"
        )
    save_every = STEPS_PER_ATTEMPT if steps is None else steps // len(hosts)
    if save_every < 2:
        raise ValueError(
            f"--steps {steps}: {len(hosts)} attempts need {2 * len(hosts)} steps or more, to save and be killed"
        )
    last = len(hosts) - 1
    return [
        Attempt(
            f"attempt-{number + 1}",
            processes,
            first_step=number * save_every,
            kill_after_step=-1 if number == last else (number + 1) * save_every + save_every // 2,
            saved_steps=(number + 1) * save_every,
        )
        for number, processes in enumerate(hosts)
    ]


def compare_attempt(attempt: Attempt, trace: Trace, unbroken: Trace, allowed: float) -> AttemptComparison:
    """Compares an attempt with the same steps of the unbroken run.

    Raises:
        ValueError: the attempt made no step, or a step that the unbroken run did not make.
    """
    if not trace or set(trace) - set(unbroken):
        raise ValueError(f"{attempt.name} made the steps {sorted(trace)}, the unbroken run {sorted(unbroken)}")
    wrong = tuple(step for step, made in trace.items() if made.examples != unbroken[step].examples)
    largest = max(_loss_distance(made, unbroken[step]) for step, made in trace.items())
    return AttemptComparison(attempt, (min(trace), max(trace)), wrong, largest, allowed)


def relative_distance(whole: Any, broken: Any) -> float:
    """Returns the norm of the difference of two trees of arrays, relative to the norm of the first."""
    pairs = [
        (np.asarray(a, np.float64), np.asarray(b, np.float64))
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(broken), strict=True)
    ]
    apart = sum(float(np.sum((a - b) ** 2)) for a, b in pairs)
    return float(np.sqrt(apart / max(sum(float(np.sum(a**2)) for a, _ in pairs), 1e-30)))


def _loss_distance(made: StepTrace, other: StepTrace) -> float:
    losses = (*made.losses, *other.losses)
    return (max(losses) - min(losses)) / max(abs(other.losses[0]), 1e-30)


def _new_folder(folder: Path | None) -> Path:
    """Makes the folder, which must be empty, or a temporary one if it is None."""
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="verify-resume-"))
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; the verification begins with the first step, so give a new --workdir")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _check_not_set(assignments: Sequence[str], here: Sequence[str]) -> None:
    twice = sorted(tree.parse(list(assignments)).keys() & tree.parse(list(here)).keys())
    if twice:
        raise ValueError(
            f"{', '.join(twice)}: the verification sets these itself, by --steps and --hosts; leave them out"
        )


def _check_even_batches(data: BoundPipeline, processes: int) -> None:
    uneven = sorted({shape.examples for shape in data.shapes if shape.examples % processes})
    if uneven:
        raise ValueError(
            f"batches of {', '.join(map(str, uneven))} examples can't be shared out over each number of processes; add "
            f"train_data.shapes.examples_multiple={processes}, or more seconds_per_batch"
        )


def _restore_parameters(experiment: Experiment, data: BoundPipeline, workdir: Path) -> Mapping[str, Any]:
    """Restores the parameters, and their average if the run keeps one, after the last step."""
    shapes = jax.eval_shape(lambda: initial_state(experiment, data))
    like = {"params": shapes.params}
    if shapes.ema_params is not None:
        like["ema_params"] = shapes.ema_params
    checkpoints = SavedCheckpoints(Workdir(workdir).checkpoints, by=experiment.ranked_by)
    saved, _ = checkpoints.restore_part(experiment.steps, {"train": like})
    return saved["train"]
