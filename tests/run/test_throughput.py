"""The pace of a run, and the guard against a step that compiles again and again."""

import json
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from jaxasr.cost.chips import H100
from jaxasr.experiment.goodput_totals import read_goodput
from jaxasr.run.goodput import Goodput
from jaxasr.run.throughput import RecompilationError, ThroughputMonitor
from tests import tiny_experiments as tiny


@pytest.fixture
def opened(trained_run):
    return tiny.experiment().train_data.open(trained_run.data_dir)


def test_a_line_says_what_was_done_since_the_line_before(opened, tmp_path):
    with opened.batches(0, stop_step=3) as batches, ThroughputMonitor(tmp_path, rate_hz=16_000) as pace:
        rows = []
        for _, row, _ in batches:
            pace.add(row, batches)
            rows.append(row)
        pace.exclude_time(-1.0)  # a second that nobody has to wait for
        shown = pace.write(3)
        time.sleep(0.05)
        pace.exclude_time(0.05)
        pace.write(4)
    first, second = (json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines())
    assert (first["step"], second["step"]) == (3, 4)
    assert first["padding_share"] == pytest.approx(rows[0].padding.share, abs=1e-4)
    assert 0 < first["steps_per_s"] < 3.0
    useful_s = sum(row.padding.real for row in rows) / 16_000
    assert first["audio_s_per_s"] == pytest.approx(first["steps_per_s"] / 3 * useful_s, rel=1e-2)
    assert 0.0 <= first["data_stall_share"] <= 1.0
    assert second["steps_per_s"] == 0.0
    assert set(shown) == {"audio", "padding", "stalled"}


def test_flops_are_counted_once_a_shape_and_set_against_the_chips(opened, tmp_path):
    traced = []

    @jax.jit
    def step(x):
        traced.append(x.shape)
        return x @ x

    chip = replace(H100, name="mine", kinds=("cpu",), flops_bf16=1e6)
    with (
        Goodput(tmp_path) as goodput,
        opened.batches(0, stop_step=4) as batches,
        ThroughputMonitor(tmp_path, rate_hz=16_000, goodput=goodput, chip=chip, chips=2) as pace,
        goodput.record("step"),
    ):
        for _, row, _ in batches:
            pace.count_flops(row.shape, step, jnp.ones((10, 10)))
            step(jnp.ones((10, 10)))
            pace.add(row, batches)
        shown = pace.write(4)
    (line,) = (json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines())
    assert line["flops_per_s"] == pytest.approx(2_000 * line["steps_per_s"], rel=1e-3)
    assert line["mfu"] == pytest.approx(line["flops_per_s"] / 2e6, abs=1e-4)
    assert line["useful_share"] == pytest.approx(1 - line["padding_share"], abs=2e-4)  # there is one shape
    assert shown["MFU"].endswith("%")
    assert len(traced) == 1  # the count and the calls share it
    spent = read_goodput(tmp_path)[0]
    assert spent.flops == 4 * 2_000
    assert spent.useful_flops == pytest.approx(8_000 * line["useful_share"], rel=1e-3)
    assert "MFU of the steps" in spent.summary(chip, 2)
    assert spent.summary() == str(spent)


def test_a_run_says_what_it_computed_and_where_its_time_went(trained_run):
    spent = read_goodput(trained_run.workdir)[-1]
    assert (spent.attempt, spent.step) == (1, 160)
    for kind in ("step", "compile", "evaluation", "checkpoint", "other"):
        assert spent.seconds[kind] > 0.0, kind
    assert spent.seconds["restore"] == spent.seconds["lost"] == 0.0
    speed = [json.loads(line) for line in (trained_run.workdir / "speed.jsonl").read_text().splitlines()]
    for line in speed:  # there is one shape
        assert 160 * line["flops_per_s"] / line["steps_per_s"] == pytest.approx(spent.flops, rel=1e-2)
    assert 0.0 < spent.useful_flops < spent.flops
    assert "of wall time: goodput " in (trained_run.workdir / "page.html").read_text()


def test_without_a_known_chip_there_is_no_mfu(opened, tmp_path):
    with opened.batches(0, stop_step=1) as batches, ThroughputMonitor(tmp_path, rate_hz=16_000) as pace:
        _, row, _ = next(batches)
        pace.count_flops(row.shape, lambda x: x @ x, jnp.ones((10, 10)))
        pace.add(row, batches)
        assert "MFU" not in pace.write(1)
        pace.write(2)
    first, second = (json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines())
    assert first["mfu"] is None
    assert first["flops_per_s"] > 0.0 == second["flops_per_s"]
    assert second["useful_share"] is None


def test_a_step_that_is_compiled_twice_for_one_shape_is_refused(opened, tmp_path):
    @jax.jit
    def one_step(x):
        return x + 1

    with opened.batches(0, stop_step=2) as batches, ThroughputMonitor(tmp_path, rate_hz=16_000) as pace:
        (_, row, _), _ = batches
        one_step(jnp.zeros(3))
        pace.add(row, batches)
        one_step(jnp.ones(3))
        jax.jit(lambda x: x * 2)(jnp.zeros(5))  # something else may be compiled
        pace.add(row, batches)
        one_step(jnp.zeros(3, jnp.int32))
        with pytest.raises(RecompilationError, match=r"compiled 2 times for 1 shapes.*weak type"):
            pace.add(row, batches)
