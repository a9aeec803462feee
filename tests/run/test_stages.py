"""A run that begins with smaller models."""

import shutil
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import tree
from jaxasr.run.restore import trained_variables
from jaxasr.run.stages import Stage, grown
from jaxasr.run.workdir import Workdir
from jaxasr.train import read_metrics
from tests.nn.tiny import compiled_quickly
from tests.run import tiny
from tests.run.river import compile_cache, saved_state
from tests.run.test_loop import live, same_state

GROWS = Stage(4, ("model.encoder.pools=(2,)", "objective.ctc_weight=0.3"))


@pytest.fixture(scope="module")
def growing():
    """One layer for four steps, then two; with dropout and an average."""
    calm = tiny.experiment()
    model = calm.model.clone(encoder=calm.model.encoder.clone(pools=(2, 1), dropout=0.2))
    every = dict.fromkeys(("eval_every", "save_every", "log_every"), 4)
    return replace(calm, model=model, pretraining=(GROWS,), steps=8, **every)


def test_a_stage_is_the_experiment_with_its_changes(growing):
    smaller, own = growing.stages
    assert own is growing
    assert smaller.steps == 4
    assert smaller.model.encoder.pools == (2,)
    assert smaller.objective.ctc_weight == 0.3
    assert tiny.experiment().stages == (tiny.experiment(),)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (lambda: Stage(0, ("objective.label_smoothing=0",)), "until >= 1"),
        (lambda: Stage(4, ()), "changes, such as"),
        (
            lambda: Stage(4, ("train_data.shuffle_seed=3",)),
            "train_data.shuffle_seed; it can change what is below model",
        ),
        (lambda: Stage(4, ("model.encoder.depht=3",)), "a stage of pretraining: .*depht"),
        (lambda: Stage(4, ("model.ctc=None",)), "a stage of pretraining: objective.ctc_weight"),
        (lambda: Stage(3, ("objective.label_smoothing=0",)), "at a multiple of log_every=4"),
        (lambda: Stage(8, ("objective.label_smoothing=0",)), r"end at \[8\] of 8 steps"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_trained(stage, message):
    with pytest.raises(ValueError, match=message):
        replace(tiny.restless(), pretraining=(stage(),))


def test_stages_can_be_changed_from_the_command_line(growing):
    changed = tree.override(
        growing, {"pretraining.0.until": "4", "pretraining.0.changes": "('model.encoder.width=4',)"}
    )
    assert changed.stages[0].model.encoder.width == 4


def test_what_has_the_same_place_and_shape_goes_on():
    before = {"params": {"kept": jnp.ones(3), "wider": jnp.ones(2)}, "count": jnp.int32(7)}
    fresh = {"params": {"kept": jnp.zeros(3), "wider": jnp.zeros(4), "new": jnp.zeros(1)}, "count": jnp.int32(0)}
    state, new = grown(fresh, before)
    assert sorted(new) == ["new", "wider"]
    np.testing.assert_array_equal(state["params"]["kept"], 1.0)
    np.testing.assert_array_equal(state["params"]["wider"], np.zeros(4))
    assert state["count"] == 7


def test_a_run_grows_and_may_be_killed_in_any_stage(growing, river, tmp_path):
    """In the first one, in the second, just between them: the state and the metrics are those of an unbroken run."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with compile_cache(tmp_path), compiled_quickly():
        life, interrupted = live(growing, whole, river.data_dir)
        assert interrupted is None
        assert any("until step 4" in line and "pools=(2,), objective.ctc_weight=0.3" in line for line in life.said)
        assert life.compiled.count("jit(one_step)") == 2
        assert [step for step, *_ in life.examples] == list(range(growing.steps))

        live(growing, broken, river.data_dir, stop_at=1)
        with pytest.raises(ValueError, match="still in its pretraining holds a smaller model"):
            trained_variables(growing, Workdir(broken), "last")
        live(growing, broken, river.data_dir, stop_at=5)
        with pytest.raises(FileNotFoundError, match="no checkpoint best"):
            trained_variables(growing, Workdir(broken))
        live(growing, broken, river.data_dir)
        same_state(whole, broken, growing.steps)
        assert (whole / "metrics.jsonl").read_bytes() == (broken / "metrics.jsonl").read_bytes()

        between = tmp_path / "between"
        shutil.copytree(whole, between, ignore=shutil.ignore_patterns("8"))
        again, _ = live(growing, between, river.data_dir)
        assert "goes on after step 4" in again.said
        same_state(whole, between, growing.steps)

    assert [row["step"] for row in read_metrics(whole / "metrics.jsonl") if "watch/wer" in row] == [4, 8]
    smaller, own = (saved_state(whole, step) for step in (4, 8))
    layers = [
        {path.split("/")[3] for path in each if path.startswith("train/params/encoder")} for each in (smaller, own)
    ]
    assert layers == [{"lstm_0"}, {"lstm_0", "lstm_1"}]
    for which in ("best", "mean"):
        variables, metadata = trained_variables(growing, Workdir(whole), which)
        assert "lstm_1" in variables["params"]["encoder"]
        assert metadata.fingerprint == tree.fingerprint(growing)
