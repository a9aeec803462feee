"""A dry run tries every shape and an evaluation, foretells what the run takes, and leaves no file."""

import importlib
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from jaxasr import data
from jaxasr.__main__ import main
from jaxasr.evaluation.trial import EvalTrial
from jaxasr.experiment import RuntimeConfig, Stage
from jaxasr.run import dry_run
from jaxasr.run.dry_run import ShapeTrial, StageTrial
from tests import tiny_experiments as tiny
from tests import tiny_lm


def test_the_command_tries_every_shape_and_writes_nothing(trained_run, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = trained_run.arguments("train", "--dry-run", workdir=tmp_path / "run")
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "shape 1 of 1, 8 examples of 1.00 s and 8 tokens: 100% of the batches\n  compiled in " in printed
    assert re.search(r"the run takes about \d+:\d\d:\d\d on these devices: 160 steps \d", printed)
    assert re.search(r"2 evaluations .* memory: at most \d+\.\d\d GB of this process", printed.replace("\n", " "))
    assert list(tmp_path.iterdir()) == []


def test_shapes_without_a_batch_and_stages_are_tried(trained_run, tmp_path: Path):
    """The second shape is longer than any utterance: its batches are blank, and its share is 0."""
    calm = tiny.experiment()
    shapes = data.Buckets(seconds=(1.0, 1.5), tokens=8, seconds_per_batch=8.0, examples_multiple=4)
    experiment = replace(
        calm,
        train_data=replace(calm.train_data, shapes=shapes),
        pretraining=(Stage(until=40, changes=("objective.ctc_weight=0.3",)),),
    )
    first, last = dry_run(experiment, RuntimeConfig(trained_run.data_dir), print_fn=str)
    assert [[shape.share for shape in stage.shapes] for stage in (first, last)] == [[1.0, 0.0], [1.0, 0.0]]
    assert (first.steps, last.steps, first.evaluations, last.evaluations) == (40, 120, 1, 2)
    assert all(shape.step_s > 0.0 for stage in (first, last) for shape in stage.shapes)


def test_a_language_model_is_tried(lm_run):
    printed: list[str] = []
    (stage,) = dry_run(tiny_lm.experiment(), RuntimeConfig(lm_run.data_dir), print_fn=printed.append)
    assert (stage.steps, stage.evaluations, len(stage.shapes)) == (60, 3, 2)
    assert any(re.match(r"shape 2 of 2, \d+ examples of \d+ tokens: ", line) for line in printed)


def test_a_loss_that_is_not_finite_is_named_with_its_shape(trained_run, monkeypatch):
    module = importlib.import_module("jaxasr.run.dry_run")  # the package has the function of this name
    monkeypatch.setattr(module, "_try_shape", lambda _, state, number: (state, [1.0, 0.5], math.nan))
    with pytest.raises(FloatingPointError, match=r"the loss of shape 1 of 1, 8 examples .* lower the learning rate"):
        dry_run(tiny.experiment(), RuntimeConfig(trained_run.data_dir), print_fn=str)


def test_times_are_means_over_the_batches_of_an_epoch():
    shapes = (ShapeTrial(0.75, 2.0, 0.1), ShapeTrial(0.25, 3.0, 0.3))
    evaluation = EvalTrial(compile_s=1.0, batch_s=0.5, shapes=2, longest_batches=3.0)
    stage = StageTrial(100, 2, shapes, evaluation)
    assert stage.step_s == pytest.approx(0.15)
    assert stage.compile_s == 7.0
    assert evaluation.each_s == 1.5


def test_without_a_folder_both_ways_are_named(trained_run, capsys):
    arguments = [word for word in trained_run.arguments("train") if word not in ("--workdir", str(trained_run.workdir))]
    assert main(arguments) == 1
    assert "give --workdir, or --dry-run to see what it will take" in capsys.readouterr().err
