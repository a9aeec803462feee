"""Damaged checkpoints: a restore raises an error that names the leaf or file, or returns what was saved; nothing else."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.training import Checkpoints, DamagedCheckpointError, Evaluation, Metadata, SavedCheckpoints
from jaxasr.training.checkpoints import flat_tree

pytestmark = pytest.mark.filterwarnings(  # of the reads that are still under way when the first one has failed
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"
)
METADATA = Metadata("model.depth = 6\nseed = 0\n", "aaaa1111", "t0k3n000", "da7a0000", {"jax": "0.10"}, longest_s=3.5)


def state(number: int) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    return {
        "step": jnp.int32(number),
        "params": {"kernel": jnp.asarray(rng.normal(size=(40, 30)), jnp.float32), "half": jnp.ones(50, jnp.bfloat16)},
        "moments": {"kernel": np.zeros((40, 30), np.float32), "counts": np.arange(9)},
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with the checkpoints 1 and 2."""
    folder = tmp_path_factory.mktemp("saved")
    with Checkpoints(folder) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state(step), METADATA)
            checkpoints.record(step, Evaluation({"wer": 0.5 / step}, is_ranked=True, line="WER"))
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    return shutil.copytree(saved, tmp_path / "checkpoints")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def content(folder: Path, step: int, like: Any, said: list[str] | None = None) -> tuple[Any, ...]:
    """Everything that a checkpoint holds, in a form that can be compared to the last bit."""
    reader = SavedCheckpoints(folder, print_fn=(said if said is not None else []).append)
    restored, metadata = reader.restore(step, like)
    leaves = {path: np.asarray(leaf).tobytes() for path, leaf in flat_tree.flatten(restored).items()}
    return leaves, metadata, reader.evaluation(step)


def blank(folder: Path, step: int) -> dict[str, Any]:
    """A tree of NumPy arrays of the shapes in a checkpoint."""
    like: dict[str, Any] = {}
    document = json.loads((folder / str(step) / "metadata" / "metadata").read_text())
    for path, (shape, dtype) in document["leaves"].items():
        *parents, name = path.split("/")
        node = like
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = np.zeros(shape, jnp.dtype(dtype))
    return like


def flips(folder: Path, count: int, rng: np.random.Generator) -> Iterator[tuple[Path, int]]:
    """Flips one bit of a file, yields it and flips it back: files in turn, so small ones get as many as large ones."""
    paths = [path for path in files(folder) if path.stat().st_size]
    for number in range(count):
        path = paths[number % len(paths)]
        raw = bytearray(path.read_bytes())
        bit = int(rng.integers(8 * len(raw)))
        raw[bit // 8] ^= 1 << bit % 8
        path.write_bytes(raw)
        yield path, bit
        raw[bit // 8] ^= 1 << bit % 8
        path.write_bytes(raw)


def silent_flips(
    folder: Path, step: int, count: int, rng: np.random.Generator
) -> tuple[list[tuple[Path, int]], Counter[Path]]:
    """Returns the flips after which a restore gives something else without an error or a line, and the errors by file."""
    like = blank(folder, step)
    whole = content(folder, step, like)
    silent: list[tuple[Path, int]] = []
    detected: Counter[Path] = Counter()
    for path, bit in flips(folder / str(step), count, rng):
        said: list[str] = []
        try:
            equal = content(folder, step, like, said) == whole
        except DamagedCheckpointError as damage:
            detected[path] += 1
            if str(folder / str(step)) not in str(damage):
                silent.append((path, bit))
            continue
        if said:
            assert str(path) in said[0]
            detected[path] += 1
        elif not equal:
            silent.append((path, bit))
    return silent, detected


def test_a_flipped_bit_is_an_error_or_no_change(folder, rng):
    silent, detected = silent_flips(folder, 2, 60, rng)
    assert silent == []
    assert detected.total() > 15  # the other bits are of files that a restore does not read, or are not used


@pytest.mark.slow
def test_200_flips_over_all_files_of_a_trained_run_are_errors_or_no_change(trained_run, tmp_path, rng):
    folder = shutil.copytree(trained_run.workdir / "checkpoints", tmp_path / "checkpoints")
    silent, detected = silent_flips(folder, 160, 200, rng)
    assert silent == []
    sizes = {path: path.stat().st_size for path in files(folder / "160")}
    read = sum(sizes[path] for path in detected)
    assert read > 0.95 * sum(sizes.values())  # the others, small ones whose number varies, are read by no restore
    assert detected.total() > 0.8 * 200 * len(detected) / len(sizes)


def test_a_flipped_bit_of_a_weight_names_the_leaf(folder):
    """As if a disk had changed it after Orbax has written it: the digest alone can tell."""
    document = json.loads((folder / "2" / "metadata" / "metadata").read_text())
    with Checkpoints(folder.parent / "other") as checkpoints:
        changed = state(2)
        changed["params"]["kernel"] = changed["params"]["kernel"].at[7, 3].multiply(-1.0)
        checkpoints.save(2, changed, METADATA)
    (folder.parent / "other" / "2" / "metadata" / "metadata").write_text(json.dumps(document))
    reader = SavedCheckpoints(folder.parent / "other")
    with pytest.raises(
        DamagedCheckpointError, match=r"/2: params/kernel holds other values than were saved: the digest"
    ):
        reader.restore(2, state(0))
    reader.restore_part(2, {"moments": state(0)["moments"]})  # which is whole


def damage(path: Path, how: str) -> None:
    match how:
        case "cut":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        case "emptied":
            path.write_bytes(b"")
        case "deleted":
            path.unlink()


@pytest.mark.parametrize("how", ["cut", "emptied", "deleted"])
def test_a_file_that_is_cut_emptied_or_deleted_is_an_error_or_no_change(folder, how):
    like = blank(folder, 2)
    whole = content(folder, 2, like)
    errors = 0
    for path in files(folder / "2"):
        raw = path.read_bytes()
        damage(path, how)
        said: list[str] = []
        try:
            assert content(folder, 2, like, said) == whole or said or path.name == "evaluation.json", path
        except DamagedCheckpointError:
            errors += 1
        path.write_bytes(raw)
    assert errors >= 4  # metadata, the trees of arrays and their data


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def halve(folder: Path) -> None:
    for path in folder.rglob("d/*"):
        damage(path, "cut")


@pytest.mark.parametrize("harm", [empty, halve, lambda folder: damage(folder / "metadata" / "metadata", "deleted")])
@pytest.mark.parametrize("which", ["last", "best"])
def test_a_reader_takes_the_next_checkpoint_and_prints_which_is_damaged(folder, which, harm):
    harm(folder / "2")
    before = sorted(folder.rglob("*"))
    said: list[str] = []
    reader = SavedCheckpoints(folder, print_fn=said.append)
    step, restored = reader.first_whole(which, lambda step: (step, reader.restore(step, state(0))[0]))
    assert step == 1
    np.testing.assert_array_equal(restored["params"]["kernel"], state(1)["params"]["kernel"])
    if which == "last" or harm is not empty:  # an empty folder has no score, so it is not the best one
        assert len(said) == 1
        assert said[0].startswith(f"DAMAGED: {folder}/2")
        assert said[0].endswith("Checkpoint 1 is taken in place of 2")
        assert reader.last_whole() == 1
    assert sorted(folder.rglob("*")) == before


def test_an_empty_folder_of_a_step_that_never_was_is_passed_over_and_set_aside(folder):
    (folder / "999999").mkdir()
    assert SavedCheckpoints(folder).last_whole() == 2
    said: list[str] = []
    with Checkpoints(folder, print_fn=said.append) as checkpoints:
        step, _ = checkpoints.first_whole("last", lambda step: (step, checkpoints.restore(step, state(0))))
        assert (step, checkpoints.steps()) == (2, [1, 2])
        checkpoints.save(999999, state(3), METADATA)
    assert said == [
        f"DAMAGED: {folder}/999999 is empty. Checkpoint 2 is taken in place of 999999; its folder gets the name "
        "999999.damaged"
    ]


def test_a_number_that_is_damaged_is_an_error_and_nothing_else_is_taken(folder):
    empty(folder / "2")
    reader = SavedCheckpoints(folder)
    with pytest.raises(DamagedCheckpointError, match=r"/2 is empty"):
        reader.first_whole(2, lambda step: reader.restore(step, state(0)))


def test_without_a_whole_checkpoint_a_run_does_not_begin_anew(folder):
    for step in (1, 2):
        halve(folder / str(step))
    with Checkpoints(folder) as checkpoints:
        with pytest.raises(
            DamagedCheckpointError, match=r"no checkpoint is whole; restore one(.*\n)+.*/2(.*\n)+.*/1: "
        ):
            checkpoints.first_whole("last", lambda step: checkpoints.restore(step, state(0)))
        assert checkpoints.steps() == [1, 2]


def test_a_damaged_score_is_named_and_its_checkpoint_is_kept(folder):
    path = folder / "1" / "evaluation.json"
    path.write_text(path.read_text().replace("0.5", "0.9"))
    said: list[str] = []
    with Checkpoints(folder, keep_last=1, print_fn=said.append) as checkpoints:
        assert checkpoints.best() == 2
        checkpoints.save(3, state(3), METADATA)
        assert checkpoints.steps() == [1, 2, 3]
    assert len(said) == 1
    assert said[0].startswith(f"DAMAGED: {path} is damaged: its digest is ")


def test_a_checkpoint_of_an_older_version_is_read_without_digests(folder):
    """Its metadata have no digest, and its scores are those that it was saved with."""
    path = folder / "2" / "metadata" / "metadata"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({name: document[name] for name in ("metadata", "leaves")}))
    (folder / "2" / "evaluation.json").unlink()
    (folder / "2" / "metrics").mkdir()
    (folder / "2" / "metrics" / "metrics").write_text('{"wer": 0.125}')
    reader = SavedCheckpoints(folder)
    assert (reader.best(), reader.is_evaluated_later(2), reader.is_evaluated_later(1)) == (2, False, True)
    assert reader.restore("best", state(0))[1] == METADATA
    path.write_text(json.dumps({name: document[name] for name in ("metadata", "leaves", "digests")}))
    with pytest.raises(
        DamagedCheckpointError, match=r"metadata/metadata is damaged: its digest is \w+, None was written"
    ):
        reader.restore(2, state(0))
