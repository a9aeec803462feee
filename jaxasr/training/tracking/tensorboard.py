"""Event files of TensorBoard: numbers and pictures."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLUSH_S = 30.0  # the longest time until an entry is on the disk


class EventFile:
    """An event file that is written by the calling thread.

    tensorboardX's SummaryWriter has a thread and a queue of ten. When the thread has died, of a full disk for instance, the
    eleventh number waits for ever, and the run with it. Here the caller gets the error.
    """

    def __init__(self, folder: Path, *, purge_step: int):
        """Creates a new file in the folder.

        Args:
            purge_step: TensorBoard drops entries of earlier files from this step on.
        """
        from tensorboardX.event_file_writer import EventsWriter  # here: it imports PyTorch where that is installed
        from tensorboardX.proto import event_pb2

        self._messages: Any = event_pb2  # its names are made at run time
        folder.mkdir(parents=True, exist_ok=True)
        # two attempts within a second would write to one file
        self._events = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        self._flushed_s = time.monotonic()
        log = self._messages.SessionLog
        self._add(purge_step, session_log=log(status=log.START))

    def number(self, step: int, name: str, value: int | float) -> None:
        """Adds a point of a curve."""
        from tensorboardX import summary

        self._add(step, summary=summary.scalar(name, value))

    def figure(self, step: int, name: str, figure: "Figure") -> None:
        """Adds a picture; the figure is left open."""
        from tensorboardX import summary, utils

        self._add(step, summary=summary.image(name, utils.figure_to_image(figure, close=False), dataformats="CHW"))

    def close(self) -> None:
        """Closes the file."""
        self._events.close()

    def _add(self, step: int, **content: object) -> None:
        self._events.write_event(self._messages.Event(wall_time=time.time(), step=step, **content))
        if time.monotonic() - self._flushed_s > FLUSH_S:
            self._flushed_s = time.monotonic()
            self._events.flush()
