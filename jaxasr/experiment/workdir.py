"""The folder of one run: its files by name, held by one process at a time, and the experiment it belongs to.

A reader (evaluate, transcribe, plot) only needs the paths; a run that writes holds the lock. The system lets the lock
go when the process ends, however it ends, so a killed run leaves nothing to clean up.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from jaxasr import tree
from jaxasr.files import write_whole
from jaxasr.scale import is_first
from jaxasr.training.writer import METRICS, TENSORBOARD

_HELD: set[Path] = set()  # workdirs that this process holds


@dataclass(frozen=True)
class Workdir:
    """Where a run keeps what."""

    path: Path
    shared: Path | None = None  # the run's own folder, where `path` is another

    @classmethod
    @contextlib.contextmanager
    def for_this_process(cls, folder: Path) -> Iterator["Workdir"]:
        """The run's folder in the first of its processes; in the others one that is thrown away in the end.

        So one process alone writes what is written once a run. The checkpoints are those of all.
        """
        if is_first():
            yield cls(folder)
            return
        with tempfile.TemporaryDirectory(prefix="jaxasr-") as scratch:
            yield cls(Path(scratch), folder)

    @property
    def experiment(self) -> Path:
        """The experiment as text."""
        return self.path / "experiment.txt"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return (self.shared or self.path) / "checkpoints"

    @property
    def metrics(self) -> Path:
        """A line of JSON for each report of the run."""
        return self.path / METRICS

    @property
    def tensorboard(self) -> Path:
        """The folder to start TensorBoard on."""
        return self.path / TENSORBOARD

    @property
    def pictures(self) -> Path:
        """The folder of curves and alignments."""
        return self.path / "pictures"

    @property
    def confidence(self) -> Path:
        """The map from log posteriors of words to confidences, if it was fitted."""
        return self.path / "confidence.json"

    @property
    def page(self) -> Path:
        """The run at a glance, in HTML."""
        return self.path / "page.html"

    @property
    def lock(self) -> Path:
        """Held by the run that writes here; it says which."""
        return self.path / ".lock"

    @contextlib.contextmanager
    def held(self) -> Iterator["Workdir"]:
        """Makes the folder and holds it for this process until the context is left, or the process ends.

        Raises:
            ValueError: another run holds it, in this process or another; the error says which.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        place = self.path.resolve()
        if place in _HELD:  # the system's lock is the process's: opening and closing the file again would let it go
            raise ValueError(f"the workdir {self.path} is in use by another run of this process, {os.getpid()}")
        with self.lock.open("a+", encoding="utf-8") as file:
            self._lock(file)
            _HELD.add(place)
            try:
                yield self
            finally:
                _HELD.remove(place)
                file.truncate(0)

    def is_free(self) -> bool:
        """Whether no run holds it now. Asking makes the folder."""
        try:
            with self.held():
                return True
        except ValueError:
            return False

    def saved_steps(self) -> int:
        """The step of the newest whole checkpoint, from which the run would go on; 0 if there is none."""
        there = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        return max((int(each.name) for each in there if each.name.isdecimal()), default=0)

    def keep_experiment(self, experiment: object) -> None:
        """Writes down the experiment, as `tree.render` gives it, or finds that it is the one that is there.

        An option that is newer than what is there, at its default, makes no difference. One that came to no checkpoint
        and no line of metrics (it was refused, it did not fit) gives way.

        Raises:
            ValueError: the folder belongs to another experiment; every line that differs is listed.
        """
        text = tree.render(experiment)
        made_nothing = not self.saved_steps() and not (self.metrics.exists() and self.metrics.stat().st_size)
        if made_nothing or not self.experiment.exists():
            write_whole(self.experiment, text)
            return
        there = self.experiment.read_text(encoding="utf-8")
        lines = tree.difference(there, text, new_defaults=tree.defaults(experiment))
        if lines:
            raise ValueError(
                f"the workdir {self.path} belongs to another experiment. From there -> to this one:\n  "
                + "\n  ".join(lines)
                + "\nResume with the experiment that is there, or give another --workdir."
            )

    def _lock(self, file: TextIO) -> None:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise ValueError(
                f"the workdir {self.path} is in use by another run{_holder(self.lock)}; wait for it, end it, or give "
                "another --workdir"
            ) from error
        since = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}) + "\n")
        file.flush()


def _holder(lock: Path) -> str:
    """Who wrote itself into the lock; nothing if it has not done so yet."""
    try:
        said = json.loads(lock.read_text(encoding="utf-8"))
        return f" (process {said['pid']} on {said['host']}, since {said['since']})"
    except (ValueError, KeyError, TypeError):
        return ""
