"""The training loop from a corpus to a checkpoint: signals, errors, and resumed runs that equal unbroken ones.

`tiny.experiment` is what the shared run trains; `tiny.restless` has everything that a resumed run could get wrong.
"""

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.experiment import Experiment, RuntimeConfig
from jaxasr.experiment.goodput_totals import read_goodput
from jaxasr.run import DivergenceError, TrainingInterrupt, train
from jaxasr.run.loop import run_summary
from jaxasr.run.metric_accumulator import MetricAccumulator
from jaxasr.scale import CompileCounter, CompiledStep, MeshShape, Rules
from jaxasr.training import Writer, read_metrics
from tests import tiny_experiments as tiny
from tests.trained_run import TINY, saved_state

STOP_AT = 4  # of eight steps: the fifth, so gradients and metrics are half accumulated, and nothing else is due


@dataclass(frozen=True)
class Attempt:
    """The observations of one attempt of a run."""

    examples: list[tuple[int, list[str], list[int]]]  # step, ids, keys of their randomness
    compiled: list[str]
    printed: list[str]


def run_attempt(
    experiment: Experiment, folder: Path, data_dir: Path, *, stop_at: int = -1, parallelism="jit", **runtime
) -> tuple[Attempt, TrainingInterrupt | None]:
    """Trains, with a SIGTERM while step `stop_at` is under way."""
    attempt = Attempt([], [], [])
    add = MetricAccumulator.add

    def watched(self, step, batch, ids, sums):
        attempt.examples.append((step, ids, batch.ids_b.tolist()))
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        add(self, step, batch, ids, sums)

    with pytest.MonkeyPatch.context() as patch, CompileCounter() as compiles:
        patch.setattr(MetricAccumulator, "add", watched)
        interrupted = None
        try:
            train(experiment, folder, RuntimeConfig(data_dir, parallelism, **runtime), print_fn=attempt.printed.append)
        except TrainingInterrupt as came:
            interrupted = came
    attempt.compiled.extend(compiles.names)
    return attempt, interrupted


@pytest.fixture(scope="module")
def restless() -> Experiment:
    return tiny.restless()


@pytest.fixture(scope="module")
def whole(restless, trained_run, tmp_path_factory):
    """`restless` from its first step to its last, and what was seen of it."""
    folder = tmp_path_factory.mktemp("restless") / "whole"
    attempt, interrupted = run_attempt(restless, folder, trained_run.data_dir)
    assert interrupted is None
    return folder, attempt


def same_state(a: Path, b: Path, step: int):
    """Parameters, average, optimizer, statistics, key, step and window, to the last bit."""
    left = saved_state(a, step)
    right = saved_state(b, step)
    assert left.keys() == right.keys()
    assert {"train/step", "train/key", "metrics/loss"} < left.keys()
    for path, value in left.items():
        np.testing.assert_array_equal(value, right[path], err_msg=path, strict=True)


def test_training_reaches_a_word_error_rate(trained_run):
    """The one test of everything at once: manifest, prepare, train, average, choose, search, score."""
    rows = [json.loads(line) for line in (trained_run.workdir / "results.jsonl").read_text().splitlines()]
    assert {row["split"]: row["utterances"] for row in rows} == {"train": 8, "test": 3}
    learnt = rows[0]
    assert learnt["wer"] == learnt["cer"] == 0.0
    assert learnt["intervals"]["wer"] == [0.0, 0.369417]  # of 8 utterances
    assert learnt["words"] == 11
    assert (
        "train: WER 0.00% [0.00%, 36.94%] over 8 utterances, CER 0.00%, 8 utterances" in trained_run.printed.read_text()
    )


def test_a_run_leaves_metrics_checkpoints_hypotheses_and_pictures(trained_run):
    rows = read_metrics(trained_run.workdir / "metrics.jsonl")
    lines = [row for row in rows if "train/loss" in row]
    assert [row["step"] for row in lines] == list(range(20, 161, 20))
    assert {"train/accuracy", "train/ctc", "train/gradient_norm", "train/learning_rate"} < lines[0].keys()
    assert lines[-1]["train/loss"] < 0.1 < 1.0 < lines[0]["train/loss"]
    assert [row["step"] for row in rows if row.get("validation/wer") == 0.0] == [80, 160]
    assert sorted(int(path.name) for path in (trained_run.workdir / "checkpoints").iterdir()) == [80, 160]
    for name in ("curves", "alignment.validation", "alignment.train", "alignment.test"):
        assert (trained_run.workdir / "pictures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    final = rows[-1]
    for place in ("train", "validation"):  # eight utterances by heart: sharp, in order, nothing collapsed
        assert final.get(f"{place}/attention_collapsed", lines[-1].get(f"{place}/attention_collapsed")) == 0.0
    assert final["validation/attention_diffuse"] < 0.5 < lines[0]["train/attention_diffuse"]
    page = (trained_run.workdir / "page.html").read_text()
    assert "validation/attention_behind" in page
    assert 'src="data:image/png;base64,' in page
    assert 'alt="alignment.validation"' in page
    watched = [
        json.loads(line) for line in (trained_run.workdir / "hypotheses.validation.jsonl").read_text().splitlines()
    ]
    assert {row["id"]: row["hypothesis"] for row in watched} == {row["id"]: row["reference"] for row in watched}
    assert list((trained_run.workdir / "tensorboard").iterdir())


def test_nothing_is_compiled_after_warm_up(trained_run):
    """The second half compiles what the first evaluation needs, and nothing after it."""
    lines = [json.loads(line) for line in (trained_run.workdir / "speed.jsonl").read_text().splitlines()]
    counts = {line["step"]: line["programs_compiled"] for line in lines}
    assert counts[20] == counts[80]
    assert counts[100] == counts[160]


def test_a_run_that_is_told_to_stop_and_goes_on_is_equal_to_the_last_bit(restless, trained_run, whole, tmp_path):
    """Chance of every kind, gradients half accumulated, metrics half summed: nothing tells the two apart."""
    folder, attempt = whole
    first, interrupted = run_attempt(restless, tmp_path / "twice", trained_run.data_dir, stop_at=STOP_AT)
    assert interrupted is not None
    assert str(interrupted).startswith("SIGTERM: saved after 5 steps")
    assert (tmp_path / "twice" / "metrics.jsonl").read_text().count("\n") == 2  # of training, and of an evaluation
    second, interrupted = run_attempt(restless, tmp_path / "twice", trained_run.data_dir)
    assert interrupted is None
    assert "resumes after step 5" in second.printed

    same_state(folder, tmp_path / "twice", restless.steps)
    for name in ("metrics.jsonl", "hypotheses.validation.jsonl", "experiment.txt"):
        assert (folder / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    assert [step for step, *_ in attempt.examples] == list(range(restless.steps))
    assert first.examples + second.examples == attempt.examples
    assert len({tuple(keys) for _, _, keys in attempt.examples}) > 4  # another order and other speeds in each epoch
    assert attempt.compiled.count("jit(one_step)") == 1

    again, _ = run_attempt(restless, folder, trained_run.data_dir)  # nothing is left to do
    assert again.examples == []
    same_state(folder, tmp_path / "twice", restless.steps)


def test_a_signal_that_comes_while_a_line_is_written_is_noted_one_step_later(
    restless, trained_run, tmp_path, monkeypatch
):
    """Between the decision what to save and the end of the turn: what it says is saved is saved."""
    write = Writer.write
    before = signal.getsignal(signal.SIGINT)

    def interrupted_write(self, step, metrics):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        write(self, step, metrics)

    monkeypatch.setattr(Writer, "write", interrupted_write)
    chatty = replace(restless, log_every=2)
    with pytest.raises(TrainingInterrupt, match="SIGINT: saved after 3 steps"):
        train(chatty, tmp_path, RuntimeConfig(trained_run.data_dir), print_fn=lambda _: None)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["3"]
    assert signal.getsignal(signal.SIGINT) is before  # the default, or ignored in a job in the background


def test_a_loss_that_is_not_finite_ends_the_run_before_anything_is_saved(trained_run, tmp_path, monkeypatch):
    """From the sixth step on the parameters are NaN; checkpoints are due after the fourth and the eighth."""
    call = CompiledStep.__call__

    def poisoned(self, state, batch):
        with jax.transfer_guard("allow"):
            if int(state.step) == 5:
                state = replace(state, params=jax.tree.map(lambda x: x * jnp.nan, state.params))
        return call(self, state, batch)

    monkeypatch.setattr(CompiledStep, "__call__", poisoned)
    experiment = replace(tiny.experiment(), save_every=4, log_every=4, eval_every=80)
    with pytest.raises(DivergenceError, match="the loss of step 5 is not finite; the last finite step was 4") as caught:
        train(experiment, tmp_path, RuntimeConfig(trained_run.data_dir), print_fn=lambda _: None)
    data = experiment.train_data.open(trained_run.data_dir)
    ids = [data.ids[i] for i in data.plan.row(5).examples_b]
    assert f"utterances {', '.join(ids)}. The same command would" in str(caught.value)
    with np.load(tmp_path / "diverged-step-5.npz") as kept:
        assert kept["ids"].tolist() == ids
        assert kept["wave_bn"].shape == (8, 16_000)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["4"]
    assert np.isfinite(saved_state(tmp_path, 4)["train/params/decoder/readout/kernel"]).all()
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [4]


@pytest.mark.slow  # five steps of every way are compared in test_ways.py
@pytest.mark.parametrize("parallelism", ["pmap", "mesh"])
def test_four_devices_come_where_one_comes(restless, trained_run, whole, tmp_path, parallelism):
    """Four examples a batch, one a device. Dropout, masks and noise are the example's, so they are the same too."""
    assert len(jax.devices()) == 4
    folder, attempt = whole
    spread, _ = run_attempt(restless, tmp_path / parallelism, trained_run.data_dir, parallelism=parallelism)
    assert spread.examples == attempt.examples
    one, four = (read_metrics(path / "metrics.jsonl") for path in (folder, tmp_path / parallelism))
    for a, b in zip(one, four, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    left, right = (saved_state(path, restless.steps) for path in (folder, tmp_path / parallelism))
    for path in (path for path in left if path.startswith(("train/params", "train/ema_params"))):
        np.testing.assert_allclose(left[path], right[path], rtol=1e-3, atol=1e-4, err_msg=path)


@pytest.mark.parametrize("parallelism", ["jit", pytest.param("pmap", marks=pytest.mark.slow)])
def test_a_run_goes_on_with_other_devices(restless, trained_run, whole, tmp_path, parallelism):
    """The state is split over a mesh at first, and at the end whole on one device, or on each of four under pmap."""
    folder, _ = whole
    split = {"layout": MeshShape(fsdp=2, tensor=2), "rules": Rules(split_from=16)}
    run_attempt(restless, tmp_path / "moved", trained_run.data_dir, stop_at=STOP_AT, parallelism="mesh", **split)
    attempt, _ = run_attempt(restless, tmp_path / "moved", trained_run.data_dir, parallelism=parallelism)
    assert [step for step, *_ in attempt.examples] == [5, 6, 7]
    left, right = (saved_state(path, restless.steps) for path in (folder, tmp_path / "moved"))
    for path in (path for path in left if path.startswith("train/params")):
        np.testing.assert_allclose(left[path], right[path], rtol=1e-3, atol=1e-4, err_msg=path)


def test_the_introduction_names_what_is_left_out(trained_run):
    """Six tokens are the most that are allowed: BAD CAB, of seven, fits no shape."""
    experiment = tiny.experiment()
    shapes = replace(experiment.train_data.shapes, tokens=6)
    data = replace(experiment.train_data, shapes=shapes).open(trained_run.data_dir)
    lines = run_summary(experiment, data)
    assert re.match(r"experiment [0-9a-f]{8}: 0.01 M parameters, 160 steps, seed 0, data [0-9a-f]{12}, ", lines[0])
    assert lines[1].startswith(f"Python {platform.python_version()}, jax {jax.__version__}, jaxlib ")
    assert lines[-1] == "left out: tones train-5: fits no shape at any speed (0.840 s, 7 tokens)"
    assert "left out: 1 (fits no shape at any speed)" in lines


COMMAND = [sys.executable, "-m", "jaxasr", "train", f"{TINY}:restless", "log_every=20", "save_every=20"]
KILLS = 3
LIFE_S = 900.0  # none takes longer
STEPS = 600


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_is_killed_again_and_again_is_equal_to_the_last_bit(trained_run, tmp_path, rng, workers):
    """Three attempts end by SIGKILL at random moments, the fourth finishes; a run that was never killed is equal."""
    ends = [f"steps={STEPS}", f"eval_every={STEPS}", "--data-dir", str(trained_run.data_dir), "--splits", "train"]
    killed, whole = ([*COMMAND, *ends, "--workdir", str(tmp_path / name)] for name in ("killed", "whole"))
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    subprocess.run(whole, check=True, env=environment, capture_output=True, timeout=LIFE_S)

    speed = tmp_path / "killed" / "speed.jsonl"
    for _ in range(KILLS):
        before = lines_of(speed)
        with subprocess.Popen(
            [*killed, "--workers", str(workers)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as attempt:
            end = time.monotonic() + LIFE_S
            while lines_of(speed) == before and attempt.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            time.sleep(float(rng.uniform(0.0, 1.0)))
            attempt.send_signal(signal.SIGKILL)
        assert attempt.returncode == -signal.SIGKILL, "it came to its end before it was killed: give it more steps"
    last = [*killed, "--workers", str(workers)]
    subprocess.run(last, check=True, env=environment, capture_output=True, timeout=LIFE_S)

    same_state(tmp_path / "whole", tmp_path / "killed", STEPS)
    for name in ("metrics.jsonl", "hypotheses.train.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    once, again = (read_goodput(tmp_path / name)[-1] for name in ("whole", "killed"))
    assert (once.attempt, again.attempt) == (1, KILLS + 1)
    assert once.flops == again.flops  # of the steps that count
    assert once.seconds["lost"] == 0.0 < again.seconds["restore"]


def lines_of(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def test_an_extended_run_is_equal_to_one_that_was_as_long_from_the_start(restless, trained_run, whole, tmp_path):
    """Half of the steps, then all of them under the same schedule, with other lines and checkpoints on the way."""
    folder = tmp_path / "extended"
    runtime = RuntimeConfig(trained_run.data_dir, "jit")
    train(replace(restless, steps=4), folder, runtime, print_fn=str)
    with pytest.raises(ValueError, match="--extend"):
        train(restless, folder, runtime, print_fn=str)
    printed: list[str] = []
    train(replace(restless, keep_last=3), folder, runtime, extends=True, print_fn=printed.append)
    assert "resumes after step 4" in printed
    same_state(folder, whole[0], restless.steps)
    assert json.loads((folder / "extensions.jsonl").read_text()) == {"after_step": 4, "changes": ["steps: 4 -> 8"]}
