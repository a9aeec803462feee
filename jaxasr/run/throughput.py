"""Measures the speed of a run: audio or tokens a second, padding, waiting for data, FLOPs, and programs compiled."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxasr.cost.chips import Chip
from jaxasr.cost.flops import count
from jaxasr.data import Batches, PlanRow, Shape
from jaxasr.report import Measurements
from jaxasr.run.goodput import NAME as GOODPUT
from jaxasr.run.goodput import Goodput
from jaxasr.scale import CompileCounter

SPEED = "speed.jsonl"
NAME = "the speed"  # its name in messages
STEP_NAME = "one_step"  # of the compiled step, as JAX reports it


class RecompilationError(RuntimeError):
    """An error for a step that was compiled more often than there are shapes: something in it is not static."""


class ThroughputMonitor:
    """A clock that measures the loop between two lines of its own file.

    Clock times differ between equal runs, so they are no metrics: a resumed run has other ones.

    FLOPs are those of the products (cost/flops.py), padding included. `useful_share` is the share of them that is not for
    padding. It is computed as if the FLOPs of a shape were spread evenly over its samples (without audio: its tokens). That
    is too much where attention over the whole utterance dominates, and too little where the decoder dominates and the
    transcripts have less padding than the audio. For batches of lengths down to 0.85 and 0.6 of the longest it is 0.930 and
    0.855, and FLOPs counted at the length of each example give 0.915 and 0.841 for LAS-6-1280.

    MFU is the share of the chips' peak in bfloat16 (cost/chips.py) over the time of the line. That time includes compiling
    and waiting for data, and excludes evaluations and saving.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rate_hz: int | None,
        goodput: Goodput | None = None,
        chip: Chip | None = None,
        chips: int = 1,
        measurements: Measurements | None = None,
    ):
        """Adds lines to the file in `folder`.

        Args:
            folder: the workdir of the run.
            rate_hz: sampling rate of the audio; None: there is no audio, and tokens are counted.
            goodput: takes the stalls and the FLOPs, and writes a line with each of these.
            chip: the chip that the step runs on; None: unknown, and there is no MFU.
            chips: number of these chips.
            measurements: those of the run; the speed is one of them, so its errors are reported and not raised.
        """
        self.measurements = measurements or Measurements()
        self._path = folder / SPEED
        self._rate_hz = rate_hz
        self._goodput = goodput
        self._chip = chip
        self._chips = chips
        self._compiles = CompileCounter()
        self.start_stage()

    def __enter__(self) -> "ThroughputMonitor":
        with self.measurements.optional(NAME):
            self._compiles.__enter__()
        self._start_line()
        return self

    def __exit__(self, *error: object) -> None:
        with self.measurements.optional(NAME):
            self._compiles.__exit__(*error)  # pyright: ignore[reportArgumentType]

    def start_stage(self) -> None:
        """Forgets the shapes and programs of the stage before: the next stage has another step."""
        self._flops_of: dict[Shape, int] = {}
        self._shapes: set[Shape] = set()
        self._compiled_before = self._compiles.count
        self._waited_s = 0.0
        self._start_line()

    def count_flops(self, shape: Shape, step: Callable[..., Any], *arguments: Any) -> None:
        """Counts the FLOPs of a step over a batch of this shape, once a shape. Nothing is computed or compiled.

        Args:
            shape: the shape of the batch.
            step: takes the arguments; if it is jitted, the trace that its first call needs is made here.
            arguments: arrays, or their shapes.
        """
        if shape not in self._flops_of:
            self._flops_of[shape] = 0
            with self.measurements.optional("the count of FLOPs"):
                flops = count(step, *arguments)
                self._flops_of[shape] = flops.of_products
                for note in flops.notes:
                    self.measurements.print_once(f"the FLOPs of a step: {note}")

    def add(self, row: PlanRow, batches: Batches) -> None:
        """Counts a step that was just dispatched.

        Raises:
            RecompilationError: the step was compiled again for a shape.
        """
        self._shapes.add(row.shape)
        with self.measurements.optional(NAME):
            self._count(row, batches)
        compiled = sum(STEP_NAME in name for name in self._compiles.names[self._compiled_before :])
        if compiled > len(self._shapes):
            raise RecompilationError(
                f"the training step was compiled {compiled} times for {len(self._shapes)} shapes; each shape may be "
                "compiled once. An argument changes its type, its weak type or its placement from step to step"
            )

    def _count(self, row: PlanRow, batches: Batches) -> None:
        """Adds the samples, the FLOPs and the waiting time of a step."""
        self._useful += row.padding.real
        self._padded += row.padding.padded
        self._steps += 1
        flops = self._flops_of.get(row.shape, 0)
        useful_flops = flops * (1.0 - row.padding.share)
        self._flops += flops
        self._useful_flops += useful_flops
        stalled_s = batches.waited_s - self._waited_s
        self._waited_s = batches.waited_s
        self._stalled_s += stalled_s
        if self._goodput is not None:
            self._goodput.record_stall(stalled_s)
            self._goodput.end_step(row.shape)
            audio_s = row.padding.real / self._rate_hz if self._rate_hz else 0.0
            self._goodput.record_work(flops, useful_flops, audio_s)

    def exclude_time(self, seconds: float) -> None:
        """Excludes time that was spent on something else than steps: an evaluation, a checkpoint."""
        self._started_s += seconds

    def write(self, step: int) -> dict[str, str]:
        """Adds a line and starts the next one.

        Args:
            step: steps done.

        Returns:
            The values that the progress bar shows, by name.
        """
        shown: dict[str, str] = {}
        with self.measurements.optional(NAME):
            shown = self._write(step)
        if self._goodput is not None:
            self._goodput.write(step)
        self._start_line()
        return shown

    def _write(self, step: int) -> dict[str, str]:
        """Writes the line and returns the values for the progress bar."""
        elapsed_s = max(time.perf_counter() - self._started_s, 1e-9)
        amount = "audio_s_per_s" if self._rate_hz else "tokens_per_s"
        mfu = None
        if self._chip and self._flops:
            with self.measurements.optional("the MFU"):
                mfu = self._chip.mfu(self._flops / elapsed_s, chips=self._chips)
        line: dict[str, Any] = {
            "step": step,
            "steps_per_s": self._steps / elapsed_s,
            amount: self._useful / (self._rate_hz or 1) / elapsed_s,
            "padding_share": 1.0 - self._useful / max(self._padded, 1),
            "data_stall_share": min(self._stalled_s / elapsed_s, 1.0),
            "programs_compiled": self._compiles.count - self._compiled_before,
            "flops_per_s": self._flops / elapsed_s,
            "useful_share": self._useful_flops / self._flops if self._flops else None,
            "mfu": mfu,
        }
        rounded = {name: value if value is None else round(value, 4) for name, value in line.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rounded) + "\n")
        shown = {} if mfu is None else {"MFU": f"{mfu:.1%}"}
        return shown | {
            "audio" if self._rate_hz else "tokens": f"{line[amount]:,.0f}{' s' if self._rate_hz else ''}/s",
            "padding": f"{line['padding_share']:.0%}",
            "stalled": f"{line['data_stall_share']:.0%}",
        }

    def summary(self) -> str:
        """Returns a line about the whole run: the shares of its wall time, and its MFU. Empty without goodput."""
        summary = ""
        if self._goodput is not None:
            with self.measurements.optional(GOODPUT):
                summary = self._goodput.totals().summary(self._chip, self._chips)
        return summary

    def _start_line(self) -> None:
        self._started_s = time.perf_counter()
        self._steps = self._useful = self._padded = self._flops = 0
        self._useful_flops = 0.0
        self._stalled_s = 0.0
