"""Tests of the benchmark of an experiment: settings, rows, table, and one real measurement."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxasr import data, tree
from jaxasr.bench import bench_experiment, bench_plan, benchmark
from jaxasr.bench import report as bench_report
from jaxasr.bench import scaling as bench_scaling
from jaxasr.bench import workloads as bench_workloads
from jaxasr.bench.loader import LoaderThroughput
from jaxasr.bench.processes import CallTime
from jaxasr.bench.report import BenchSetting, Measurement, measurement_row, speedup, table
from jaxasr.bench.scaling import BenchPlan
from jaxasr.bench.workloads import commonest_bucket, evaluation_workload, time_call, training_workload
from tests import tiny_experiments as tiny
from tests import tiny_lm
from tests.trained_run import TINY, write_tones


@pytest.fixture(scope="module")
def tones(tmp_path_factory) -> Path:
    """Prepares the corpus of tones."""
    base = tmp_path_factory.mktemp("tones")
    write_tones(base / "wavs")
    data.prepare(data.source("manifest", base / "wavs", {"name": "tones"}), base / "data")
    return base / "data"


@pytest.fixture(scope="module")
def work(tones):
    return training_workload(tiny.experiment().train_data.open(tones), 0)


def test_the_work_is_the_fullest_batch_of_the_plan_and_repeats_its_examples(tones, work):
    pipeline = tiny.experiment().train_data.open(tones)
    assert (work.examples, work.shape) == (8, pipeline.shapes[0])
    assert sorted(work.batch.ids_b) == sorted(pipeline._keys)
    seconds = sum(pipeline.sources[0].samples) / 16_000
    assert work.real_amount == pytest.approx(seconds)
    more = work.resized(12)
    less = work.resized(2)
    np.testing.assert_array_equal(more.batch.wave_bn, [*work.batch.wave_bn, *work.batch.wave_bn[:4]])
    assert more.real_amount == pytest.approx(seconds + sum(work.batch.sample_lengths_b[:4]) / 16_000)
    assert (less.examples, less.shape, less.batch.tokens_bu.shape) == (2, work.shape, (2, 8))


def test_an_evaluation_has_a_batch_of_its_own_shapes(tones):
    found = evaluation_workload(tiny.experiment().evals["test"].data.open(tones))
    assert (found.examples, int(found.batch.valid_b.sum())) == (8, 3)


def test_the_busiest_shape_has_most_batches():
    assert commonest_bucket(np.array([2, 0, 2, 1, 2, 0])) == 2


def test_short_calls_are_made_several_times(monkeypatch):
    def at_ten_a_second(call) -> CallTime:
        before = len(calls)
        call()
        return CallTime(0.1 * (len(calls) - before), 0.2 * (len(calls) - before))

    calls = []
    monkeypatch.setattr(bench_workloads, "timed", at_ten_a_second)
    monkeypatch.setattr(bench_workloads, "MIN_MEASURED_S", 0.55)
    took = time_call(lambda: calls.append(1))
    assert (took.wall_s, took.cpu_s) == pytest.approx((0.1, 0.2))
    assert len(calls) == 1 + 1 + 5
    monkeypatch.setattr(bench_workloads, "MIN_MEASURED_S", 0.05)
    time_call(lambda: calls.append(1))
    assert len(calls) == 7 + 2


def measured(work, times: dict[tuple[str, int], list[float]]) -> list[Measurement]:
    """Returns measurements whose CPU time is three times the wall time, times the number of devices."""
    return [
        Measurement(
            BenchSetting("step", *key), work, lambda: CallTime(0, 0), [CallTime(s, 3 * s * key[1]) for s in seconds]
        )
        for key, seconds in times.items()
    ]


def test_several_devices_are_held_against_one_round_by_round(work, monkeypatch):
    monkeypatch.setattr(bench_report, "ideal_speedup", lambda devices: devices)
    times = {("jit", 1): [1.0, 2.0, 8.0], ("mesh", 1): [2.0, 2.0, 2.0], ("mesh", 4): [0.5, 0.5, 2.0]}
    one, _, four = every = measured(work, times)
    assert speedup(four, every) == 4.0  # of 2, 4, 4
    assert speedup(four, every[1:]) == 4.0  # without jit one device is the same way's: of 4, 4, 1
    assert speedup(four, [four]) is None
    row = measurement_row(four, every)
    assert (row["s"], row["efficiency"], row["ideal_speedup"], row["examples"]) == (0.5, 1.0, 4, 8)
    assert row["audio_s_per_s"] == pytest.approx(work.real_amount / 0.5, abs=1e-3)
    assert measurement_row(one, every)["speedup"] == 1.0
    assert (row["cpu_s"], row["cpu_ratio"]) == (6.0, 1.0)  # 6 of 3, 6 of 6, 24 of 24
    assert measurement_row(four, [four])["efficiency"] is None
    other = measured(work.resized(16), {("jit", 1): [1.0] * 3})
    assert speedup(four, [four, *other]) is None  # another batch
    *_, last = table(every).splitlines()
    assert [cell.strip() for cell in last.split("|")[2:-1]] == [
        "8 x 1.00 s",
        "mesh",
        "4",
        "0.5",
        "7.2",
        "4.00",
        "100%",
        "6",
        "1.00",
    ]


def test_virtual_devices_share_the_cores_of_one():
    assert bench_report.ideal_speedup(8) == 1


def test_sizes_can_be_shared_out_by_all_numbers_of_devices(work):
    sizes = [size.examples for size in BenchPlan(devices=(1, 4, 6), batch_scale=(1.0, 2.0, 0.1)).scaled(work)]
    assert sizes == [12, 24, 12]
    assert [size.examples for size in BenchPlan(devices=(1,), batch_scale=(0.25, 1.1)).scaled(work)] == [2, 9]


def fake(monkeypatch, experiment):
    """Replaces the timers by constants: two steps a second on each device, one search a second."""
    monkeypatch.setattr(bench_scaling, "build_step", lambda experiment, data: (lambda state, batch, across: None, None))
    monkeypatch.setattr(bench_scaling, "evaluation_fn", lambda experiment, state, lms: None)
    monkeypatch.setattr(bench_scaling, "evaluated_variables", lambda experiment, state: None)
    monkeypatch.setattr(
        bench_scaling, "step_timer", lambda step, state, work: lambda: CallTime(0.5 / step.mesh.size, 0.5)
    )
    monkeypatch.setattr(
        bench_scaling, "search_timer", lambda call, placement, variables, work: lambda: CallTime(1.0, 1.0)
    )
    return experiment


def test_rows_picture_and_table_tell_what_was_measured(tones, tmp_path, monkeypatch):
    experiment = fake(monkeypatch, tiny.experiment())
    plan = bench_plan(
        {"devices": (1, 2), "parallelism": ("jit", "mesh", "fsdp"), "benchmarks": ("step", "evaluation"), "rounds": 2}
    )
    lines = list(bench_experiment(experiment, tones, tmp_path / "out", source=TINY, plan=plan))
    rows = [json.loads(line) for line in (tmp_path / "out" / "bench.jsonl").read_text().splitlines()]
    found = [(row["part"], row["parallelism"], row["devices"], row["s"], row["speedup"]) for row in rows]
    steps = [("jit", 1, 0.5, 1.0), ("mesh", 1, 0.5, 1.0), ("fsdp", 1, 0.5, 1.0), ("mesh", 2, 0.25, 2.0)]
    steps += [("fsdp", 2, 0.25, 2.0)]
    assert found == [
        *(("step", *step) for step in steps),
        ("evaluation", "jit", 1, 1.0, 1.0),
        ("evaluation", "mesh", 2, 1, 1),
    ]
    assert {row["experiment"] for row in rows} == {tree.fingerprint(experiment)}
    assert {"commit", "jax", "hardware", "rounds_s", "samples", "tokens"} < rows[0].keys()
    assert (tmp_path / "out" / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert "medians of 2" in lines[0]
    assert lines[1].count("\n") == 1 + len(rows)
    assert "bench.jsonl" in lines[2]


def test_what_does_not_fit_is_named_and_the_rest_is_measured(tones, tmp_path, monkeypatch):
    def step_timer(step, state, work):
        def measure() -> CallTime:
            if work.examples > 8:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes.\nA long story.")
            return CallTime(0.5, 0.5)

        return measure

    experiment = fake(monkeypatch, tiny.experiment())
    monkeypatch.setattr(bench_scaling, "step_timer", step_timer)
    plan = bench_plan(
        {"devices": (1,), "parallelism": ("jit",), "benchmarks": ("step",), "batch_scale": (1.0, 2.0), "rounds": 2}
    )
    lines = list(bench_experiment(experiment, tones, tmp_path / "out", source=TINY, plan=plan))
    why = "RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes."
    assert f"left out: step, jit on 1, 16 x 1.00 s: {why}" in lines
    refused, row = [json.loads(line) for line in (tmp_path / "out" / "bench.jsonl").read_text().splitlines()]
    assert (refused["examples"], refused["refused"], "s" in refused) == (16, why, False)
    assert (row["examples"], row["s"]) == (8, 0.5)


def test_without_devices_one_and_all_are_measured(tones, tmp_path, monkeypatch):
    plan = BenchPlan(benchmarks=("evaluation",), rounds=1)
    list(bench_experiment(fake(monkeypatch, tiny.experiment()), tones, tmp_path, source=TINY, plan=plan))
    rows = [json.loads(line) for line in (tmp_path / "bench.jsonl").read_text().splitlines()]
    assert [row["devices"] for row in rows] == [1, jax.device_count()]


def test_the_loader_is_measured_beside_soundfile(tones, tmp_path, monkeypatch):
    speed = LoaderThroughput(0, 2.0, 4.0, 0.5, 1.0, 2.0, 0.1)
    monkeypatch.setattr(bench_scaling, "bench_loader", lambda opened, workers: speed)
    plan = BenchPlan(benchmarks=("loader",))
    lines = list(bench_experiment(fake(monkeypatch, tiny.experiment()), tones, tmp_path, source=TINY, plan=plan))
    (row,) = [json.loads(line) for line in (tmp_path / "bench.jsonl").read_text().splitlines()]
    assert (row["part"], row["loader"], row["ratio"]) == ("loader", 2.0, 0.5)
    assert lines[1:] == speed.lines()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parallelism": ("jit", "tmap")}, "--parallelism jit,tmap: one or more of jit, pmap, mesh, fsdp are needed"),
        ({"benchmarks": ("steps",)}, "--benchmarks steps: one or more of step, evaluation, loader, loop are needed"),
        ({"devices": (1, 0)}, "--devices 1,0: numbers above 0"),
        ({"batch_scale": (-1.0,)}, "--batch-scale -1.0: numbers above 0"),
        ({"rounds": 0}, "--rounds 0: numbers above 0"),
        ({"threads": (1,)}, "bench EXPERIMENT has no option --threads"),
    ],
)
def test_what_can_not_be_measured_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        bench_plan(options)


def test_more_devices_than_there_are_are_refused(tones, tmp_path):
    with pytest.raises(ValueError, match=r"--devices 64: this process has 4 x .*; ask for as many at most"):
        list(bench_experiment(tiny.experiment(), tones, tmp_path, source=TINY, plan=BenchPlan(devices=(64,))))


def test_a_part_of_the_system_takes_no_options_of_an_experiment():
    with pytest.raises(ValueError, match="bench lstm has no option --batch-scale"):
        benchmark("lstm", batch_scale=(1.0,), devices=None)


@pytest.mark.slow
def test_a_language_model_is_measured_for_real(tmp_path):
    (tmp_path / "lines.txt").write_text("AB CD\nD\nABBA\n")
    lines = data.source("text", tmp_path / "lines.txt", {"name": "lines", "dev": "0"})
    data.prepare(lines, tmp_path / "data")
    plan = BenchPlan(devices=(2,), parallelism=("mesh",), rounds=2)
    experiment = tiny_lm.experiment()
    lines = list(bench_experiment(experiment, tmp_path / "data", tmp_path, source=TINY, plan=plan, profile=True))
    *rows, loop = [json.loads(line) for line in (tmp_path / "bench.jsonl").read_text().splitlines()]
    assert [(row["part"], row["devices"]) for row in rows] == [("step", 2), ("evaluation", 2)]
    assert min(row["s"] for row in rows) > 0
    assert (loop["part"], len(loop["loop_s"]), len(loop["bare_cpu_s"])) == ("loop", 2, 2)
    assert min(*loop["loop_s"], *loop["bare_s"]) > 0
    assert any(line.startswith("the loop's own time: ") for line in lines)
    assert {row["ideal_speedup"] for row in rows} == {1}
    assert "loader: batches of transcripts alone, of which nothing is decoded" in lines
    assert len(list((tmp_path / "profile").glob("*/plugins/profile/*/perfetto_trace.json.gz"))) == 2
