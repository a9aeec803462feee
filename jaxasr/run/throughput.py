"""How fast a run is: audio or tokens a second, share of padding, of time spent waiting for data, FLOPs, programs compiled."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxasr.cost.chips import Chip
from jaxasr.cost.flops import count
from jaxasr.data import Batches, PlanRow, Shape
from jaxasr.run.goodput import Goodput
from jaxasr.scale import CompileCounter

SPEED = "speed.jsonl"
STEP_NAME = "one_step"  # of the compiled step, as JAX reports it


class Recompiled(RuntimeError):  # noqa: N818 - what happened
    """The step was compiled more often than there are shapes: something in it is not static."""


class Pace:
    """Measures the loop between two lines of its own file: clock times are no metrics, a resumed run has others.

    FLOPs are those of the products (cost/flops.py), padding included. `useful_share` is the share of them that is not for
    padding, if those of a shape are spread evenly over its samples (without audio: tokens): too much where attention
    over the whole utterance is dear, too little where the decoder is and transcripts fill their room better than
    the audio does. MFU is the share of the chips' peak in bfloat16 (cost/chips.py), of the time in the line: compiling
    and waiting for data are in it, evaluations and saving are not.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rate_hz: int | None,
        goodput: Goodput | None = None,
        chip: Chip | None = None,
        chips: int = 1,
    ):
        """Lines are added to `folder`; they begin where this process does.

        Args:
            rate_hz: of the audio; None: there is none, and tokens are counted.
            goodput: is told of stalls and of the work, and writes a line with each of these.
            chip: what the step runs on; None: unknown, and so is the MFU.
            chips: how many of them.
        """
        self._path, self._rate_hz = folder / SPEED, rate_hz
        self._goodput, self._chip, self._chips = goodput, chip, chips
        self._flops_of: dict[Shape, int] = {}
        self._compiles = CompileCounter()
        self._shapes: set[Shape] = set()
        self._waited_s = 0.0
        self._begin()

    def __enter__(self) -> "Pace":
        self._compiles.__enter__()
        self._begin()
        return self

    def __exit__(self, *error: object) -> None:
        self._compiles.__exit__(*error)  # pyright: ignore[reportArgumentType]

    def know(self, shape: Shape, step: Callable[..., Any], *arguments: Any) -> None:
        """Counts the FLOPs of a step over a batch of this shape, once a shape. Nothing is computed or compiled.

        Args:
            step: what the arguments go into; if it is jitted, the trace that its first call needs is made here.
        """
        if shape not in self._flops_of:
            self._flops_of[shape] = count(step, *arguments).of_products

    def add(self, row: PlanRow, batches: Batches) -> None:
        """Counts a step that was just dispatched.

        Raises:
            Recompiled: its shape had been compiled before.
        """
        self._shapes.add(row.shape)
        self._useful += row.padding.useful
        self._room += row.padding.capacity
        self._steps += 1
        flops = self._flops_of.get(row.shape, 0)
        self._flops += flops
        self._useful_flops += flops * (1.0 - row.padding.share)
        stalled_s, self._waited_s = batches.waited_s - self._waited_s, batches.waited_s
        self._stalled_s += stalled_s
        if self._goodput is not None:
            self._goodput.stalled(stalled_s)
            self._goodput.worked(flops, flops * (1.0 - row.padding.share))
        compiled = sum(STEP_NAME in name for name in self._compiles.names)
        if compiled > len(self._shapes):
            raise Recompiled(
                f"the training step was compiled {compiled} times for {len(self._shapes)} shapes; each shape may be "
                "compiled once. An argument changes its type, its weak type or its placement from step to step"
            )

    def leave_out(self, seconds: float) -> None:
        """Takes out time that was spent on something else: an evaluation, a checkpoint."""
        self._began += seconds

    def write(self, step: int) -> dict[str, str]:
        """Adds a line and begins anew; returns what to show beside the progress bar."""
        spent_s = max(time.perf_counter() - self._began, 1e-9)
        amount = "audio_s_per_s" if self._rate_hz else "tokens_per_s"
        mfu = self._chip.mfu(self._flops / spent_s, chips=self._chips) if self._chip and self._flops else None
        line: dict[str, Any] = {
            "step": step,
            "steps_per_s": self._steps / spent_s,
            amount: self._useful / (self._rate_hz or 1) / spent_s,
            "padding_share": 1.0 - self._useful / max(self._room, 1),
            "data_stall_share": min(self._stalled_s / spent_s, 1.0),
            "programs_compiled": self._compiles.count,
            "flops_per_s": self._flops / spent_s,
            "useful_share": self._useful_flops / self._flops if self._flops else None,
            "mfu": mfu,
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({k: v if v is None else round(v, 4) for k, v in line.items()}) + "\n")
        if self._goodput is not None:
            self._goodput.write(step)
        self._begin()
        shown = {} if mfu is None else {"MFU": f"{mfu:.1%}"}
        return shown | {
            "audio" if self._rate_hz else "tokens": f"{line[amount]:,.0f}{' s' if self._rate_hz else ''}/s",
            "padding": f"{line['padding_share']:.0%}",
            "stalled": f"{line['data_stall_share']:.0%}",
        }

    def told(self) -> str:
        """The run as a whole, in a line: where its time went, and its MFU. Empty without goodput."""
        return "" if self._goodput is None else self._goodput.so_far().told(self._chip, self._chips)

    def _begin(self) -> None:
        self._began = time.perf_counter()
        self._steps = self._useful = self._room = self._flops = 0
        self._useful_flops = 0.0
        self._stalled_s = 0.0
