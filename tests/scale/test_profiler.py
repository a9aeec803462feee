"""The trace of some steps: started and stopped once, and never left open."""

from pathlib import Path

import jax
import pytest

from jaxasr.scale.profiler import StepProfiler


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    made: list[str] = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: made.append(f"start {Path(folder).name}"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: made.append("stop"))
    return made


def steps(profiler: StepProfiler, calls: list[str], first: int, last: int) -> None:
    for number in range(first, last):
        profiler.begin_step(number)
        calls.append(f"step {number}")
        profiler.end_step(number + 1)


def test_the_steps_of_the_range_are_traced_and_the_one_in_which_the_last_ends(calls, tmp_path):
    with StepProfiler(tmp_path / "profile", (2, 4)) as profiler:
        steps(profiler, calls, 0, 7)
    wanted = ["step 0", "step 1", "start profile", "step 2", "step 3", "step 4", "stop", "step 5", "step 6"]
    assert calls == wanted


def test_a_run_that_ends_within_the_range_stops_the_trace(calls, tmp_path):
    with StepProfiler(tmp_path / "profile", (2, 9)) as profiler:
        steps(profiler, calls, 0, 4)
    assert calls[-2:] == ["step 3", "stop"]


def test_nothing_is_traced_without_a_range_or_after_it(calls, tmp_path):
    for wanted in (None, (2, 4)):
        with StepProfiler(tmp_path / "profile", wanted) as profiler:
            steps(profiler, calls, 6, 8)
    assert calls == ["step 6", "step 7"] * 2
    assert not (tmp_path / "profile").exists()
