"""Trackers: the programs that show the metrics of runs, behind one protocol. None of them needs a network.

TensorBoard reads event files in the workdir. W&B and trackio are extras; their files lie in the workdir too, and `wandb sync`
or `trackio sync` uploads them. WANDB_MODE=online and the settings of trackio change that.
"""

import functools
import hashlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from jaxasr.training.tracking.tensorboard import EventFile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TENSORBOARD = "tensorboard"


@runtime_checkable
class Tracker(Protocol):
    """A receiver of the metrics of one run."""

    def numbers(self, step: int, row: Mapping[str, int | float]) -> None:
        """Adds the metrics of a step, by name."""
        ...

    def figure(self, step: int, name: str, figure: "Figure") -> None:
        """Adds a picture; the figure is left open."""
        ...

    def close(self) -> None:
        """Writes what is left, and ends."""
        ...


class TensorBoard:
    """The tracker that writes event files of TensorBoard."""

    def __init__(self, folder: Path, resume_step: int):
        self._file = EventFile(folder / TENSORBOARD, purge_step=resume_step + 1 if resume_step else 0)

    def numbers(self, step: int, row: Mapping[str, int | float]) -> None:
        """Adds a point to the curve of each metric."""
        for name, value in row.items():
            self._file.number(step, name, value)

    def figure(self, step: int, name: str, figure: "Figure") -> None:
        """Adds a picture; the figure is left open."""
        self._file.figure(step, name, figure)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Wandb:
    """The tracker that writes runs of W&B, offline unless WANDB_MODE says otherwise."""

    def __init__(self, folder: Path, resume_step: int):
        del resume_step
        module: Any = importlib.import_module("wandb")
        self._module = module
        self._run = module.init(
            project=_project(folder),
            name=folder.resolve().name,
            id=_run_id(folder),
            resume="allow",
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            config=_config(folder),
        )

    def numbers(self, step: int, row: Mapping[str, int | float]) -> None:
        """Logs the metrics of a step."""
        self._run.log(dict(row), step=step)

    def figure(self, step: int, name: str, figure: "Figure") -> None:
        """Logs a picture; the figure is left open."""
        self._run.log({name: self._module.Image(figure)}, step=step)

    def close(self) -> None:
        """Ends the run of W&B."""
        self._run.finish()


class Trackio:
    """The tracker that writes a database of trackio, in the workdir unless TRACKIO_DIR names another folder."""

    def __init__(self, folder: Path, resume_step: int):
        del resume_step
        os.environ.setdefault("TRACKIO_DIR", str((folder / "trackio").resolve()))  # is read when trackio is imported
        module: Any = importlib.import_module("trackio")
        self._module = module
        self._run = module.init(
            project=_project(folder), name=folder.resolve().name, resume="allow", config=_config(folder), embed=False
        )

    def numbers(self, step: int, row: Mapping[str, int | float]) -> None:
        """Logs the metrics of a step."""
        self._run.log(dict(row), step=step)

    def figure(self, step: int, name: str, figure: "Figure") -> None:
        """Leaves the picture out: trackio takes no figures of Matplotlib."""

    def close(self) -> None:
        """Ends the run of trackio."""
        self._run.finish()


EXTRAS: Mapping[str, Callable[[Path, int], Tracker]] = {"wandb": Wandb, "trackio": Trackio}


def check_trackers(names: tuple[str, ...]) -> None:
    """Checks, before a run begins, that there are trackers of these names and that their packages are installed.

    Raises:
        ValueError: there is no such tracker.
        ModuleNotFoundError: its package is not installed; the message names the extra.
    """
    for name in names:
        if name not in EXTRAS:
            raise ValueError(
                f"there is no tracker {name!r}; there are {', '.join(EXTRAS)}, and TensorBoard, which is always on"
            )
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(
                f"the tracker {name} is a package that is not installed: pip install 'jaxasr[{name}]', or leave it out"
            )


def trackers_of(folder: Path, names: tuple[str, ...], *, resume_step: int) -> dict[str, Callable[[], Tracker]]:
    """Returns what opens each tracker of a run, by its name in messages.

    Args:
        folder: the workdir of the run.
        names: of EXTRAS; TensorBoard is always there.
        resume_step: steps that are done.
    """
    classes: dict[str, Callable[[Path, int], Tracker]] = {"TensorBoard": TensorBoard}
    classes |= {f"the tracker {name}": EXTRAS[name] for name in names}
    return {name: functools.partial(made, folder, resume_step) for name, made in classes.items()}


def _project(folder: Path) -> str:
    return folder.resolve().parent.name or "jaxasr"


def _run_id(folder: Path) -> str:
    """Returns an id that is the same for all attempts of a run."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]


def _config(folder: Path) -> dict[str, str]:
    """Returns the fields of the run's experiment by path, as text."""
    file = folder / "experiment.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return dict(line.split(" = ", 1) for line in lines if " = " in line)
