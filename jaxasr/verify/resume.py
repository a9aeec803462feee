"""The proof that a run which is killed and goes on, on whatever number of processes, is the run that never was killed.

The experiment, cut to a few steps, is trained once without a break. Then it is trained again in several lives: all processes
of a life are killed (SIGKILL) some steps behind a save, and the next life has another number of them. Each process has one
device of this machine's CPU, and writes down what it was given at each step.
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
from jaxasr.experiment.experiment import Experiment, selection_metric
from jaxasr.experiment.variants import load
from jaxasr.experiment.workdir import Workdir
from jaxasr.run.initial_state import initial_state
from jaxasr.training import Checkpoints
from jaxasr.verify.attempts import Attempt, run_attempt
from jaxasr.verify.worker import StepTrace, Trace, WorkerArgs

STEPS_PER_ATTEMPT = 4  # from one save to the next
LOSS_TOLERANCE = 1e-5  # relative; sums are added in another order on another number of devices
PARAMETER_TOLERANCE = 1e-4  # of the distance, relative to the length of all parameters
UNBROKEN = "unbroken"


@dataclass(frozen=True)
class Comparison:
    """A life beside the unbroken run."""

    attempt: Attempt
    steps: tuple[int, int]  # the first and the last that it made
    wrong_examples: tuple[int, ...]  # steps at which it was given others, or in another order
    loss_distance: float  # the largest relative difference of a loss; of one process from another, too
    allowed: float

    @property
    def is_equal(self) -> bool:
        """Whether all is as it has to be."""
        on = self.attempt.kill_after_step < 0 or self.steps[1] == self.attempt.kill_after_step
        return (
            on and self.steps[0] == self.attempt.first_step and not self.wrong_examples and self.loss_distance <= self.allowed
        )

    def cells(self) -> list[str]:
        """Of a table."""
        ended = f"killed behind step {self.steps[1]}" if self.attempt.kill_after_step >= 0 else f"ended with {self.steps[1]}"
        order = f"OTHERS at {', '.join(map(str, self.wrong_examples))}" if self.wrong_examples else "equal, in order"
        loss = "bit-equal" if self.loss_distance == 0 else f"{self.loss_distance:.1e}"
        allowed = f"{self.allowed:.0e}" if self.allowed else "bit-equal"
        begun = f"{self.steps[0]}" if self.steps[0] == self.attempt.first_step else f"{self.steps[0]}, NOT {self.attempt.first_step}"
        verdict = "yes" if self.is_equal else "NO"
        return [self.attempt.name, f"{self.attempt.processes}", begun, ended, order, loss, allowed, verdict]


@dataclass(frozen=True)
class ResumeReport:
    """What came of it."""

    unbroken: Attempt
    comparisons: tuple[Comparison, ...]
    parameter_distance: float  # of all parameters after the last step, relative
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether the run that was killed is the one that was not."""
        return all(each.is_equal for each in self.comparisons) and self.parameter_distance <= self.allowed

    def lines(self) -> list[str]:
        """For people."""
        header = ("life", "processes", "from step", "end", "examples", "loss", "allowed", "as unbroken")
        distance = "bit-equal" if self.parameter_distance == 0 else f"{self.parameter_distance:.1e} apart"
        allowed = f"{self.allowed:.0e}" if self.allowed else "bit-equal"
        count = f"{self.unbroken.processes} process{'es' * (self.unbroken.processes > 1)}"
        return [
            report.markdown(header, [each.cells() for each in self.comparisons]),
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
    """Trains, kills, goes on, and compares.

    Where all lives have the same number of processes the unbroken run has it too, and all must be equal bit by bit; else it
    has one process, and losses and parameters may differ by what another order of additions makes.

    Args:
        reference: the experiment, as on the command line.
        assignments: of the experiment; steps and the times of saves are set here.
        folder: takes workdirs, traces and what the processes say; it must be new. None: a temporary one.
        hosts: processes of each life.
        steps: of the whole run, cut down to a multiple of the lives; None: 4 for each.
        limit_s: that each life may take.
        say: is told of the folder when all is well.

    Raises:
        ValueError: too few lives, processes or steps, a batch that can't be shared out over the processes, a folder that
            is not new, or an assignment of what is set here.
        RuntimeError: a process failed.
        TimeoutError: a life took too long.
    """
    lives = plan_attempts(hosts, steps)
    each = lives[1].first_step
    set_here = [
        f"steps={each * len(lives)}",
        f"eval_every={each * len(lives)}",
        f"save_every={each}",
        f"log_every={each}",
    ]
    _check_not_set(assignments, set_here)
    assignments = (*assignments, *set_here)
    experiment = load(reference, tree.parse(list(assignments)))
    data = experiment.train_data.open(data_dir)
    _check_even_batches(data, lcm(*hosts))
    folder = _new_folder(folder)
    print_fn(f"workdirs, traces and what the processes say are in {folder}")

    same = len(set(hosts)) == 1
    unbroken = Attempt(UNBROKEN, hosts[0] if same else 1, 0)
    given = {
        life: WorkerArgs(reference, assignments, str(data_dir), str(folder / ("whole" if life is unbroken else "broken")))
        for life in (unbroken, *lives)
    }
    total = experiment.steps + sum((life.kill_after_step + 1 or experiment.steps) - life.first_step for life in lives)
    with report.Progress(total, "verify-resume", "steps") as bar:
        traces = {}
        for life, told in given.items():
            bar.say(f"{life.name}: {life.processes} process{'es' * (life.processes > 1)}")
            traces[life] = run_attempt(life, told, folder, limit_s=limit_s, on_steps=lambda n: bar.advance(n) if n else None)
    whole, broken = (_restore_parameters(experiment, data, folder / name) for name in ("whole", "broken"))
    return ResumeReport(
        unbroken,
        tuple(compare_attempt(life, traces[life], traces[unbroken], 0.0 if same else LOSS_TOLERANCE) for life in lives),
        relative_distance(whole, broken),
        0.0 if same else PARAMETER_TOLERANCE,
    )


def plan_attempts(hosts: Sequence[int], steps: int | None = None) -> list[Attempt]:
    """A life for each number of processes. All but the last are killed half-way from their first save to the next.

    Raises:
        ValueError: fewer than two lives, a life without a process, too few steps.
    """
    if len(hosts) < 2 or min(hosts) < 1:
        raise ValueError(
            f"--hosts {','.join(map(str, hosts))}: two numbers of processes or more, each at least 1, such as 2,1,4"
        )
    each = STEPS_PER_ATTEMPT if steps is None else steps // len(hosts)
    if each < 2:
        raise ValueError(
            f"--steps {steps}: {len(hosts)} lives need {2 * len(hosts)} steps or more, to save and be killed"
        )
    last = len(hosts) - 1
    return [
        Attempt(
            f"life-{place + 1}",
            processes,
            place * each,
            -1 if place == last else (place + 1) * each + each // 2,
            (place + 1) * each,
        )
        for place, processes in enumerate(hosts)
    ]


def compare_attempt(attempt: Attempt, trace: Trace, unbroken: Trace, allowed: float) -> Comparison:
    """A life beside the same steps of the unbroken run.

    Raises:
        ValueError: it made no step, or one that the unbroken run did not make.
    """
    if not trace or set(trace) - set(unbroken):
        raise ValueError(f"{attempt.name} made the steps {sorted(trace)}, the unbroken run {sorted(unbroken)}")
    wrong = tuple(step for step, seen in trace.items() if seen.examples != unbroken[step].examples)
    largest = max(_loss_distance(seen, unbroken[step]) for step, seen in trace.items())
    return Comparison(attempt, (min(trace), max(trace)), wrong, largest, allowed)


def relative_distance(whole: Any, broken: Any) -> float:
    """How far two trees of arrays are apart: the length of the difference over the length of the first."""
    pairs = [
        (np.asarray(a, np.float64), np.asarray(b, np.float64))
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(broken), strict=True)
    ]
    apart = sum(float(np.sum((a - b) ** 2)) for a, b in pairs)
    return float(np.sqrt(apart / max(sum(float(np.sum(a**2)) for a, _ in pairs), 1e-30)))


def _loss_distance(seen: StepTrace, other: StepTrace) -> float:
    losses = (*seen.losses, *other.losses)
    return (max(losses) - min(losses)) / max(abs(other.losses[0]), 1e-30)


def _new_folder(folder: Path | None) -> Path:
    """The folder, made, if it is empty; None: a temporary one."""
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="verify-resume-"))
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; the proof begins with the first step, so give a new --workdir")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _check_not_set(assignments: Sequence[str], here: Sequence[str]) -> None:
    twice = sorted(tree.parse(list(assignments)).keys() & tree.parse(list(here)).keys())
    if twice:
        raise ValueError(f"{', '.join(twice)}: the proof sets these itself, by --steps and --hosts; leave them out")


def _check_even_batches(data: BoundPipeline, processes: int) -> None:
    uneven = sorted({shape.examples for shape in data.shapes if shape.examples % processes})
    if uneven:
        raise ValueError(
            f"batches of {', '.join(map(str, uneven))} examples can't be shared out over each number of processes; add "
            f"train_data.shapes.examples_multiple={processes}, or more seconds_per_batch"
        )


def _restore_parameters(experiment: Experiment, data: BoundPipeline, workdir: Path) -> Mapping[str, Any]:
    """Those after the last step."""
    shapes = jax.eval_shape(lambda: initial_state(experiment, data))
    like = {"train": {"params": shapes.params, "average": shapes.average}}
    with Checkpoints(Workdir(workdir).checkpoints, by=selection_metric(experiment.model), mode="read") as checkpoints:
        saved, _ = checkpoints.restore_part(experiment.steps, like)
    return saved["train"]
