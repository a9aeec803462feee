"""The pace of a run, and the guard against a step that compiles again and again."""

import json
import time

import jax
import jax.numpy as jnp
import pytest

from jaxasr.run.pace import Pace, Recompiled, steps_done
from tests.run import tiny


@pytest.fixture
def opened(river):
    return tiny.experiment().train_data.open(river.data_dir)


def test_a_line_says_what_was_done_since_the_line_before(opened, tmp_path):
    with opened.batches(0, stop_step=3) as batches, Pace(tmp_path, rate_hz=16_000) as pace:
        rows = []
        for _, row, _ in batches:
            pace.add(row, batches)
            rows.append(row)
        pace.leave_out(-1.0)  # a second that nobody has to wait for
        shown = pace.write(3)
        time.sleep(0.05)
        pace.leave_out(0.05)
        pace.write(4)
    first, second = (json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines())
    assert (first["step"], second["step"]) == (3, 4)
    assert first["padding_share"] == pytest.approx(rows[0].padding.share, abs=1e-4)
    assert 0 < first["steps_per_s"] < 3.0
    useful_s = sum(row.padding.useful for row in rows) / 16_000
    assert first["audio_s_per_s"] == pytest.approx(first["steps_per_s"] / 3 * useful_s, rel=1e-2)
    assert 0.0 <= first["data_stall_share"] <= 1.0
    assert second["steps_per_s"] == 0.0
    assert set(shown) == {"audio", "padding", "stalled"}


def test_a_step_that_is_compiled_twice_for_one_shape_is_refused(opened, tmp_path):
    @jax.jit
    def one_step(x):
        return x + 1

    with opened.batches(0, stop_step=2) as batches, Pace(tmp_path, rate_hz=16_000) as pace:
        (_, row, _), _ = batches
        one_step(jnp.zeros(3))
        pace.add(row, batches)
        one_step(jnp.ones(3))
        jax.jit(lambda x: x * 2)(jnp.zeros(5))  # something else may be compiled
        pace.add(row, batches)
        one_step(jnp.zeros(3, jnp.int32))
        with pytest.raises(Recompiled, match=r"compiled 2 times for 1 shapes.*weak type"):
            pace.add(row, batches)


def test_how_far_a_run_is_stands_in_its_last_whole_line(tmp_path):
    assert steps_done(tmp_path) == 0
    path = tmp_path / "speed.jsonl"
    path.write_text('{"step": 20}\n{"step": 40}\n{"st')
    assert steps_done(tmp_path) == 40
    path.write_text('{"st')
    assert steps_done(tmp_path) == 0
