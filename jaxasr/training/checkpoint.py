"""Checkpoints: any pytree of arrays with its provenance, saved by Orbax in the background and checked on restore.

A save copies the state to the host before it returns, so the next step may donate it. A reader never sees a checkpoint that
is incomplete because the process died or the disk filled: the last complete one stays the last.
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

from jaxasr.training import flat_tree
from jaxasr.training.metadata import Metadata

Tree = TypeVar("Tree")
Which = int | Literal["last", "best"]

SPACE_MARGIN = 1.2  # required free space over the bytes of the state


class Checkpoints:
    """The checkpoints of one run: the newest few, and the few best by one metric (lower is better)."""

    def __init__(
        self,
        directory: Path,
        *,
        keep_last: int = 2,
        keep_best: int = 1,
        by: str = "wer",
        mode: Literal["write", "read"] = "write",
    ):
        """Opens the folder. In mode "write" it is created, and incomplete checkpoints of a killed run are removed.

        Args:
            keep_last: newest checkpoints that are kept.
            keep_best: best checkpoints that are kept besides.
            by: the name of the metric that ranks them.
            mode: "read" changes nothing in the folder, so it does not disturb a run that writes there.

        Raises:
            FileNotFoundError: mode "read" and no such folder.
            ValueError: the metrics of a checkpoint are damaged.
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
        logging.getLogger("absl").addFilter(_not_from_orbax)
        self.directory = directory
        self._by = by
        self._needed_bytes = 0
        try:
            self._manager = ocp.CheckpointManager(
                directory.absolute(),
                options=ocp.CheckpointManagerOptions(
                    best_fn=lambda metrics: metrics[by],
                    best_mode="min",
                    preservation_policy=_PreservationPolicy(keep_last, keep_best, by),
                    create=writes,
                    read_only=not writes,
                    cleanup_tmp_directories=writes,
                    enable_async_checkpointing=writes,
                ),
            )
        except ValueError as error:  # the scores of all are read when the folder is opened
            halves = [
                path
                for path in directory.glob("*/metrics/metrics")
                if not path.read_text(encoding="utf-8").endswith("}")
            ]
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
        """Starts to save `state`. An error of the save before is raised here, at the latest in `close`.

        Args:
            step: steps done; not saved before.
            metrics: of this state. A state without a finite metric `by` cannot be the best.
            wait: True: returns when everything is on the disk.

        Raises:
            OSError: too little space on the disk; existing checkpoints stay complete.
            ValueError: the step is saved already.
        """
        self.wait()
        if step in self._manager.all_steps():
            raise ValueError(f"step {step} is in {self.directory} already; a step is saved once")
        flat = flat_tree.to_host(flat_tree.flatten(state))
        self._check_free_space(flat)
        scores = {name: float(value) for name, value in (metrics or {}).items()}
        ranked = math.isfinite(scores.get(self._by, math.nan))
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(flat_tree.nonempty(flat)),
            metadata=ocp.args.JsonSave({"metadata": asdict(metadata), "leaves": flat_tree.describe(flat)}),
        )
        with self._naming_a_full_disk():
            self._manager.save(step, args=items, metrics=scores if ranked else None, force=True)
        if wait:
            self.wait()

    def restore(self, step: Which, like: Tree, expect: Metadata | None = None) -> tuple[Tree, Metadata]:
        """Restores the whole state of a step on the devices of `like`, with its metadata.

        Args:
            step: a number, "last", or "best": the lowest metric.
            like: a state of the same tree, shapes and dtypes: arrays or jax.ShapeDtypeStruct. A leaf without a
                sharding is restored as a NumPy array.
            expect: the metadata of the reader; None: only the trees are compared.

        Raises:
            FileNotFoundError: no such checkpoint.
            ValueError: it belongs to another experiment, vocabulary or data, its tree differs (all differences are
                named), or it cannot be read.
        """
        return self._restore(step, like, expect, whole=True)

    def restore_part(self, step: Which, like: Tree, expect: Metadata | None = None) -> tuple[Tree, Metadata]:
        """Restores some fields of the state. Arguments and errors are those of `restore`.

        Args:
            like: a dictionary by field, such as {"params": params}. No other field is read from the disk.
        """
        return self._restore(step, like, expect, whole=False)

    def metadata(self, step: Which) -> Metadata:
        """Returns the metadata of a step without reading its state. Errors are those of `restore`."""
        number = self._find(step)
        return Metadata.from_json(self._about(number))

    def holds(self, step: Which, field: str) -> bool:
        """Returns True if the checkpoint holds a field of the state, by its path: "train/ema_params"."""
        return any(path.startswith(f"{field}/") for path in self._about(self._find(step))["leaves"])

    def steps(self) -> list[int]:
        """Returns the steps of the complete checkpoints, ascending."""
        self.wait()
        self._manager.reload()
        return sorted(self._manager.all_steps())

    def last(self) -> int | None:
        """Returns the newest step; None if there is none."""
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """Returns the step with the lowest metric, the newest among equals; None if none has a metric."""
        return self._manager.best_step() if self.steps() else None

    def wait(self) -> None:
        """Waits until no checkpoint is being written.

        Raises:
            OSError: the disk is full.
        """
        with self._naming_a_full_disk():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the checkpoint that is being written, and closes the folder."""
        try:
            self.wait()
        finally:
            self._manager.close()

    def _restore(self, step: Which, like: Tree, expect: Metadata | None, *, whole: bool) -> tuple[Tree, Metadata]:
        number = self._find(step)
        name = self._name(number)
        about = self._about(number)
        there = Metadata.from_json(about)
        wanted = flat_tree.flatten(like)
        _raise_if(f"{name} is of another run, with fingerprint {there.fingerprint}", there.differences(expect or there))
        lines = flat_tree.differences(about["leaves"], flat_tree.describe(wanted), whole=whole)
        _raise_if(f"{name} holds another tree", lines)
        targets = flat_tree.nonempty({path: flat_tree.abstract_like(leaf) for path, leaf in wanted.items()})
        arguments = ocp.args.PyTreeRestore(
            targets, restore_args=ocp.checkpoint_utils.construct_restore_args(targets), partial_restore=not whole
        )
        return flat_tree.unflatten(like, self._read(number, state=arguments)["state"]), there

    def _about(self, number: int) -> Any:
        return self._read(number, metadata=ocp.args.JsonRestore())["metadata"]

    def _name(self, number: int) -> str:
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
                f"{self._name(number)} can't be read; remove that folder to go back to one before it. {error}"
            ) from error

    def _check_free_space(self, flat: Mapping[str, flat_tree.Leaf]) -> None:
        self._needed_bytes = int(flat_tree.size_bytes(flat) * SPACE_MARGIN)
        if shutil.disk_usage(self.directory).free < self._needed_bytes:
            raise self._full_disk()

    @contextlib.contextmanager
    def _naming_a_full_disk(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            self._manager.reload()  # Orbax has taken from its list what it was about to remove
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


@dataclass(frozen=True)
class _PreservationPolicy:
    """The policy by which Orbax keeps checkpoints after each save: the newest and the best."""

    last: int
    best: int
    by: str

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Returns True for the newest checkpoints and for the best by the metrics that they were saved with."""
        del context
        steps = sorted(info.step for info in checkpoints)
        ranked = sorted((info.metrics[self.by], -info.step) for info in checkpoints if info.metrics)
        kept = {*steps[-self.last :], *(-negative for _, negative in ranked[: self.best])}
        return [info.step in kept for info in checkpoints]


def _raise_if(what: str, lines: Sequence[str]) -> None:
    if lines:
        raise ValueError(f"{what}. From there -> to here:\n  " + "\n  ".join(lines))


def _is_full_disk(error: BaseException) -> bool:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left on device" in str(error) or "Disk quota exceeded" in str(error)


def _not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname
