"""A grid over the numbers of a search, on the tiny run: every point decoded, the best kept, and taken by an evaluation."""

import json
import shutil
from dataclasses import replace

import pytest

from jaxasr.__main__ import main
from jaxasr.evaluation import tune
from jaxasr.evaluation.searches import read_tuned
from jaxasr.evaluation.tune import GridPoint, table, tuning_metric
from jaxasr.experiment import RuntimeConfig
from jaxasr.score import independent_units
from tests import tiny_experiments as tiny
from tests.evaluation.test_result_fields import evaluation as evaluation_of
from tests.trained_run import TrainedRun


@pytest.fixture(name="workdir")
def workdir_fixture(trained_run: TrainedRun, tmp_path):
    """The trained_run's run, to write into."""
    return shutil.copytree(trained_run.workdir, tmp_path / "run")


def test_every_point_is_decoded_and_the_best_is_taken_by_an_evaluation(trained_run, workdir, capsys):
    grid = ["--split", "train", "--grid", "length_norm=0,1", "ctc_weight=0.0,0.3"]
    assert main(trained_run.arguments("tune-decoding", "selection_metric=cer", *grid, workdir=workdir)) == 0
    said = capsys.readouterr().out
    assert said.count("length_norm=1 ctc_weight=0.3") >= 1
    kept = json.loads((workdir / "tuned.json").read_text())
    assert kept["split"] == "train"
    assert [len(point["search"]) for point in kept["points"]] == [2] * 4
    assert kept["metric"] == "cer"
    assert kept["cer"] == min(point["cer"] for point in kept["points"])
    assert (workdir / "pictures/tuned.png").stat().st_size > 1_000

    assert kept["of"][0] == ". = Beam"
    assert read_tuned(workdir / "tuned.json").search == kept["points"][0]["search"]


def test_what_the_split_cannot_tell_from_the_best_is_marked():
    words = (4,) * 60
    units = independent_units([""] * 60)
    best = GridPoint({"a": "1"}, (0,) * 60, words, 0.0, units)
    near = GridPoint({"a": "2"}, (1, *(0,) * 59), words, 0.0, units)
    far = GridPoint({"a": "3"}, (2,) * 60, words, 0.25, units)
    lines = table([best, near, far])[1:]
    assert [line[0] for line in lines] == ["=", "=", " "]
    assert "50.00%  [50.00%, 50.00%]  25.00%  a=3" in lines[2]


def test_what_the_best_point_heard_is_kept(trained_run, workdir):
    """Limits of one token and of as many as it likes: the last point of the grid is the worst."""
    grid = {"max_tokens.per_position": ("1.5", "0.01"), "max_tokens.extra": ("1",)}
    points = tune(tiny.experiment(), workdir, RuntimeConfig(data_dir=trained_run.data_dir), grid, split="train")
    assert points[0].changes["max_tokens.per_position"] == "1.5"
    assert points[0].rate < points[1].rate
    lines = (workdir / "hypotheses.train.tuned.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    assert tuple(each["substitutions"] + each["deletions"] + each["insertions"] for each in kept) == points[0].errors


def test_points_are_ranked_by_the_selection_metric():
    """Two words with one wrong letter each are more word errors and fewer character errors than a missing word.
    The loss does not depend on the search; the mixed error rate, here that of words, takes its place."""
    texts = {"whole": "AB CC DDA", "cut": "AB CD"}  # of AB CD DCA
    best = {}
    for metric in ("wer", "cer", "cer_no_spaces", "mer", "loss"):
        rate = tuning_metric(replace(tiny.experiment(), selection_metric=metric))
        points = [
            GridPoint.of({"a": name}, evaluation_of(["AB CD DCA"], [heard]), rate) for name, heard in texts.items()
        ]
        assert f" {rate.upper()} " in table(points)[0]
        best[metric] = min(points, key=lambda point: point.rate).changes["a"]
    assert best == {"wer": "cut", "cer": "whole", "cer_no_spaces": "whole", "mer": "cut", "loss": "cut"}


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({}, "has no point"),
        ({"length_norm": ()}, "has no point"),
        ({"stop": ("likely",)}, "only numbers are tuned"),
        ({"ctc_wait": ("0.1",)}, "Did you mean 'ctc_weight'"),
        ({"ctc_weight": ("2",)}, "a share from 0 to 1"),
    ],
)
def test_a_bad_grid_is_refused_before_anything_is_decoded(trained_run, tmp_path, grid, message):
    machine = RuntimeConfig(data_dir=trained_run.data_dir)
    with pytest.raises(ValueError, match=message):
        tune(tiny.experiment(), tmp_path / "none", machine, grid, split="train")
    with pytest.raises(KeyError, match="no split dev"):
        tune(tiny.experiment(), tmp_path / "none", machine, grid, split="dev")
