"""The workdir of a run: the paths of its files, its lock, and the experiment that it belongs to.

A reader (evaluate, transcribe, plot) needs the paths only; a run that writes holds the lock. The system releases the lock
when the process ends, however it ends, so a killed run leaves nothing to clean up.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from jaxasr import tree
from jaxasr.experiment.changes import check_changes, describe_changes, record_extension
from jaxasr.files import check_local, write_whole
from jaxasr.scale import is_primary
from jaxasr.training import saved_steps
from jaxasr.training.writer import METRICS

_HELD: set[Path] = set()  # workdirs that this process holds


@dataclass(frozen=True)
class Workdir:
    """The folder of a run, with a path for each of its files."""

    path: Path
    shared: Path | None = None  # the folder of all processes, if `path` is this process's own

    def __post_init__(self):
        check_local(self.path)

    @classmethod
    @contextlib.contextmanager
    def for_this_process(cls, folder: Path) -> Iterator["Workdir"]:
        """Yields the run's folder in its primary process, and a temporary one in the others.

        So one process alone writes the files that exist once a run. All processes share the checkpoints.
        """
        if is_primary():
            yield cls(folder)
            return
        with tempfile.TemporaryDirectory(prefix="jaxasr-") as scratch:
            yield cls(Path(scratch), folder)

    @classmethod
    @contextlib.contextmanager
    def held_for_this_process(cls, folder: Path) -> Iterator["Workdir"]:
        """Yields the folder of `for_this_process`, held until the context is left. Errors are those of `held`."""
        with cls.for_this_process(folder) as workdir, workdir.held():
            yield workdir

    @property
    def root(self) -> Path:
        """The folder of the run, which its processes share."""
        return self.shared or self.path

    @property
    def experiment(self) -> Path:
        """The experiment as text."""
        return self.path / "experiment.txt"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.root / "checkpoints"

    @property
    def metrics(self) -> Path:
        """A line of JSON for each report of the run."""
        return self.path / METRICS

    @property
    def pictures(self) -> Path:
        """The folder of curves and alignments."""
        return self.path / "pictures"

    @property
    def confidence(self) -> Path:
        """The map from log posteriors of words to confidences. It exists if it was fitted."""
        return self.path / "confidence.json"

    @property
    def no_speech(self) -> Path:
        """The map from scores of hypotheses to probabilities of no speech. It exists if it was fitted."""
        return self.path / "no_speech.json"

    @property
    def pretrained(self) -> Path:
        """The runs that this one builds on, by option, in JSON. It exists if there are any."""
        return self.path / "pretrained.json"

    @property
    def extensions(self) -> Path:
        """The extensions of the run, a line of JSON each. It exists if there are any."""
        return self.path / "extensions.jsonl"

    @property
    def page(self) -> Path:
        """The page with curves, alignments and warnings of the run, in HTML."""
        return self.path / "page.html"

    @property
    def lock(self) -> Path:
        """The lock of the run that writes here; the file names its process."""
        return self.path / ".lock"

    @contextlib.contextmanager
    def held(self) -> Iterator["Workdir"]:
        """Creates the folder and locks it for this process until the context is left or the process ends.

        Raises:
            ValueError: another run holds it, in this process or another; the error names it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        place = self.path.resolve()
        if place in _HELD:  # the lock belongs to the process: opening and closing the file again would release it
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
        """Returns True if no run holds the folder now. It creates the folder."""
        try:
            with self.held():
                return True
        except ValueError:
            return False

    def saved_steps(self) -> int:
        """Returns the step of the newest checkpoint, from which the run would resume; 0 if there is none."""
        return max(saved_steps(self.checkpoints), default=0)

    def keep_experiment(
        self, experiment: Any, *, extends: bool = False, print_fn: Callable[[str], None] = print
    ) -> None:
        """Writes the experiment to the folder, as `tree.render` gives it, or checks that it is the one that is there.

        A field that the experiment in the folder lacks is no difference if it has its default. An experiment without a
        checkpoint and a line of metrics (it raised an error, or did not fit into memory) is replaced. Fields that decide no
        number may change.

        Args:
            experiment: the experiment of the run from now on.
            extends: True: its length and its schedule may be others than before.
            print_fn: takes a line for each change.

        Raises:
            ValueError: the folder belongs to another experiment; the message lists every line that differs.
        """
        text = tree.render(experiment)
        made_nothing = not self.saved_steps() and not (self.metrics.exists() and self.metrics.stat().st_size)
        if made_nothing or not self.experiment.exists():
            write_whole(self.experiment, text)
            return
        try:
            there = self.experiment.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self.experiment} is damaged ({error}); bring it back, or give another --workdir"
            ) from error
        lines = tree.difference(there, text, new_defaults=tree.defaults(experiment))
        if lines:
            check_changes(lines, self.path, extends=extends)
            print_fn("\n".join(describe_changes(lines, experiment, self.saved_steps())))
            record_extension(self.extensions, lines, self.saved_steps())
            write_whole(self.experiment, text)

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
    """Returns the process that the lock names; nothing if it has not been written yet."""
    try:
        holder = json.loads(lock.read_text(encoding="utf-8"))
        return f" (process {holder['pid']} on {holder['host']}, since {holder['since']})"
    except (ValueError, KeyError, TypeError):
        return ""
