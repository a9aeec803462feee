"""How fast a run is: audio or tokens a second, share of padding, share of time spent waiting for data, programs compiled."""

import json
import time
from pathlib import Path

from jaxasr.data import Batches, PlanRow, Shape
from jaxasr.scale import CompileCounter

SPEED = "speed.jsonl"
STEP_NAME = "one_step"  # of the compiled step, as JAX reports it


def steps_done(folder: Path) -> int:
    """Where a run was when it last wrote a line; 0 if it has not. A line that is still being written does not count."""
    path = folder / SPEED
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    whole = [line for line in lines[-2:] if line.endswith(b"\n")]
    return json.loads(whole[-1])["step"] if whole else 0


class Recompiled(RuntimeError):  # noqa: N818 - what happened
    """The step was compiled more often than there are shapes: something in it is not static."""


class Pace:
    """Measures the loop between two lines of its own file: clock times are no metrics, a resumed run has others."""

    def __init__(self, folder: Path, *, rate_hz: int | None):
        """Lines are added to `folder`; they begin where this process does.

        Args:
            rate_hz: of the audio; None: there is none, and tokens are counted.
        """
        self._path, self._rate_hz = folder / SPEED, rate_hz
        self._compiles = CompileCounter()
        self._shapes: set[Shape] = set()
        self._waited_s = 0.0
        self._begin()

    def __enter__(self) -> "Pace":
        self._compiles.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._compiles.__exit__(*error)  # pyright: ignore[reportArgumentType]

    def add(self, row: PlanRow, batches: Batches) -> None:
        """Counts a step that was just dispatched.

        Raises:
            Recompiled: its shape had been compiled before.
        """
        self._shapes.add(row.shape)
        self._useful += row.padding.useful
        self._room += row.padding.capacity
        self._steps += 1
        self._stalled_s += batches.waited_s - self._waited_s
        self._waited_s = batches.waited_s
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
        line = {
            "step": step,
            "steps_per_s": self._steps / spent_s,
            amount: self._useful / (self._rate_hz or 1) / spent_s,
            "padding_share": 1.0 - self._useful / max(self._room, 1),
            "data_stall_share": min(self._stalled_s / spent_s, 1.0),
            "programs_compiled": self._compiles.count,
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({k: round(v, 4) for k, v in line.items()}) + "\n")
        self._begin()
        return {
            "audio" if self._rate_hz else "tokens": f"{line[amount]:,.0f}{' s' if self._rate_hz else ''}/s",
            "padding": f"{line['padding_share']:.0%}",
            "stalled": f"{line['data_stall_share']:.0%}",
        }

    def _begin(self) -> None:
        self._began = time.perf_counter()
        self._steps = self._useful = self._room = 0
        self._stalled_s = 0.0
