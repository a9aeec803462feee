"""A checkpoint of Orbax's v0 format in tests/golden/: every later version has to restore it.

It was written by orbax-checkpoint 0.12.8 and jax 0.10.2: `python -m tests.training.checkpoints.test_golden FOLDER` writes
another one.
"""

import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.training import Checkpoints, DamagedCheckpointError, Evaluation, Metadata, SavedCheckpoints

GOLDEN = Path(__file__).parents[2] / "golden" / "checkpoint_orbax_v0"
METADATA = Metadata("model.depth = 6\nseed = 0\n", "aaaa1111", "t0k3n000", "da7a0000", {"jax": "0.10.2"})
STEP = 30


def state() -> dict:
    """The saved state: dtypes and shapes of a training state, with values that no initialiser gives."""
    return {
        "step": jnp.int32(STEP),
        "key": jax.random.key(7),
        "params": {
            "encoder/kernel": jnp.arange(15, dtype=jnp.float32).reshape(3, 5) / 7,
            "half": jnp.arange(4, dtype=jnp.bfloat16) / 3,
            "empty": jnp.zeros((0, 3)),
        },
    }


def write(folder: Path) -> None:
    """Writes the checkpoint and its evaluation."""
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(STEP, state(), METADATA)
        checkpoints.record(STEP, Evaluation({"wer": 0.25}, is_ranked=True, line="WER 25.00 %"))


@pytest.fixture
def golden(tmp_path) -> Path:
    """A copy of it: a reader of a run may write beside it."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "checkpoints"))


def test_it_is_restored_to_the_last_bit(golden):
    with Checkpoints(golden) as checkpoints:
        assert checkpoints.steps() == [STEP]
        restored, metadata = checkpoints.restore("best", jax.eval_shape(state), METADATA)
    assert metadata == METADATA
    wanted = state()
    assert jax.tree.structure(restored) == jax.tree.structure(wanted)
    assert np.array_equal(jax.random.key_data(restored.pop("key")), jax.random.key_data(wanted.pop("key")))
    for found, value in zip(jax.tree.leaves(restored), jax.tree.leaves(wanted), strict=True):
        assert found.dtype == value.dtype
        np.testing.assert_array_equal(np.asarray(found), np.asarray(value))


def test_a_part_of_it_is_restored(golden):
    params, _ = SavedCheckpoints(golden).restore_part(STEP, {"params": jax.eval_shape(state)["params"]})
    np.testing.assert_array_equal(params["params"]["encoder/kernel"], np.asarray(state()["params"]["encoder/kernel"]))


def test_a_damaged_one_is_noticed(golden):
    for file in (golden / str(STEP) / "state").rglob("d/*"):
        file.write_bytes(bytes(len(file.read_bytes())))
    with pytest.raises(DamagedCheckpointError, match=f"checkpoint {STEP}|{STEP}"):
        SavedCheckpoints(golden).restore(STEP, jax.eval_shape(state))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
