"""A run begins with the parameters of another: those whose path and shape match, named otherwise."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jaxasr import text, tree
from jaxasr.experiment import Workdir, trained_variables
from jaxasr.run.inherit import inherit
from jaxasr.run.initial_state import PretrainedRuns, initial_state
from jaxasr.training.checkpoints import flat_tree
from tests import tiny_experiments as tiny


@pytest.fixture(scope="module")
def data(trained_run):
    return tiny.experiment().train_data.open(trained_run.data_dir)


def arrays(collection):
    return {path: np.asarray(leaf) for path, leaf in flat_tree.flatten(collection).items()}


def test_the_same_model_begins_with_all_averaged_parameters(trained_run, data):
    experiment = dataclasses.replace(tiny.experiment(), seed=7)
    printed = []
    runs = PretrainedRuns(init_from=trained_run.workdir, print_fn=printed.append)
    state = runs.load_into(initial_state(experiment, data), experiment)
    trained = arrays(trained_variables(tiny.experiment(), Workdir(trained_run.workdir))[0]["params"])
    for found in (state.params, state.ema_params):
        jax.tree.map(np.testing.assert_array_equal, arrays(found), trained)
    assert printed == [f"{len(trained)} arrays from checkpoint 160 of {trained_run.workdir}"]
    assert int(state.step) == 0


def test_the_runs_that_it_builds_on_are_recorded(trained_run, data, tmp_path):
    record = tmp_path / "pretrained.json"
    state = initial_state(tiny.experiment(), data)
    PretrainedRuns(record=record).load_into(state, tiny.experiment())
    assert not record.exists()
    PretrainedRuns(init_from=trained_run.workdir, print_fn=[].append, record=record).load_into(state, tiny.experiment())
    assert json.loads(record.read_text()) == {"init_from": f"checkpoint 160 of {trained_run.workdir}"}


def test_what_does_not_match_stays_as_it_is_and_is_named(trained_run, data):
    """The decoder is wider and has no CTC head beside it; the encoder is taken."""
    changes = {"model.decoder.embedding": 9, "model.ctc": None, "objective.ctc_weight": 0.0}
    experiment = tree.override(tiny.experiment(), changes)
    fresh = initial_state(experiment, data)
    state, inheritance = inherit(fresh, experiment, trained_run.workdir)
    before, after = arrays(fresh.params), arrays(state.params)
    trained = arrays(trained_variables(tiny.experiment(), Workdir(trained_run.workdir))[0]["params"])
    embedding = next(path for path in before if "embed" in path)
    np.testing.assert_array_equal(after[embedding], before[embedding])
    encoder = [path for path in after if path.startswith("encoder/")]
    assert encoder
    for path in encoder:
        np.testing.assert_array_equal(after[path], trained[path])
    _, *lines = inheritance.lines()
    assert any(f"params/{embedding} (shape (6, 8) there, (6, 9) here)" in line for line in lines)
    assert any(line.startswith("2 not in this model: params/ctc/") for line in lines)


def test_tokens_of_another_vocabulary_are_not_taken(trained_run, data):
    other = tiny.experiment()
    tokens = text.Characters(" ABCE")
    speech = (*other.train_data.transforms[:1], dataclasses.replace(other.train_data.transforms[1], tokenizer=tokens))
    replaced = {
        f"{name}.transforms": speech
        for name in ("train_data", "validation.data", "evals.train.data", "evals.test.data")
    }
    experiment = tree.override(other, replaced)
    _, inheritance = inherit(initial_state(experiment, data), experiment, trained_run.workdir)
    others = [path for path in inheritance.initial if path.endswith("(another vocabulary)")]
    assert len(others) == len(inheritance.initial) > 0
    assert all("embed" in path or "readout" in path for path in others)


def test_no_run_is_answered(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="is this a run's workdir"):
        inherit(initial_state(tiny.experiment(), data), tiny.experiment(), tmp_path / "none")
