"""Accounts for the wall time of a run over all its attempts: the share that is training that counts.

Every second belongs to one kind. `step` is productive: the loop dispatches steps or waits for the devices. All other kinds
are overhead: `compile` (tracing and lowering included, of any program), `restore` of a checkpoint, `stall` for data, `wait`
for another process of the job (an estimate, peer_wait.py), `evaluation`, `checkpoint` (saving, as far as the loop waits for
it), `lost` (steps after the last checkpoint of an attempt that was killed or ended by an error) and `other` (start, reading,
end). Two times are not counted: the time between two attempts, and the time of a killed attempt after its last line.

Clock times differ between equal runs. So they are no metrics and no part of a checkpoint, and have a file of their own.

Source: the shares of ML productivity goodput as Google Cloud defines them, without availability (the time between two
attempts).
"""

import contextlib
import json
import time
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from types import TracebackType

from jaxasr.experiment.goodput_totals import FILE, GoodputTotals, Kind, read_goodput
from jaxasr.report import Measurements
from jaxasr.run.peer_wait import PeerWait
from jaxasr.scale import CompileCounter

NAME = "the goodput"  # its name in messages


class Goodput:
    """A clock that counts the seconds of one attempt and adds them to those of the attempts before.

    >>> with Goodput(folder) as goodput:
    ...     with goodput.record("restore"):
    ...         state = restore()
    ...     goodput.resume_at(done)
    ...     with goodput.record("step"):
    ...         ...
    """

    def __init__(
        self,
        folder: Path,
        *,
        processes: int = 1,
        started_s: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        measurements: Measurements | None = None,
    ):
        """Reads the lines that earlier attempts wrote in `folder`.

        Args:
            folder: the workdir of the run.
            processes: number of the processes of the job.
            started_s: the clock's reading when this attempt started; None: now.
            clock: seconds, from any origin.
            measurements: those of the run; goodput is one of them, so its errors are reported and not raised.
        """
        self._path = folder / FILE
        self._clock = clock
        self._measurements = measurements or Measurements()
        self._before: list[GoodputTotals] = []
        with self._optional():
            _drop_unfinished(self._path)
            self._before = read_goodput(folder, self._measurements.print_once)
        last = self._before[-1] if self._before else GoodputTotals()
        self._attempt = last.attempt + 1
        self._counts = True
        self._step = last.step
        self._seconds = dict(last.seconds)
        self._flops = last.flops
        self._useful_flops = last.useful_flops
        self._audio_s = last.audio_s
        self._devices = 1
        self._saved = last  # at the newest checkpoint
        self._peer_wait = PeerWait(processes)
        self._step_start_s = last.seconds["step"]  # productive time when the step before ended
        self._compiles = CompileCounter()
        self._compiled_s = 0.0
        self._kind: Kind = "other"
        self._since = clock() if started_s is None else started_s

    def __enter__(self) -> "Goodput":
        with self._optional():
            self._compiles.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._counts:
            with self._optional():
                self._close(error is not None)
        if self._counts:
            self.write(self._step)
        with self._optional():
            self._compiles.__exit__(kind, error, trace)

    @contextlib.contextmanager
    def record(self, kind: Kind) -> Iterator[None]:
        """Counts the time of the block as this kind, except compiling, stalls and blocks of other kinds inside."""
        outer = self._kind
        self._switch_to(kind)
        try:
            yield
        finally:
            self._switch_to(outer)

    def resume_at(self, step: int) -> None:
        """Notes that the run resumes after so many steps: later steps of earlier attempts are lost."""
        if step < self._step:
            self._lose(next((totals for totals in reversed(self._before) if totals.step <= step), GoodputTotals()))
        self._step = step
        with self._optional():
            self._saved = self.totals()
        self._step_start_s = self._seconds["step"]

    def save_at(self, step: int) -> None:
        """Adds a line to the file, and notes that the next attempt may resume after so many steps."""
        self.write(step)
        with self._optional():
            self._saved = self.totals()

    def cancel(self) -> None:
        """Leaves out this attempt, because nothing was left to do: the file stays as it is."""
        self._counts = False

    def record_stall(self, seconds: float) -> None:
        """Counts a part of the time that has just passed as waiting for data."""
        with self._optional():
            self._count_elapsed()
            self._move(seconds, "stall")

    def end_step(self, shape: Hashable) -> None:
        """Counts what the step that has just ended took longer than others of its shape as waiting for another process.

        Args:
            shape: the shape of the batch.
        """
        with self._optional():
            self._count_elapsed()
            self._move(self._peer_wait.of_step(self._seconds["step"] - self._step_start_s, shape), "wait")
            self._step_start_s = self._seconds["step"]

    def record_work(self, flops: int | float, useful_flops: int | float, audio_s: float) -> None:
        """Counts the work of a step.

        Args:
            flops: of its products, padding included.
            useful_flops: those that were not for padding.
            audio_s: seconds of audio in its batch, without padding.
        """
        self._flops += flops
        self._useful_flops += useful_flops
        self._audio_s = None if self._audio_s is None else self._audio_s + audio_s

    def count_devices(self, devices: int) -> None:
        """Notes how many devices this attempt holds, from its start to its end."""
        self._devices = devices

    def totals(self) -> GoodputTotals:
        """Returns the totals of all attempts."""
        self._count_elapsed()
        return GoodputTotals(
            self._attempt,
            self._step,
            dict(self._seconds),
            self._flops,
            self._useful_flops,
            self._audio_s,
            self._device_s(),
        )

    def _device_s(self) -> float | None:
        """Returns the time of all attempts times their devices; None if that of an earlier one is unknown."""
        before = self._before[-1] if self._before else GoodputTotals()
        own_s = max(sum(self._seconds.values()) - before.total_s, 0.0)
        return None if before.device_s is None else before.device_s + own_s * self._devices

    def write(self, step: int) -> None:
        """Adds a line to the file.

        Args:
            step: steps done.
        """
        self._step = step
        with self._optional(), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.totals().line) + "\n")

    def _optional(self) -> contextlib.AbstractContextManager[None]:
        return self._measurements.optional(NAME)

    def _close(self, by_error: bool) -> None:
        """Counts the waiting in steps that are not classed yet, and after an error the steps that are lost.

        After an error the unfinished step is one of them, and the steps after the newest checkpoint are lost.
        """
        self._count_elapsed()
        waited_s = self._peer_wait.of_rare_shapes()
        if by_error:
            waited_s += self._peer_wait.of_unfinished_step(self._seconds["step"] - self._step_start_s)
        waited_s = min(waited_s, self._seconds["step"])
        self._seconds["step"] -= waited_s
        self._seconds["wait"] += waited_s
        if by_error:
            self._lose(self._saved)
            self._step = self._saved.step

    def _lose(self, reached: GoodputTotals) -> None:
        """Counts the steps after those of `reached` as lost: their time and their FLOPs."""
        lost_s = max(self._seconds["step"] - reached.seconds["step"], 0.0)
        self._seconds["step"] -= lost_s
        self._seconds["lost"] += lost_s
        self._flops = reached.flops
        self._useful_flops = reached.useful_flops
        self._audio_s = reached.audio_s

    def _switch_to(self, kind: Kind) -> None:
        """Counts the time from now on as `kind`."""
        with self._optional():
            self._count_elapsed()
        self._kind = kind

    def _count_elapsed(self) -> None:
        """Adds the time since the last call to the current kind."""
        now = self._clock()
        compiled_s = self._compiles.seconds
        self._seconds[self._kind] += now - self._since
        self._move(compiled_s - self._compiled_s, "compile")
        self._since = now
        self._compiled_s = compiled_s

    def _move(self, seconds: float, to: Kind) -> None:
        """Moves seconds from the current kind to another."""
        seconds = min(seconds, self._seconds[self._kind])
        self._seconds[self._kind] -= seconds
        self._seconds[to] += seconds


def _drop_unfinished(path: Path) -> None:
    """Removes the line that a killed attempt was writing: the next line would stand behind it."""
    raw = path.read_bytes() if path.is_file() else b""
    if raw and not raw.endswith(b"\n"):
        path.write_bytes(raw[: raw.rfind(b"\n") + 1])
