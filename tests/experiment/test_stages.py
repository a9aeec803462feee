"""A run that begins with smaller models."""

import shutil
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import training, tree
from jaxasr.experiment.restore import trained_variables
from jaxasr.experiment.stages import Stage, init_next_stage
from jaxasr.experiment.workdir import Workdir
from jaxasr.training import read_metrics
from jaxasr.training.optimizers import own_average
from tests import tiny_experiments as tiny
from tests.run.test_loop import run_attempt, same_state
from tests.trained_run import saved_state

GROWS = Stage(4, ("model.encoder.time_reduction=(2,)", "objective.ctc_weight=0.3"))


@pytest.fixture(scope="module")
def growing():
    """One layer for four steps, then two; with dropout and an average."""
    calm = tiny.experiment()
    model = calm.model.clone(encoder=calm.model.encoder.clone(time_reduction=(2, 1), dropout=0.2))
    every = dict.fromkeys(("eval_every", "save_every", "log_every"), 4)
    return replace(calm, model=model, pretraining=(GROWS,), steps=8, **every)


def test_a_stage_is_the_experiment_with_its_changes(growing):
    smaller, own = growing.stages
    assert own is growing
    assert smaller.steps == 4
    assert smaller.model.encoder.time_reduction == (2,)
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
        (
            lambda: Stage(4, ("optimizer.accumulate_steps=3",)),
            "ends at 4; .* a multiple of optimizer.accumulate_steps=3",
        ),
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


RAMP = training.RampHoldDecay(100, 200, 300, peak=1.0)


def state_of(optimizer, number, **shapes):
    """Returns a state before the first step, with one number in each parameter."""
    params = {name: jnp.full(shape, float(number)) for name, shape in shapes.items()}
    return training.new_state({"params": params}, optimizer.build(), jax.random.key(0), keeps_average=True)


def stepped(state, optimizer, steps):
    """Returns the state after so many batches of the same gradient, and the last updates."""
    update = jax.jit(optimizer.build().update)
    updates = {}
    gradients = jax.tree.map(jnp.ones_like, state.params)
    for _ in range(steps):
        updates, kept = update(gradients, state.optimizer, state.params, weight=jnp.ones(()))
        state = replace(state, optimizer=kept)
    return state, updates


def same_leaves(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_what_has_the_same_place_and_shape_is_inherited():
    before = state_of(training.Sgd(RAMP), 1, kept=(3, 2), wider=2, gone=1)
    fresh = state_of(training.Sgd(RAMP), 0, kept=(3, 2), wider=4, new=1)
    state, new = init_next_stage(fresh, before, training.Sgd(RAMP))
    assert sorted(new) == ["new", "wider"]
    for params in (state.params, state.ema_params):
        np.testing.assert_array_equal(params["kept"], np.ones((3, 2)))
        np.testing.assert_array_equal(params["wider"], np.zeros(4))


def test_an_average_begins_at_the_parameters_of_a_stage_without_one():
    free = training.ScheduleFree(RAMP)
    before = replace(state_of(training.Sgd(RAMP), 1, kept=(3, 2)), ema_params=None)
    state, _ = init_next_stage(state_of(free, 0, kept=(3, 2), new=1), before, free)
    np.testing.assert_array_equal(state.ema_params["kept"], np.ones((3, 2)))
    assert init_next_stage(before, state, training.Sgd(RAMP))[0].ema_params is None


def test_the_optimizer_goes_on_where_all_that_it_keeps_has_its_place():
    before = training.Adam(RAMP, on_plateau=training.Newbob(0.5))
    after = training.Adam(RAMP, b1=0.8, on_plateau=None)
    trained, _ = stepped(state_of(before, 1, a=(2, 2)), before, 7)
    state, new = init_next_stage(state_of(after, 0, a=(2, 2)), trained, after)
    assert new == []
    moments_and_place: Any = trained.optimizer
    same_leaves(state.optimizer, moments_and_place[:2])


def test_a_new_layer_is_given_no_more_than_the_rate():
    """Adam's second moment of it is nearly nothing at first: its bias is corrected as in a run of its own."""
    adam = training.Adam(RAMP)
    trained, _ = stepped(state_of(adam, 1, a=(2, 2)), adam, 140)
    state, new = init_next_stage(state_of(adam, 0, a=(2, 2), b=(2, 2)), trained, adam)
    assert new == ["b"]
    for _ in range(20):
        state, updates = stepped(state, adam, 1)
        for name in "ab":
            np.testing.assert_allclose(updates[name], -np.ones((2, 2)), rtol=1e-3)  # the peak, once


@pytest.mark.parametrize(
    "changes",
    [{"weight_decay": 1e-9}, {"clip_norm": 1e9}, {"l2": 1e-9}, {"accumulate_steps": 2}],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("way", ["off", "on"])
def test_a_change_of_the_optimizer_leaves_the_place_in_the_schedule(changes, way):
    """Half of the ramp is behind it; the rate does not begin again, and neither moment is taken for another's."""
    before = training.Adam(RAMP)
    after = training.Adam(RAMP, **changes)
    if way == "off":
        before, after = after, before
    trained, _ = stepped(state_of(before, 1, a=(2, 2)), before, 50 * before.accumulate_steps)
    state, _ = init_next_stage(state_of(after, 0, a=(2, 2)), trained, after)
    _, updates = stepped(state, after, after.accumulate_steps)
    np.testing.assert_allclose(updates["a"], np.full((2, 2), -0.51), rtol=1e-3)


def test_the_iterate_of_a_schedule_free_optimizer_begins_at_the_parameters():
    free = training.ScheduleFree(RAMP)
    trained, _ = stepped(state_of(free, 1, a=(2, 2)), free, 3)
    state, _ = init_next_stage(state_of(free, 0, a=(2, 2), b=(2, 2)), trained, free)
    same_leaves(own_average(state.optimizer, state.params), state.params)


@pytest.fixture(scope="module")
def whole(growing, trained_run, tmp_path_factory):
    """Returns the folder of `growing`, trained without a break, and what was seen of it."""
    folder = tmp_path_factory.mktemp("growing") / "whole"
    attempt, interrupted = run_attempt(growing, folder, trained_run.data_dir)
    assert interrupted is None
    return folder, attempt


def test_a_run_grows(growing, whole):
    folder, attempt = whole
    told = [line for line in attempt.printed if "until step 4" in line]
    assert ["time_reduction=(2,), objective.ctc_weight=0.3" in line for line in told] == [True]
    assert attempt.compiled.count("jit(one_step)") == 2
    assert [step for step, *_ in attempt.examples] == list(range(growing.steps))
    assert [row["step"] for row in read_metrics(folder / "metrics.jsonl") if "validation/wer" in row] == [4, 8]
    smaller, own = (saved_state(folder, step) for step in (4, 8))
    layers = [
        {path.split("/")[3] for path in state if path.startswith("train/params/encoder")} for state in (smaller, own)
    ]
    assert layers == [{"lstm_0"}, {"lstm_0", "lstm_1"}]
    for which in ("best", "mean"):
        variables, metadata = trained_variables(growing, Workdir(folder), which)
        assert "lstm_1" in variables["params"]["encoder"]
        assert metadata.fingerprint == tree.fingerprint(growing)


def test_a_run_that_ends_between_its_stages_goes_on(growing, whole, trained_run, tmp_path):
    folder, _ = whole
    between = tmp_path / "between"
    shutil.copytree(folder, between, ignore=shutil.ignore_patterns("8"))
    again, _ = run_attempt(growing, between, trained_run.data_dir)
    assert "resumes after step 4" in again.printed
    same_state(folder, between, growing.steps)


@pytest.mark.slow
def test_a_run_that_grows_may_be_killed_in_any_stage(growing, whole, trained_run, tmp_path):
    """In the first stage and in the second one: the state and the metrics are those of an unbroken run."""
    folder, _ = whole
    broken = tmp_path / "broken"
    run_attempt(growing, broken, trained_run.data_dir, stop_at=1)
    with pytest.raises(ValueError, match="still in its pretraining holds a smaller model"):
        trained_variables(growing, Workdir(broken), "last")
    run_attempt(growing, broken, trained_run.data_dir, stop_at=5)
    with pytest.raises(FileNotFoundError, match="no checkpoint best"):
        trained_variables(growing, Workdir(broken))
    run_attempt(growing, broken, trained_run.data_dir)
    same_state(folder, broken, growing.steps)
    assert (folder / "metrics.jsonl").read_bytes() == (broken / "metrics.jsonl").read_bytes()
