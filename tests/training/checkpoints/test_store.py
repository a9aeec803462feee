"""Checkpoints: what comes back is what was saved, what doesn't fit is refused by name, what was cut off is not seen."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxasr.training import Checkpoints, Evaluation, Metadata, SavedCheckpoints
from tests.processes import PROCESS_S, read_line

METADATA = Metadata(
    "model.depth = 6\nseed = 0\n", "aaaa1111", "t0k3n000", "da7a0000", {"jax": "0.10"}, usual_s=(0.5, 3.0)
)


class State(NamedTuple):
    """Much like a training state: named and nested, of several dtypes, with a typed key and an empty array."""

    step: jax.Array
    key: jax.Array
    params: dict
    optimizer: optax.OptState
    empty: jax.Array


def new_state(number: float) -> State:
    params = {"a/b": {"kernel": jnp.full((3, 5), number)}, "half": jnp.full(4, number, jnp.bfloat16)}
    optimizer = optax.adam(0.1).init(params)
    return State(jnp.int32(number), jax.random.key(jnp.int32(number)), params, optimizer, jnp.zeros((0, 3)))


def same(a, b):
    """Equal to the last bit, leaf by leaf, in the same tree."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


@pytest.fixture
def checkpoints(tmp_path):
    with Checkpoints(tmp_path / "checkpoints", keep_last=2, keep_best=1, by="dev/wer") as opened:
        yield opened


def test_what_comes_back_is_what_was_saved(checkpoints):
    checkpoints.save(7, new_state(7), METADATA)
    state, metadata = checkpoints.restore(7, new_state(0))
    same(state, new_state(7))
    assert metadata == METADATA
    assert isinstance(state.params["half"], jax.Array)
    abstract = jax.eval_shape(new_state, 0)
    state, _ = checkpoints.restore("last", abstract)
    same(state, new_state(7))
    assert isinstance(state.params["half"], np.ndarray)  # nothing says on which device


def test_a_part_comes_back_alone(checkpoints):
    checkpoints.save(7, new_state(7), METADATA)
    state, _ = checkpoints.restore_part("last", {"params": new_state(0).params})
    same(state, {"params": new_state(7).params})
    with pytest.raises(ValueError, match=r"average: nothing -> float32\[2\]"):
        checkpoints.restore_part("last", {"average": jnp.ones(2)})


def test_what_the_next_step_donates_is_safe(checkpoints):
    grow = jax.jit(lambda tree: jax.tree.map(lambda x: x * 2 + 1, tree), donate_argnums=0)
    state = {"big": jnp.arange(300_000.0), "host": np.arange(5)}
    expected = jax.tree.map(np.array, state)
    host = state["host"]
    checkpoints.save(1, state, METADATA)
    big = state["big"]
    for _ in range(3):
        big = grow(big)
    host[:] = -1
    assert state["big"].is_deleted()
    like = jax.tree.map(np.zeros_like, expected)
    same(checkpoints.restore(1, like)[0], expected)


def test_a_state_over_four_devices_comes_back_there(checkpoints):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    state = {"rows": jax.device_put(np.arange(8.0), sharded), "all": jax.device_put(np.arange(3.0), everywhere)}
    checkpoints.save(1, state, METADATA)
    back, _ = checkpoints.restore(1, jax.tree.map(jnp.zeros_like, state))
    same(back, state)
    assert back["rows"].sharding == sharded
    assert back["all"].sharding == everywhere
    one, _ = checkpoints.restore(1, {"rows": jnp.zeros(8), "all": jnp.zeros(3)})  # 4 devices -> 1
    assert len(one["rows"].devices()) == 1
    np.testing.assert_array_equal(one["rows"], np.arange(8.0))


def test_the_newest_and_for_good_the_best_are_kept(checkpoints):
    state = {"x": jnp.zeros(2)}
    wers = {1: 0.9, 2: 0.3, 3: None, 4: 0.5, 5: float("nan"), 6: 0.7}
    for step, wer in wers.items():
        checkpoints.save(step, state, METADATA)
        if wer is not None:
            checkpoints.record(step, Evaluation({"dev/wer": wer, "dev/loss": 1.0}, is_ranked=True))
    assert checkpoints.steps() == [2, 5, 6]
    assert (checkpoints.last(), checkpoints.best()) == (6, 2)
    checkpoints.save(7, state, METADATA)
    checkpoints.record(7, Evaluation({"dev/wer": 0.3}, is_ranked=True))
    assert (checkpoints.steps(), checkpoints.best()) == ([6, 7], 7)


def test_another_process_sees_the_same_best(checkpoints):
    for step, wer in ((1, 0.2), (2, 0.4), (3, 0.3)):
        checkpoints.save(step, {"x": jnp.full(2, step)}, METADATA)
        checkpoints.record(step, Evaluation({"dev/wer": wer}, is_ranked=True))
    before = sorted(checkpoints.directory.rglob("*"))
    reader = SavedCheckpoints(checkpoints.directory, by="dev/wer")
    assert (reader.steps(), reader.last(), reader.best()) == ([1, 2, 3], 3, 1)
    np.testing.assert_array_equal(reader.restore("best", {"x": np.zeros(2, np.int32)})[0]["x"], [1, 1])
    assert sorted(checkpoints.directory.rglob("*")) == before


def test_the_very_first_and_every_asked_step_is_saved(checkpoints):
    checkpoints.save(1, {"x": jnp.zeros(1)}, METADATA)
    checkpoints.save(2, {"x": jnp.zeros(1)}, METADATA, wait=True)
    assert checkpoints.steps() == [1, 2]
    with pytest.raises(ValueError, match=r"step 2 is in .*checkpoints already"):
        checkpoints.save(2, {"x": jnp.zeros(1)}, METADATA)


def test_another_experiment_vocabulary_or_data_is_refused_line_by_line(checkpoints):
    checkpoints.save(1, {"x": jnp.zeros(1)}, METADATA)
    checkpoints.restore(1, {"x": jnp.zeros(1)}, METADATA)
    checkpoints.restore(1, {"x": jnp.zeros(1)}, replace(METADATA, versions={"jax": "0.12"}))
    other = replace(METADATA, experiment="model.depth = 4\nseed = 0\n", fingerprint="bbbb2222", tokenizer="07he7000")
    with pytest.raises(ValueError, match="fingerprint aaaa1111") as caught:
        checkpoints.restore(1, {"x": jnp.zeros(1)}, other)
    lines = str(caught.value).splitlines()
    assert "  model.depth: 6 -> 4" in lines
    assert not any("seed" in line for line in lines)
    assert "  vocabulary (digest of the tokenizer): t0k3n000 -> 07he7000" in lines
    with pytest.raises(ValueError, match=r"prepared data \(hash\): da7a0000 -> 11111111"):
        checkpoints.restore("last", {"x": jnp.zeros(1)}, replace(METADATA, data="11111111"))


def test_another_tree_is_refused_leaf_by_leaf(checkpoints):
    checkpoints.save(1, {"params": {"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3)}}, METADATA)
    with pytest.raises(ValueError, match="holds another tree") as caught:
        checkpoints.restore(1, {"params": {"kernel": jnp.zeros((2, 4)), "gain": jnp.zeros(3, jnp.int32)}})
    assert str(caught.value).splitlines()[1:] == [
        "  params/bias: float32[3] -> nothing",
        "  params/gain: nothing -> int32[3]",
        "  params/kernel: float32[2, 3] -> float32[2, 4]",
    ]


def test_a_checkpoint_that_is_not_there_names_those_that_are(checkpoints, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint last in .*; there are: none"):
        checkpoints.restore("last", {"x": jnp.zeros(1)})
    checkpoints.save(3, {"x": jnp.zeros(1)}, METADATA)
    for step in (4, "best"):
        with pytest.raises(FileNotFoundError, match=f"no checkpoint {step} in .*; there are: 3"):
            checkpoints.restore(step, {"x": jnp.zeros(1)})
    with pytest.raises(FileNotFoundError, match="no folder"):
        SavedCheckpoints(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="keep_last=0"):
        Checkpoints(tmp_path, keep_last=0)


def test_too_little_space_is_refused_before_a_byte_is_written(checkpoints, monkeypatch):
    checkpoints.save(1, {"x": jnp.ones(1000)}, METADATA)
    checkpoints.wait()
    usage = shutil.disk_usage(checkpoints.directory)._replace(free=4700)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"checkpoint in .*checkpoints needs 4,800 bytes, 4,700 are free") as caught:
        checkpoints.save(2, {"x": jnp.ones(1000)}, METADATA)
    assert caught.value.errno == errno.ENOSPC
    assert checkpoints.steps() == [1]


def fail_in_the_background(patch, checkpoints, error):
    """Lets the thread that Orbax writes in raise `error`, as it does when a write fails after `save` has returned."""

    def fail(*_):
        assert threading.current_thread() is not threading.main_thread()
        raise error

    patch.setattr(checkpoints._writer._checkpointer._handler, "finalize", fail)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("RESOURCE_EXHAUSTED: write: No space left on device"),
    ],
    ids=["python", "tensorstore"],
)
def test_a_disk_that_fills_while_saving_is_named_and_harms_nothing(checkpoints, monkeypatch, error):
    for step in (1, 2):
        checkpoints.save(step, {"x": jnp.full(10, step)}, METADATA, wait=True)
    with monkeypatch.context() as patch:
        fail_in_the_background(patch, checkpoints, error)
        checkpoints.save(3, {"x": jnp.full(10, 3)}, METADATA)
        with pytest.raises(OSError, match=r"disk is full: .*checkpoints needs 48 bytes, .* are free") as caught:
            checkpoints.wait()
    assert caught.value.errno == errno.ENOSPC
    assert set(checkpoints.steps()) >= {1, 2}
    np.testing.assert_array_equal(checkpoints.restore(2, {"x": jnp.zeros(10, jnp.int32)})[0]["x"], np.full(10, 2))


def test_another_error_while_saving_stays_what_it_is(checkpoints, monkeypatch):
    with monkeypatch.context() as patch:
        fail_in_the_background(patch, checkpoints, ValueError("the moon is full"))
        checkpoints.save(1, {"x": jnp.ones(1)}, METADATA)
        with pytest.raises(ValueError, match="moon"):
            checkpoints.save(2, {"x": jnp.ones(1)}, METADATA)


def test_orbax_is_quiet(tmp_path, caplog):
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, {"x": jnp.ones(1)}, METADATA)
    SavedCheckpoints(tmp_path / "c").restore(1, {"x": jnp.ones(1)})
    assert [record for record in caplog.records if "orbax" in record.pathname] == []


WRITES_FOR_EVER = """
import sys, pathlib, numpy as np
from jaxasr.training import Checkpoints, Evaluation, Metadata
checkpoints = Checkpoints(pathlib.Path(sys.argv[1]), keep_last=2, keep_best=1)
step = checkpoints.last() or 0
while True:
    step += 1
    state = {name: np.full((100, 1000), step) for name in "abcde"}
    checkpoints.save(step, state, Metadata("", "", "", "", {}))
    if step % 2:
        checkpoints.record(step, Evaluation({"wer": 1.0 / step if step % 3 else 1.0}, is_ranked=True))
    print(step, flush=True)
"""


@pytest.mark.slow
def test_kill_9_at_any_moment_leaves_the_last_complete_one_readable(tmp_path, rng):
    """Three lives of a process that saves without pause; each goes on where the one before was killed."""
    like = {name: np.zeros((100, 1000), np.int64) for name in "abcde"}
    survived = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES_FOR_EVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        for _ in range(int(rng.integers(3, 9))):
            begun = int(read_line(process))
        time.sleep(float(rng.uniform(0.0, 0.1)))
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate(timeout=PROCESS_S)
        begun = max([begun, *map(int, said.split())])
        reader = SavedCheckpoints(tmp_path)
        for which in ("last", "best"):
            state, _ = reader.restore(which, like)
            assert len({int(number) for leaf in state.values() for number in np.unique(leaf)}) == 1
        last = reader.last()
        assert last is not None
        assert begun - 1 <= last <= begun + 1  # a save that has begun has waited for the one before
        assert last > survived
        survived = last
