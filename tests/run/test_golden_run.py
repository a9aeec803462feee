"""The golden run: 30 steps whose losses, parameters, average and optimizer state are those of the golden file, bit for bit.

The run has noise, speed perturbation, SpecAugment, dropout, scheduled sampling, weight noise, accumulated gradients, an
exponential moving average, a learning rate that reacts to evaluations, a pretraining stage until step 10, and a SIGTERM
after step 19, in the middle of the second stage and between two batches of one update.

The bits depend on the compiler and on the CPU that it compiles for, so the golden file has one entry a jaxlib version and
machine. On others the numbers are compared within a tolerance. A change of code that is meant to change numbers renews the
file; the entries of other machines are dropped then. Otherwise it adds the entry of this one:

    JAXASR_RENEW_GOLDEN=1 python -m pytest tests/run/test_golden_run.py
"""

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxasr import data, nn, training
from jaxasr.__main__ import main
from jaxasr.experiment import Experiment, Stage
from jaxasr.training import read_metrics
from tests import tiny_experiments as tiny
from tests.run.test_loop import run_attempt
from tests.trained_run import compile_cache, saved_state, shared_folder, write_tones

GOLDEN = Path(__file__).parents[1] / "golden" / "run_30_steps.json"
RENEW = "JAXASR_RENEW_GOLDEN"
PACKAGES = ("jax", "flax", "optax", "numpy", "soxr")  # what else decides the numbers; listed where bits differ
TREES = {  # of a checkpoint: name in the golden file -> path prefix
    "params": "train/params/",
    "average": "train/ema_params/",
    "statistics": "train/statistics/",
    "optimizer": "train/optimizer/",
}
STAGE_ENDS = 10
STOPS_AT = 18  # the number of the step that is under way: 19 are done then, and one update is half accumulated
RTOL = 1e-3  # of a norm, for other compilers and CPUs


@dataclass(frozen=True)
class GoldenRun:
    """The numbers of a golden run."""

    batches: str  # digest of the step, the utterances and the random keys of every batch
    losses: list[float]  # by step
    leaves: dict[str, dict[str, np.ndarray]]  # by tree and path, after the last step


def experiment() -> Experiment:
    """Returns the recogniser of tones that the golden run trains.

    Flax draws initial parameters from the names of sub-modules: another name is another run.
    """
    base = tiny.experiment()
    return replace(
        base,
        model=base.model.clone(
            frontend=base.model.frontend.clone(normalize="global"),
            encoder=nn.Listener(width=8, time_reduction=(2, 1), dropout=0.2, bidirectional=False),
            decoder=nn.Speller(
                1,
                8,
                nn.LocationAttention(8, filters=4, kernel_size=5),
                vocab=tiny.TOKENS.size,
                embedding=8,
                dropout=0.2,
                sampling=0.3,
            ),
            augment=nn.SpecAugment(
                freq_masks=1, freq_bins=4, time_masks=1, time_frames=10, time_share=0.3, warp_frames=3
            ),
            noise=nn.AddNoise(share=0.5, low_db=5.0, high_db=20.0),
        ),
        train_data=replace(
            base.train_data,
            transforms=(*tiny.SPEECH, data.SpeedPerturb((0.9, 1.0, 1.1))),
            shapes=data.Buckets(seconds=(1.0,), tokens=8, seconds_per_batch=4.0, examples_multiple=4),
        ),
        objective=training.Objective(label_smoothing=0.1, ctc_weight=0.5),
        optimizer=training.Adam(
            training.RampHoldDecay(5, 10, 15, peak=1e-2, end_ratio=0.1),
            clip_norm=1.0,
            weight_decay=0.01,
            accumulate_steps=2,
            on_plateau=training.Newbob(0.5),
        ),
        weight_noise=training.WeightNoise(0.01, from_step=STAGE_ENDS + 3),
        pretraining=(
            Stage(
                STAGE_ENDS,
                (
                    "model.encoder.time_reduction=(2,)",
                    "model.augment=None",
                    "model.noise=None",
                    "model.decoder.sampling=0.0",
                    "objective.ctc_weight=0.3",
                    "weight_noise=None",
                ),
            ),
        ),
        steps=30,
        eval_every=10,
        save_every=10,
        log_every=1,
        ema_decay=0.9,
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> GoldenRun:
    """The golden run on this machine, interrupted once."""
    folder = tmp_path_factory.mktemp("golden")
    write_tones(folder / "wavs")
    prepare = ["prepare", "manifest", "--from", str(folder / "wavs"), "--data-dir", str(folder / "data"), "name=tones"]
    with compile_cache(shared_folder(tmp_path_factory)):
        assert main(prepare) == 0
        first, interrupted = run_attempt(experiment(), folder / "run", folder / "data", stop_at=STOPS_AT)
        assert interrupted is not None
        second, interrupted = run_attempt(experiment(), folder / "run", folder / "data")
        assert interrupted is None
    assert [len(attempt.examples) for attempt in (first, second)] == [STOPS_AT + 1, 30 - STOPS_AT - 1]
    state = saved_state(folder / "run", 30)
    leaves = {
        tree: {path.removeprefix(prefix): np.asarray(state[path]) for path in sorted(state) if path.startswith(prefix)}
        for tree, prefix in TREES.items()
    }
    rows = read_metrics(folder / "run" / "metrics.jsonl")
    batches = json.dumps([*first.examples, *second.examples])
    return GoldenRun(
        hashlib.sha256(batches.encode()).hexdigest(), [row["train/loss"] for row in rows if "train/loss" in row], leaves
    )


@pytest.fixture(scope="module")
def golden(found: GoldenRun) -> dict[str, Any]:
    """The golden file, renewed first where that is asked for."""
    old = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {"bits": {}}
    if os.environ.get(RENEW):
        GOLDEN.write_text(lines_of(renewed(old, found)) + "\n")
    assert GOLDEN.is_file(), f"{GOLDEN} is missing: {RENEW}=1 python -m pytest {__file__}"
    return json.loads(GOLDEN.read_text())


def test_it_takes_the_batches_of_the_golden_run(found, golden):
    assert found.batches == golden["batches"], "utterances, their order or the keys of their randomness differ"


def test_its_state_has_the_names_and_shapes_of_the_golden_run(found, golden):
    """A parameter of another name is initialised with other numbers: see this before a difference of numbers."""
    expected = {tree: {path: row[0] for path, row in leaves.items()} for tree, leaves in golden["leaves"].items()}
    assert {tree: {path: shape_of(leaf) for path, leaf in leaves.items()} for tree, leaves in found.leaves.items()} == (
        expected
    )


def test_its_numbers_are_near_the_golden_ones_on_every_machine(found, golden):
    np.testing.assert_allclose(found.losses, golden["losses"], rtol=RTOL)
    for tree, leaves in golden["leaves"].items():
        for path, (_, total, norm) in leaves.items():
            leaf = np.asarray(found.leaves[tree][path], np.float64)
            near = RTOL * max(norm, 1e-6)
            assert np.linalg.norm(leaf) == pytest.approx(norm, abs=near), f"norm of {tree}/{path}"
            assert leaf.sum() == pytest.approx(total, abs=near * leaf.size**0.5), f"sum of {tree}/{path}"


def test_its_bits_are_the_golden_ones_where_those_are_known(found, golden):
    """The losses come first: the number of the first that differs says where to look."""
    known = golden["bits"].get(machine())
    if known is None:
        pytest.skip(f"no bits are known for {machine()}; its numbers are compared within a tolerance")
    bits = bits_of(found)
    differing = [name for name in bits if bits[name] != known[name] and name != "packages"]
    steps = [step for step, pair in enumerate(zip(known["losses"], found.losses, strict=True), 1) if len(set(pair)) > 1]
    packages = [f"{there} -> {here}" for there, here in zip(known["packages"], bits["packages"], strict=True)]
    assert differing == [], f"the first loss that differs is of step {steps[:1] or 'none'}; packages: {packages}"


def bits_of(run: GoldenRun) -> dict[str, Any]:
    """Returns what is compared bit for bit: the losses, and a digest of each tree whatever its leaves are called."""

    def digest(leaf: np.ndarray) -> str:
        return hashlib.sha256(shape_of(leaf).encode() + leaf.tobytes()).hexdigest()

    def of_all(leaves: Iterable[np.ndarray]) -> str:
        return hashlib.sha256("".join(sorted(digest(leaf) for leaf in leaves)).encode()).hexdigest()

    packages = [f"{name} {metadata.version(name)}" for name in PACKAGES]
    trees = {name: of_all(leaves.values()) for name, leaves in run.leaves.items()}
    return {"packages": packages, "losses": run.losses} | trees


def renewed(old: dict[str, Any], run: GoldenRun) -> dict[str, Any]:
    """Returns the golden file's contents with this machine's entry; the others stay if this one's numbers did."""
    bits = bits_of(run)
    here = machine()
    same = all(bits[name] == value for name, value in old["bits"].get(here, bits).items() if name != "packages")
    leaves = {
        tree: {
            path: [shape_of(leaf), rounded(leaf.sum(dtype=np.float64)), rounded(np.linalg.norm(leaf.astype(float)))]
            for path, leaf in leaves.items()
        }
        for tree, leaves in run.leaves.items()
    }
    return {
        "batches": run.batches,
        "losses": [rounded(loss) for loss in run.losses],
        "bits": (old["bits"] if same else {}) | {here: bits},
        "leaves": leaves,
    }


def machine() -> str:
    """Returns a name of the compiler and of the CPU that it compiles for."""
    names = ("vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU part", "Features")
    info = Path("/proc/cpuinfo")
    lines = info.read_text().split("\n\n")[0].splitlines() if info.exists() else [platform.processor()]
    listed = [line for line in lines if line.partition(":")[0].strip() in names] or lines
    digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()[:12]
    return f"jaxlib {metadata.version('jaxlib')}, {platform.machine()} {digest}"


def shape_of(leaf: np.ndarray) -> str:
    """Returns dtype and shape, such as float32[8, 4]."""
    return f"{leaf.dtype}{list(leaf.shape)}"


def rounded(number: float) -> float:
    """Returns a number of seven digits."""
    return float(f"{number:.7g}")


def lines_of(value: Any, indent: str = "") -> str:
    """Returns JSON with a line for each leaf of nested dictionaries."""
    if not isinstance(value, dict):
        return json.dumps(value)
    inner = indent + " "
    rows = [f"{inner}{json.dumps(key)}: {lines_of(child, inner)}" for key, child in value.items()]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
