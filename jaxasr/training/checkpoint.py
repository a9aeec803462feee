"""Checkpoints: any pytree of arrays with what wrote it, saved by Orbax in the background, checked when it comes back.

A save copies the state to the host before it returns, so the next step may donate it. What is half-written when the
process dies, or when the disk fills, is never seen by a reader: the last complete checkpoint stays the last.
"""

import contextlib
import errno
import logging
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, SupportsFloat, TypeVar

import orbax.checkpoint as ocp

from jaxasr import tree
from jaxasr.training import flat_tree as leaves

Tree = TypeVar("Tree")
Which = int | Literal["last", "best"]

SPACE_MARGIN = 1.2  # free space asked for, over the bytes of the state


@dataclass(frozen=True)
class Metadata:
    """What has to be the same for a state to be used again, and what it was made with."""

    experiment: str  # as `tree.render` gives it
    fingerprint: str
    tokenizer: str  # digest
    data: str  # hash of the prepared data
    versions: Mapping[str, str]  # of packages; told, never compared
    defaults: tuple[str, ...] = ()  # as `tree.defaults` gives it: what an older experiment may not have known
    longest_s: float = (
        0.0  # of the audio of one example, the longest that fits a batch; 0: there is none, or nobody knows
    )

    def differences(self, here: "Metadata") -> list[str]:
        """What differs from the writer of a checkpoint, self, to its reader, `here`: lines of "name: there -> here"."""
        lines = list(tree.difference(self.experiment, here.experiment, new_defaults=here.defaults))
        for name, what in (("tokenizer", "vocabulary (digest of the tokenizer)"), ("data", "prepared data (hash)")):
            there, now = getattr(self, name), getattr(here, name)
            lines += [f"{what}: {there} -> {now}"] if there != now else []
        return lines


class Checkpoints:
    """The checkpoints of one run: the newest few, and for good the few best by one number (lower is better)."""

    def __init__(
        self,
        directory: Path,
        *,
        keep_last: int = 2,
        keep_best: int = 1,
        by: str = "wer",
        mode: Literal["write", "read"] = "write",
    ):
        """Opens the folder; to write makes it, and removes what a killed run left half-written.

        Args:
            keep_last: newest checkpoints that are kept.
            keep_best: best checkpoints that are kept besides.
            by: the name of the metric that ranks them.
            mode: "read" changes nothing in the folder, so that a run that writes there is not disturbed.

        Raises:
            FileNotFoundError: to read, and there is no such folder.
            ValueError: the scores of a checkpoint in it can't be read.
        """
        if keep_last < 1 or keep_best < 0:
            raise ValueError(
                f"keep_last={keep_last}, keep_best={keep_best}; it needs keep_last >= 1 and keep_best >= 0"
            )
        writes = mode == "write"
        if not writes and not directory.is_dir():
            raise FileNotFoundError(
                f"there is no folder {directory} to read checkpoints from; is this a run's workdir?"
            )
        logging.getLogger("absl").addFilter(_not_of_orbax)
        self.directory = directory
        self._by = by
        self._needed_bytes = 0
        try:
            self._manager = ocp.CheckpointManager(
                directory.absolute(),
                options=ocp.CheckpointManagerOptions(
                    best_fn=lambda metrics: metrics[by],
                    best_mode="min",
                    preservation_policy=_Keep(keep_last, keep_best, by),
                    create=writes,
                    read_only=not writes,
                    cleanup_tmp_directories=writes,
                    enable_async_checkpointing=writes,
                ),
            )
        except ValueError as error:  # the scores of all are read when the folder is opened
            halves = [path for path in directory.glob("*/metrics/metrics") if not path.read_text().endswith("}")]
            raise ValueError(
                f"{directory} can't be opened: {', '.join(map(str, halves)) or 'a file in it'} is damaged; remove the folder "
                f"of that step to go back to one before it. {error}"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save(
        self,
        step: int,
        state: Any,
        metadata: Metadata,
        metrics: Mapping[str, SupportsFloat] | None = None,
        *,
        wait: bool = False,
    ) -> None:
        """Begins to save `state`. What went wrong with the save before is raised here, at the latest in `close`.

        Args:
            step: steps done; not saved before.
            metrics: of this state. Without a finite one of the name `by` it can't be the best.
            wait: True: return when all is on the disk.

        Raises:
            OSError: too little space on the disk; the checkpoints that are there stay whole.
            ValueError: the step is saved already.
        """
        self.wait()
        if step in self._manager.all_steps():
            raise ValueError(f"step {step} is in {self.directory} already; a step is saved once")
        flat = leaves.to_host(leaves.flatten(state))
        self._ask_for_space(flat)
        scores = {name: float(value) for name, value in (metrics or {}).items()}
        ranked = math.isfinite(scores.get(self._by, math.nan))
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(leaves.nonempty(flat)),
            metadata=ocp.args.JsonSave({"metadata": asdict(metadata), "leaves": leaves.describe(flat)}),
        )
        with self._naming_a_full_disk():
            self._manager.save(step, args=items, metrics=scores if ranked else None, force=True)
        if wait:
            self.wait()

    def restore(self, step: Which, like: Tree, expect: Metadata | None = None) -> tuple[Tree, Metadata]:
        """The whole state of a step, on the devices that `like` is on, and what wrote it.

        Args:
            step: a number, "last", or "best": the lowest metric.
            like: a state of the same tree, shapes and dtypes: arrays or jax.ShapeDtypeStruct. A leaf without a
                sharding comes back as a NumPy array.
            expect: who reads; None: only the trees are compared.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            ValueError: another experiment, vocabulary or data wrote it, its tree is another (all differences are
                named), or it can't be read.
        """
        return self._restore(step, like, expect, whole=True)

    def restore_part(self, step: Which, like: Tree, expect: Metadata | None = None) -> tuple[Tree, Metadata]:
        """As `restore`, for some fields of the state: `like` is a dictionary by field, such as {"params": params}.

        Nothing else is read from the disk.
        """
        return self._restore(step, like, expect, whole=False)

    def metadata(self, step: Which) -> Metadata:
        """What wrote a step; nothing of its state is read. Errors as in `restore`."""
        number = self._find(step)
        return _told(self._about(number))

    def holds(self, step: Which, field: str) -> bool:
        """Returns True if the checkpoint holds a field of the state, by its path: "train/ema_params"."""
        return any(path.startswith(f"{field}/") for path in self._about(self._find(step))["leaves"])

    def steps(self) -> list[int]:
        """The steps that are completely on the disk, rising."""
        self.wait()
        self._manager.reload()
        return sorted(self._manager.all_steps())

    def last(self) -> int | None:
        """The newest step; None if there is none."""
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """The step with the lowest metric, of equals the newest; None if none has a metric."""
        return self._manager.best_step() if self.steps() else None

    def wait(self) -> None:
        """Returns when nothing is being written any more. Raises: OSError: the disk was full."""
        with self._naming_a_full_disk():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Finishes what is being written, and lets the folder go."""
        try:
            self.wait()
        finally:
            self._manager.close()

    def _restore(self, step: Which, like: Tree, expect: Metadata | None, *, whole: bool) -> tuple[Tree, Metadata]:
        number = self._find(step)
        place = self._place(number)
        about = self._about(number)
        there = _told(about)
        asked = leaves.flatten(like)
        _refuse(f"{place} is of another run, with fingerprint {there.fingerprint}", there.differences(expect or there))
        _refuse(f"{place} holds another tree", leaves.differences(about["leaves"], leaves.describe(asked), whole=whole))
        targets = leaves.nonempty({path: leaves.abstract_like(leaf) for path, leaf in asked.items()})
        arguments = ocp.args.PyTreeRestore(
            targets, restore_args=ocp.checkpoint_utils.construct_restore_args(targets), partial_restore=not whole
        )
        return leaves.unflatten(like, self._read(number, state=arguments)["state"]), there

    def _about(self, number: int) -> Any:
        return self._read(number, metadata=ocp.args.JsonRestore())["metadata"]

    def _place(self, number: int) -> str:
        return f"checkpoint {number} in {self.directory}"

    def _find(self, step: Which) -> int:
        steps = self.steps()
        number = step if isinstance(step, int) else {"last": self.last, "best": self.best}[step]()
        if number not in steps:
            there = ", ".join(map(str, steps)) or "none"
            raise FileNotFoundError(f"there is no checkpoint {step} in {self.directory}; there are: {there}")
        return number

    def _read(self, number: int, **items: Any) -> Any:
        try:
            return self._manager.restore(number, args=ocp.args.Composite(**items))
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(
                f"{self._place(number)} can't be read; remove that folder to go back to one before it. {error}"
            ) from error

    def _ask_for_space(self, flat: Mapping[str, leaves.Leaf]) -> None:
        self._needed_bytes = int(leaves.size_bytes(flat) * SPACE_MARGIN)
        if shutil.disk_usage(self.directory).free < self._needed_bytes:
            raise self._full_disk()

    @contextlib.contextmanager
    def _naming_a_full_disk(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            self._manager.reload()  # Orbax has taken from its list what it was about to remove
            if _says_full(error):
                raise self._full_disk() from error
            raise

    def _full_disk(self) -> OSError:
        free = shutil.disk_usage(self.directory).free
        return OSError(
            errno.ENOSPC,
            f"the disk is full: a checkpoint in {self.directory} needs {self._needed_bytes:,} bytes, {free:,} are free; "
            "make room and resume from the last checkpoint, which is whole",
        )


@dataclass(frozen=True)
class _Keep:
    """Orbax asks it after each save which checkpoints stay."""

    last: int
    best: int
    by: str

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """True for the newest and for the best, by the metrics that each was saved with."""
        del context
        steps = sorted(info.step for info in checkpoints)
        ranked = sorted((info.metrics[self.by], -info.step) for info in checkpoints if info.metrics)
        kept = {*steps[-self.last :], *(-negative for _, negative in ranked[: self.best])}
        return [info.step in kept for info in checkpoints]


def _refuse(what: str, lines: Sequence[str]) -> None:
    if lines:
        raise ValueError(f"{what}. From there -> to here:\n  " + "\n  ".join(lines))


def _says_full(error: BaseException) -> bool:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left on device" in str(error) or "Disk quota exceeded" in str(error)


def _not_of_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _told(about: Mapping[str, Any]) -> Metadata:
    """What a checkpoint says of itself; JSON has made lists of tuples."""
    fields = about["metadata"]
    return Metadata(**{**fields, "defaults": tuple(fields.get("defaults", ()))})
