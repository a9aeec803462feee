"""Checkpoints of a run, written: any pytree of arrays with its provenance, saved by Orbax in the background.

A save copies the state to the host before it returns, so the next step may donate it. A reader never sees a checkpoint that
is incomplete because the process died or the disk filled: the last complete one stays the last. The state is saved with the
digest of each leaf, before it is evaluated. The evaluation is recorded in its checkpoint when it is known.
"""

import contextlib
import errno
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxasr.scale.hosts import barrier, gather_from_all, is_primary
from jaxasr.training.checkpoints import flat_tree
from jaxasr.training.checkpoints.arrays import ArrayWriter
from jaxasr.training.checkpoints.digests import digests
from jaxasr.training.checkpoints.documents import DamagedCheckpointError, sealed
from jaxasr.training.checkpoints.metadata import Metadata
from jaxasr.training.checkpoints.reader import SavedCheckpoints, Which, saved_steps
from jaxasr.training.checkpoints.saved_step import METADATA, STATE, About, Evaluation

T = TypeVar("T")

SPACE_MARGIN = 1.2  # required free space over the bytes of the state
DAMAGED = ".damaged"  # ends the name of the folder of a checkpoint that was set aside
DELETED = ".deleted"  # ends its name while it is removed


class Checkpoints(SavedCheckpoints):
    """The checkpoints of a run that writes them: the newest few, and the few best by one score (lower is better).

    Every process of a job calls its methods in the same order.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep_last: int = 2,
        keep_best: int = 1,
        by: str = "wer",
        may_differ: Sequence[str] = (),
        print_fn: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    ):
        """Opens or creates the folder, and removes incomplete checkpoints of a killed run.

        Args:
            keep_last: newest checkpoints that are kept.
            keep_best: best checkpoints that are kept besides.
            by: the name of the score that ranks them.
            may_differ: paths of the experiment that may have other values in a checkpoint than in the run.
            print_fn: takes a line about each damaged checkpoint that is passed over.
        """
        if keep_last < 1 or keep_best < 0:
            raise ValueError(
                f"keep_last={keep_last}, keep_best={keep_best}; it needs keep_last >= 1 and keep_best >= 0"
            )
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory, by=by, may_differ=may_differ, print_fn=print_fn)
        self._keep_last = keep_last
        self._keep_best = keep_best
        self._needed_bytes = 0
        self._removes = False  # until damaged checkpoints are set aside, because they would count as new
        if is_primary():
            for unfinished in (*directory.glob("*.orbax-checkpoint-tmp*"), *directory.glob(f"*{DELETED}")):
                shutil.rmtree(unfinished)
        barrier("checkpoints")
        self._writer = ArrayWriter()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save(self, step: int, state: Any, metadata: Metadata, *, wait: bool = False) -> None:
        """Starts to save `state`. An error of the save before is raised here, at the latest in `close`.

        Args:
            step: steps done; not saved before.
            wait: True: returns when everything is on the disk.

        Raises:
            OSError: too little space on the disk; existing checkpoints stay complete.
            ValueError: the step is saved already.
        """
        self._removes = True
        if step in self.steps():
            raise ValueError(f"step {step} is in {self.directory} already; a step is saved once")
        flat = flat_tree.to_host(flat_tree.flatten(state))
        self._check_free_space(flat)
        stored = flat_tree.nonempty(flat)
        sums = digests(stored, lambda text: gather_from_all("digests", text))
        about = About(metadata, flat_tree.describe(flat), sums)
        document = sealed(about.document())
        with self._naming_a_full_disk():
            self._writer.start(self.directory / str(step), arrays=(STATE, stored), document=(METADATA, document))
        if wait:
            self.wait()

    def first_whole(self, which: Which, read: Callable[[int], T]) -> T:
        """Returns what the reader's method does. Damaged checkpoints get names that end in ".damaged"."""
        found = super().first_whole(which, read)
        self._removes = True
        return found

    def is_complete(self, step: int) -> bool:
        """Returns True if the checkpoint of a step is on the disk. It waits for nothing; any thread may call it."""
        return (self.directory / str(step)).is_dir()

    def record(self, step: int, evaluation: Evaluation) -> None:
        """Records the evaluation of a saved state in its checkpoint, which it can make the best."""
        self.wait()
        if is_primary():
            self._saved(step).write_evaluation(evaluation)
        barrier("evaluation")
        self._remove_old()

    def steps(self) -> list[int]:
        """Returns the steps that have a complete checkpoint, ascending. A restore finds out if one is damaged."""
        self.wait()
        return super().steps()

    def wait(self) -> None:
        """Waits until no checkpoint is being written, and removes those that are neither new nor good enough.

        Raises:
            OSError: the disk is full.
        """
        with self._naming_a_full_disk():
            self._writer.wait()
        self._remove_old()

    def close(self) -> None:
        """Waits for the checkpoint that is being written, and closes the folder."""
        try:
            self.wait()
        finally:
            self._writer.close()

    def _remove_old(self) -> None:
        if not self._removes or not is_primary():
            return
        steps = saved_steps(self.directory)
        kept = {*steps[-self._keep_last :], *self._ranked()[: self._keep_best], *filter(self._has_damaged_score, steps)}
        for step in steps:
            if step not in kept:
                shutil.rmtree(self._rename(step, DELETED))  # renamed first: none is ever incomplete under its own name

    def _has_damaged_score(self, step: int) -> bool:
        try:
            self._saved(step).evaluation()
        except DamagedCheckpointError:
            return True
        return False

    def _pass_over(self, step: int, line: str) -> None:
        """Sets a damaged checkpoint aside, so that its step can be saved again, and reports it."""
        self._report(f"{line}; its folder gets the name {step}{DAMAGED}")
        if is_primary():
            shutil.rmtree(self.directory / f"{step}{DAMAGED}", ignore_errors=True)
            self._rename(step, DAMAGED)
        barrier("damaged")

    def _rename(self, step: int, ending: str) -> Path:
        folder = self.directory / str(step)
        return folder.rename(folder.with_name(f"{step}{ending}"))

    def _check_free_space(self, flat: Mapping[str, flat_tree.Leaf]) -> None:
        self._needed_bytes = int(flat_tree.size_bytes(flat) * SPACE_MARGIN)
        if shutil.disk_usage(self.directory).free < self._needed_bytes:
            raise self._full_disk()

    @contextlib.contextmanager
    def _naming_a_full_disk(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if _is_full_disk(error):
                raise self._full_disk() from error
            raise

    def _full_disk(self) -> OSError:
        free = shutil.disk_usage(self.directory).free
        return OSError(
            errno.ENOSPC,
            f"the disk is full: a checkpoint in {self.directory} needs {self._needed_bytes:,} bytes, {free:,} are free; "
            "make room and resume from the last checkpoint, which is whole",
        )


def _is_full_disk(error: BaseException) -> bool:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left on device" in str(error) or "Disk quota exceeded" in str(error)
