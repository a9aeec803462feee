"""Checkpoints of a run, read: a restore compares the digest of each leaf with the one that was saved."""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from jaxasr.training.checkpoints import flat_tree
from jaxasr.training.checkpoints.documents import DamagedCheckpointError
from jaxasr.training.checkpoints.metadata import Metadata
from jaxasr.training.checkpoints.saved_step import Evaluation, SavedStep

Tree = TypeVar("Tree")
T = TypeVar("T")
Which = int | Literal["last", "best"]


def saved_steps(directory: Path) -> list[int]:
    """Returns the steps that have a checkpoint in `directory`, ascending. A restore finds out if one is damaged."""
    folders = directory.iterdir() if directory.is_dir() else ()
    return sorted(int(folder.name) for folder in folders if folder.name.isdecimal() and folder.is_dir())


class SavedCheckpoints:
    """The checkpoints of a run, to be read while the run may write others. Nothing in the folder is changed.

    In a job of several processes every process restores the same checkpoints in the same order.
    """

    def __init__(
        self,
        directory: Path,
        *,
        by: str = "wer",
        may_differ: Sequence[str] = (),
        print_fn: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    ):
        """Opens the folder.

        Args:
            by: the name of the score that ranks checkpoints; lower is better.
            may_differ: paths of the experiment that may have other values in a checkpoint than for its reader.
            print_fn: takes a line about each damaged checkpoint that is passed over.

        Raises:
            FileNotFoundError: no such folder.
        """
        if not directory.is_dir():
            raise FileNotFoundError(
                f"there is no folder {directory} to read checkpoints from; is this a run's workdir?"
            )
        logging.getLogger("absl").addFilter(_not_from_orbax)
        self.directory = directory
        self._by = by
        self._may_differ = tuple(may_differ)
        self._print = print_fn
        self._reported: set[str] = set()
        self._damaged: set[int] = set()

    def restore(self, step: Which, like: Tree, expect: Metadata | None = None) -> tuple[Tree, Metadata]:
        """Restores the whole state of a step on the devices of `like`, with its metadata.

        Args:
            step: a number, "last", or "best": the lowest score.
            like: a state of the same tree, shapes and dtypes: arrays or jax.ShapeDtypeStruct. A leaf without a
                sharding is restored as a NumPy array.
            expect: the metadata of the reader; None: only the trees are compared.

        Raises:
            FileNotFoundError: no such checkpoint.
            DamagedCheckpointError: it is incomplete, or holds other values than were saved; the leaf or file is named.
            ValueError: it belongs to another experiment, vocabulary or data, or its tree differs (all differences are
                named).
        """
        return self._restore(step, like, expect, whole=True)

    def restore_part(self, step: Which, like: Tree, expect: Metadata | None = None) -> tuple[Tree, Metadata]:
        """Restores some fields of the state. Arguments and errors are those of `restore`.

        Args:
            like: a dictionary by field, such as {"params": params}. No other field is read from the disk.
        """
        return self._restore(step, like, expect, whole=False)

    def first_whole(self, which: Which, read: Callable[[int], T]) -> T:
        """Returns `read(step)` of the first checkpoint that is not damaged, and prints which were and what is taken.

        Args:
            which: "last": the newest first; "best": the best first, those without a score at the end; a number: this one.
            read: restores a step.

        Raises:
            FileNotFoundError: no such checkpoint.
            DamagedCheckpointError: all are damaged.
        """
        if isinstance(which, int):
            return read(self.find(which))
        self.find(which)
        damages: dict[int, DamagedCheckpointError] = {}
        for step in self._candidates(which):
            try:
                result = read(step)
            except DamagedCheckpointError as damage:
                damages[step] = damage
                self._damaged.add(step)
                continue
            for damaged, damage in damages.items():
                self._pass_over(damaged, f"DAMAGED: {damage}. Checkpoint {step} is taken in place of {damaged}")
            return result
        raise DamagedCheckpointError(
            "no checkpoint is whole; restore one from a backup, or remove them to begin with the first step:\n  "
            + "\n  ".join(str(damage) for damage in damages.values())
        )

    def metadata(self, step: Which) -> Metadata:
        """Returns the metadata of a step without reading its state. Errors are those of `restore`."""
        return self._saved(self.find(step)).about().metadata

    def holds(self, step: Which, field: str) -> bool:
        """Returns True if the checkpoint holds a field of the state, by its path: "train/ema_params"."""
        return any(path.startswith(f"{field}/") for path in self._saved(self.find(step)).about().leaves)

    def leaves(self, step: Which) -> Mapping[str, list[Any]]:
        """Returns [shape, dtype] of each leaf of a step's state by its path, without reading the state."""
        return self._saved(self.find(step)).about().leaves

    def evaluation(self, step: int) -> Evaluation | None:
        """Returns the recorded evaluation of a step; None if there is none. A damaged one is printed, and is none."""
        try:
            return self._saved(step).evaluation()
        except DamagedCheckpointError as damage:
            self._report(f"DAMAGED: {damage}. The checkpoint counts as one without an evaluation")
            return None

    def is_evaluated_later(self, step: int) -> bool:
        """Returns True if the state was saved before its evaluation. Older versions, without digests, saved it after."""
        return self._saved(step).about().digests is not None

    def find(self, step: Which) -> int:
        """Returns the number of a step.

        Raises:
            FileNotFoundError: no such checkpoint.
        """
        steps = self.steps()
        number = step if isinstance(step, int) else {"last": self.last, "best": self.best}[step]()
        if number not in steps:
            there = ", ".join(map(str, steps)) or "none"
            raise FileNotFoundError(f"there is no checkpoint {step} in {self.directory}; there are: {there}")
        return number

    def steps(self) -> list[int]:
        """Returns the steps that have a checkpoint, ascending. A restore finds out if one is damaged."""
        return saved_steps(self.directory)

    def last(self) -> int | None:
        """Returns the newest step; None if there is none."""
        return max(self.steps(), default=None)

    def last_whole(self) -> int:
        """Returns the newest step whose description is whole and whose arrays were not found damaged; 0 if there is none."""
        return next((step for step in self.steps()[::-1] if step not in self._damaged and self._is_described(step)), 0)

    def best(self) -> int | None:
        """Returns the step with the lowest score, the newest among equals; None if none has a score."""
        return next(iter(self._ranked()), None)

    def _ranked(self) -> list[int]:
        """Returns the steps with a score, the best first."""
        evaluations = {step: self.evaluation(step) for step in saved_steps(self.directory)}
        ranks = {step: found.rank(self._by) for step, found in evaluations.items() if found is not None}
        ranked = sorted((rank, -step) for step, rank in ranks.items() if rank is not None)
        return [-negative for _, negative in ranked]

    def _candidates(self, which: Literal["last", "best"]) -> list[int]:
        """Returns the steps that can be taken for `which`, the first choice first."""
        newest = self.steps()[::-1]
        ranked = self._ranked() if which == "best" else []
        return ranked + [step for step in newest if step not in ranked]

    def _restore(self, step: Which, like: Tree, expect: Metadata | None, *, whole: bool) -> tuple[Tree, Metadata]:
        number = self.find(step)
        name = f"checkpoint {number} in {self.directory}"
        about = self._saved(number).about()
        there = about.metadata
        wanted = flat_tree.flatten(like)
        lines = there.differences(expect or there, self._may_differ)
        _raise_if(f"{name} is of another run, with fingerprint {there.fingerprint}", lines)
        lines = flat_tree.differences(about.leaves, flat_tree.describe(wanted), whole=whole)
        _raise_if(f"{name} holds another tree", lines)
        return flat_tree.unflatten(like, self._saved(number).read(wanted, about, whole=whole)), there

    def _is_described(self, step: int) -> bool:
        try:
            self._saved(step).about()
        except DamagedCheckpointError:
            return False
        return True

    def _saved(self, step: int) -> SavedStep:
        return SavedStep(self.directory / str(step))

    def _pass_over(self, step: int, line: str) -> None:
        """Reports that a damaged checkpoint is passed over."""
        del step
        self._report(line)

    def _report(self, line: str) -> None:
        """Prints a line about a damage, once."""
        if line not in self._reported:
            self._reported.add(line)
            self._print(line)


def _not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _raise_if(what: str, lines: Sequence[str]) -> None:
    if lines:
        raise ValueError(f"{what}. From there -> to here:\n  " + "\n  ".join(lines))
