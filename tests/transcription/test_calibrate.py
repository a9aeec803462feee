"""Confidences fitted on one split, judged on the others, and found again by `transcribe`."""

import json
import shutil

import numpy as np
import pytest

from jaxasr.experiment import RuntimeConfig, Workdir
from jaxasr.experiment.restore import trained_variables
from jaxasr.score.confidence import Platt
from jaxasr.transcription import calibrate
from jaxasr.transcription.calibrate import _words
from jaxasr.transcription.decode import compile_decode_fn
from jaxasr.transcription.loading import load_calibration
from tests import tiny_experiments as tiny


@pytest.fixture
def run(trained_run, tmp_path):
    return shutil.copytree(trained_run.workdir, tmp_path / "run")


def test_it_is_written_where_transcribe_finds_it(trained_run, run):
    said: list[str] = []
    (run / "confidence.json").write_text('{"slope": 1.0, "offset": 0.0, "checkpoint": "last"}')
    found = calibrate(
        tiny.experiment(), run, RuntimeConfig(trained_run.data_dir), splits=("test",), print_fn=said.append
    )
    kept = json.loads((run / "confidence.json").read_text())
    assert load_calibration(Workdir(run)) == found == Platt(kept["slope"], kept["offset"])
    assert found.slope >= 0
    assert [line.split(":")[0] for line in said if "kept as" not in line] == ["validation", "test", "no speech"]
    (other,) = run.glob("confidence.*.json")  # of another checkpoint
    assert json.loads(other.read_text())["checkpoint"] == "last"
    assert said[2].endswith(f"it is kept as {other.name}")
    assert list(kept["splits"]) == ["validation", "test"]
    validation = kept["splits"]["validation"]["after"]
    assert (validation["words"], validation["right"]) == (11, 1.0)  # the run has learnt it by heart
    assert validation["area"] is None  # without an error there is nothing to tell apart
    assert sum(words for words, *_ in validation["bins"]) == 11
    assert (run / "pictures" / "confidence.png").stat().st_size > 5_000


def test_a_split_that_is_not_there(trained_run, run):
    with pytest.raises(KeyError, match="no split dev in this experiment; it has train, test"):
        calibrate(tiny.experiment(), run, RuntimeConfig(trained_run.data_dir), splits=("dev",))


def test_a_run_without_a_calibration_gives_posteriors_as_they_are(run):
    assert load_calibration(Workdir(run)) is np.exp


def test_words_are_right_or_wrong_by_the_references(trained_run):
    """The unseen sentences, half learnt: posteriors and flags are one a word of the hypotheses."""
    experiment = tiny.experiment()
    hear = compile_decode_fn(experiment.model, experiment.validation.search)
    variables, _ = trained_variables(experiment, Workdir(trained_run.workdir))
    opened = experiment.evals["test"].data.open(trained_run.data_dir)
    found = _words("test", opened, hear, variables, {}, experiment.tokenizer, workers=0)
    assert found.log_posteriors.shape == found.right.shape
    assert len(found.right) >= 3
    assert np.all(found.log_posteriors <= 1e-5)
