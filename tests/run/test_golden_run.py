"""The golden run: 30 steps whose numbers are those of tests/golden/run_30_steps.json, bit for bit.

The run has noise, speed perturbation, SpecAugment, dropout, scheduled sampling, weight noise, accumulated gradients, an
exponential moving average and a learning rate that reacts to evaluations. A pretraining stage ends after step 10. SIGTERM
comes at step 19, in the middle of the second stage and between the two batches of one update; then the run is resumed.

Bits depend on the compiler, on its generator of code for fused operations (compilation.py) and on the CPU that it
compiles for, so the golden file has an entry for each. XLA_FLAGS=--xla_cpu_use_fusion_emitters=true takes a user's
generator. Elsewhere the numbers are compared within a tolerance. If a change of numbers is meant, this renews the file:

    JAXASR_RENEW_GOLDEN=1 python -m pytest tests/run/test_golden_run.py

On a machine without an entry the same command adds one and changes nothing else, provided the numbers are near.
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
from tests.compilation import OLD_EMITTERS
from tests.run.test_loop import run_attempt
from tests.trained_run import saved_state, write_tones

GOLDEN = Path(__file__).parents[1] / "golden" / "run_30_steps.json"
RENEW = "JAXASR_RENEW_GOLDEN"
PACKAGES = ("jax", "flax", "optax", "numpy", "soxr")  # their versions are named where bits differ
TREES = {  # of a checkpoint: name in the golden file -> path prefix
    "params": "train/params/",
    "average": "train/ema_params/",
    "statistics": "train/statistics/",
    "optimizer": "train/optimizer/",
}
STAGE_ENDS = 10
STOPS_AT = 18  # index of the step during which SIGTERM comes: 19 are done then, and an update is half accumulated
RTOL = 1e-3  # of a loss or norm; other instruction sets and optimisation levels make differences below 1e-4
TINY = 1e-6  # norms below it count as this


@dataclass(frozen=True)
class GoldenRun:
    """The numbers of a golden run."""

    batches: str  # digest of the step, the utterances and the random keys of every batch
    losses: list[float]  # by step
    leaves: dict[str, dict[str, np.ndarray]]  # by tree and path, after the last step


def experiment() -> Experiment:
    """Returns the golden run's experiment: a small recogniser of tones with all kinds of randomness."""
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
            on_plateau=training.Newbob(0.5, threshold=0.5),
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
    losses = [row["train/loss"] for row in read_metrics(folder / "run" / "metrics.jsonl") if "train/loss" in row]
    batches = json.dumps([*first.examples, *second.examples])
    return GoldenRun(hashlib.sha256(batches.encode()).hexdigest(), losses, leaves)


@pytest.fixture(scope="module")
def golden(found: GoldenRun) -> dict[str, Any]:
    """The golden file, renewed first where that is asked for."""
    if os.environ.get(RENEW):
        old = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
        GOLDEN.write_text(lines_of(renewed(old, found)) + "\n")
    assert GOLDEN.is_file(), f"{GOLDEN} is missing: {RENEW}=1 python -m pytest {__file__}"
    return json.loads(GOLDEN.read_text())


def test_it_takes_the_batches_of_the_golden_run(found, golden):
    assert found.batches == golden["batches"], "the utterances, their order or the keys of their randomness differ"


def test_its_state_has_the_names_and_shapes_of_the_golden_run(found, golden):
    """Fails before the numbers do where a module has another name, from which Flax draws other initial parameters."""
    for tree, leaves in golden["leaves"].items():
        shapes = {path: shape_of(leaf) for path, leaf in found.leaves[tree].items()}
        assert shapes == {path: shape for path, (shape, *_) in leaves.items()}, tree


def test_its_numbers_are_near_the_golden_ones_on_every_machine(found, golden):
    assert far(golden, found) == []


def test_its_bits_are_the_golden_ones_where_those_are_known(found, golden):
    known = golden["bits"].get(machine())
    bits = bits_of(found)
    if known is None:
        pytest.skip(f"no bits are known for {machine()}; its numbers are compared within a tolerance")
    losses = zip(known["losses"], found.losses, strict=True)
    first = next((step for step, (there, here) in enumerate(losses, 1) if there != here), None)
    updates = sorted(set(known["packages"]) ^ set(bits["packages"]))
    differing = [name for name in bits if name != "packages" and bits[name] != known[name]]
    assert differing == [], f"first step whose loss differs: {first}; packages that differ: {updates}"


def far(golden: dict[str, Any], run: GoldenRun) -> list[str]:
    """Returns what differs from the golden numbers by more than the tolerance; a line each."""
    pairs = zip(golden["losses"], run.losses, strict=True)
    lines = [
        f"loss of step {step}: {there} -> {here}"
        for step, (there, here) in enumerate(pairs, 1)
        if abs(here - there) > RTOL * there
    ]
    for tree, leaves in golden["leaves"].items():
        for path, (_, total, norm) in leaves.items():
            leaf = run.leaves[tree].get(path)
            if leaf is None:
                lines.append(f"{tree}/{path} is missing")
                continue
            _, here_total, here_norm = row_of(leaf)
            limit = RTOL * max(norm, TINY)
            if abs(here_norm - norm) > limit or abs(here_total - total) > limit * leaf.size**0.5:
                lines.append(f"{tree}/{path}: sum {total} -> {here_total}, norm {norm} -> {here_norm}")
    return lines


def bits_of(run: GoldenRun) -> dict[str, Any]:
    """Returns the losses and a digest of each tree, which does not depend on the names in it."""

    def digest(leaf: np.ndarray) -> str:
        return hashlib.sha256(shape_of(leaf).encode() + leaf.tobytes()).hexdigest()

    def digest_of_all(leaves: Iterable[np.ndarray]) -> str:
        return hashlib.sha256("".join(sorted(map(digest, leaves))).encode()).hexdigest()

    packages = [f"{name} {metadata.version(name)}" for name in PACKAGES]
    trees = {tree: digest_of_all(leaves.values()) for tree, leaves in run.leaves.items()}
    return {"packages": packages, "losses": run.losses} | trees


def renewed(old: dict[str, Any], run: GoldenRun) -> dict[str, Any]:
    """Returns the contents of the golden file after this run."""
    bits = bits_of(run)
    here = machine()
    known = old.get("bits", {})
    if known and here not in known and old["batches"] == run.batches and not far(old, run):
        return old | {"bits": known | {here: bits}}
    same = {**known.get(here, {}), "packages": bits["packages"]} == bits
    return {
        "batches": run.batches,
        "losses": [rounded(loss) for loss in run.losses],
        "bits": (known if same else {}) | {here: bits},
        "leaves": {tree: {path: row_of(leaf) for path, leaf in leaves.items()} for tree, leaves in run.leaves.items()},
    }


def machine() -> str:
    """Returns a name of the compiler and of the CPU that it compiles for."""
    names = ("vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU part", "Features")
    info = Path("/proc/cpuinfo")
    lines = info.read_text().split("\n\n")[0].splitlines() if info.exists() else [platform.processor()]
    listed = [line for line in lines if line.partition(":")[0].strip() in names] or lines
    digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()[:12]
    old_emitters = ", old emitters" * (OLD_EMITTERS in os.environ["XLA_FLAGS"])
    return f"jaxlib {metadata.version('jaxlib')}, {platform.machine()} {digest}{old_emitters}"


def shape_of(leaf: np.ndarray) -> str:
    """Returns dtype and shape, such as float32[8, 4]."""
    return f"{leaf.dtype}{list(leaf.shape)}"


def row_of(leaf: np.ndarray) -> list[Any]:
    """Returns what the golden file has of a leaf: dtype and shape, sum, norm."""
    numbers = leaf.astype(np.float64)
    return [shape_of(leaf), rounded(numbers.sum()), rounded(float(np.linalg.norm(numbers)))]


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
