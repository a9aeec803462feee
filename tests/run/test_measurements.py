"""Nothing that only measures ends a run: every kind of measurement fails in one, and it comes to the same model."""

import json
from dataclasses import replace

import pytest
import tensorboardX.event_file_writer

from jaxasr import report
from jaxasr.cost.flops import Flops
from jaxasr.data import Shape
from jaxasr.evaluation import decode_split, evaluate_run
from jaxasr.evaluation.attention_metrics import AttentionCollapseMonitor
from jaxasr.experiment import RuntimeConfig
from jaxasr.run import goodput, loop, throughput, train
from jaxasr.scale import CompileCounter
from jaxasr.score import files
from tests import tiny_experiments as tiny
from tests.trained_run import saved_state

pytestmark = pytest.mark.usefixtures("errors_are_left_out")

FAILING = {  # what is said, and what is broken for it
    "the count of FLOPs": (throughput, "count"),
    "the MFU": (loop, "chip_of"),
    "the speed": (CompileCounter, "__enter__"),
    "the goodput": (goodput.Goodput, "_count_elapsed"),
    "TensorBoard": (tensorboardX.event_file_writer, "EventsWriter"),
    "the summary of the run": (loop, "run_summary"),
    "the attention monitor": (AttentionCollapseMonitor, "warnings"),
    "the picture of the curves": (report.pictures, "curves"),
    "the page of the run": (report, "page"),
    "the picture of an alignment": (decode_split, "draw_alignment"),
    "the text of the errors": (files, "aligned_text"),
    "the page of the errors": (files, "errors_page"),
}


def test_a_run_without_one_measurement_comes_to_the_same_model(trained_run, tmp_path, monkeypatch):
    experiment = replace(tiny.experiment(), steps=4, eval_every=2, save_every=2, log_every=2)
    experiment = replace(experiment, evals={"test": experiment.evals["test"]})
    runtime, said = RuntimeConfig(trained_run.data_dir), {"whole": [], "broken": []}
    for name, lines in said.items():
        for thing, (place, attribute) in FAILING.items() if name == "broken" else ():
            monkeypatch.setattr(place, attribute, fails(thing))
        train(experiment, tmp_path / name, runtime, print_fn=lines.append)
        evaluate_run(experiment, tmp_path / name, runtime, name="same", print_fn=lambda _: None)
    for thing in FAILING:
        (line,) = (line for line in said["broken"] if line.startswith(f"WARNING: {thing} is left out"))
        assert " fails (at test_measurements.py:" in line
    assert not [line for line in said["whole"] if "WARNING" in line]
    whole, broken = (saved_state(tmp_path / name, 4) for name in said)
    assert all((value == broken[path]).all() for path, value in whole.items())
    for name in ("metrics.jsonl", "hypotheses.validation.jsonl", "hypotheses.test.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()
    rows = [json.loads((tmp_path / name / "results.jsonl").read_text()) for name in said]
    assert rows[0]["wer"] == rows[1]["wer"]
    assert not list((tmp_path / "broken").glob("*.html"))


def fails(thing):
    def broken(*_, **__):
        raise RuntimeError(f"{thing} fails")

    return broken


def test_a_full_disk_leaves_out_what_only_measures(tmp_path):
    said = []
    (tmp_path / throughput.SPEED).symlink_to("/dev/full")
    (tmp_path / goodput.FILE).symlink_to("/dev/full")
    measurements = report.Measurements(said.append)
    with goodput.Goodput(tmp_path, measurements=measurements) as counting:
        measured = throughput.ThroughputMonitor(tmp_path, rate_hz=16_000, goodput=counting, measurements=measurements)
        assert [measured.write(step) for step in (1, 2)] == [{}, {}]
    assert [("No space left on device" in line, line.split(" is left out")[0]) for line in said] == [
        (True, "WARNING: the speed"),
        (True, "WARNING: the goodput"),
    ]


def test_what_is_not_counted_is_said_once(tmp_path, monkeypatch):
    monkeypatch.setattr(throughput, "count", lambda *_: Flops(uncounted=("ffi_call cudnn_rnn",)))
    said = []
    measured = throughput.ThroughputMonitor(tmp_path, rate_hz=16_000, measurements=report.Measurements(said.append))
    for samples in (16_000, 32_000):
        measured.count_flops(Shape(samples=samples, tokens=8, examples=4), len)
    assert said == ["the FLOPs of a step: not counted: ffi_call cudnn_rnn"]


def test_a_file_of_goodput_that_is_damaged_does_not_keep_a_run_from_starting(tmp_path):
    (tmp_path / goodput.FILE).write_text("{}\nno JSON\n")
    said = []
    with goodput.Goodput(tmp_path, measurements=report.Measurements(said.append)) as counting:
        assert counting.totals().attempt == 1
    assert [f"line {number} is left out" in line for number, line in enumerate(said, start=1)] == [True, True]
