"""Changes of the experiment of a run that has begun: those that decide no number, and those of `train --extend`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxasr import tree
from jaxasr.experiment.experiment import Experiment

FREE = ("log_every", "save_every", "keep_last", "keep_best")  # decide no parameter and no score
EXTENDABLE = ("steps", "patience", "optimizer.schedule")  # decide how long a run is, and the learning rate until then
CHANGEABLE = FREE + EXTENDABLE


def check_changes(lines: Sequence[str], where: Path, *, extends: bool) -> None:
    """Checks that the experiment of a run may become another one.

    Args:
        lines: the differences, as `tree.difference` gives them.
        where: the workdir of the run, for the message.
        extends: True: how long the run is may change, too.

    Raises:
        ValueError: something else differs; the message lists every line that does.
    """
    allowed = CHANGEABLE if extends else FREE
    refused = [line for line in lines if not tree.is_below(line, allowed)]
    if not refused:
        return
    advice = "Resume with the experiment that is there, or give another --workdir."
    if not extends and all(tree.is_below(line, CHANGEABLE) for line in refused):
        advice = "Resume with the experiment that is there, give another --workdir, or change its length with --extend."
    raise ValueError(
        f"the workdir {where} belongs to another experiment. From there -> to this one:\n  "
        + "\n  ".join(refused)
        + f"\n{advice}"
    )


def describe_changes(lines: Sequence[str], experiment: Experiment, done: int) -> list[str]:
    """Returns lines for people about the changes of a run, with the learning rate of the steps to come if it is extended.

    Args:
        lines: the differences, which `check_changes` allows.
        experiment: the experiment from now on.
        done: steps of the newest checkpoint.

    Raises:
        ValueError: the run has more steps, or the schedule leaves no learning rate for the steps to come.
    """
    described = [f"the experiment changes: {line}" for line in lines]
    if not any(tree.is_below(line, EXTENDABLE) for line in lines):
        return described
    if experiment.steps < done:
        raise ValueError(f"steps={experiment.steps}, and the run has {done:,} steps; --extend takes as many or more")
    last = experiment.steps - 1
    rates = {step + 1: float(experiment.optimizer.rate(step)) for step in sorted({done, (done + last) // 2, last})}
    if done <= last and not any(rate > 0.0 for rate in rates.values()):
        raise ValueError(
            f"the schedule is at its end: the learning rate of the steps {done + 1:,} to {experiment.steps:,} is 0. State "
            "another one with --extend, such as optimizer.schedule.total_steps="
            f"{experiment.steps}"
        )
    shown = ", ".join(f"{rate:.3g} at step {step:,}" for step, rate in rates.items())
    return [*described, f"training goes on from step {done:,} to {experiment.steps:,}; learning rate {shown}"]


def record_extension(file: Path, lines: Sequence[str], done: int) -> None:
    """Adds an extension of the run to a file, from which rows of results name it. Other changes are not recorded."""
    extended = [line for line in lines if tree.is_below(line, EXTENDABLE)]
    if extended:
        with file.open("a", encoding="utf-8") as written:
            written.write(json.dumps({"after_step": done, "changes": extended}, ensure_ascii=False) + "\n")


def read_extensions(file: Path) -> list[dict[str, Any]]:
    """Returns the extensions of a run in order; none if there is no file."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines]
