"""The state before the first step: feature statistics, teachers, and the metadata of checkpoints."""

from collections import Counter
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import decode, nn, text, training, tree
from jaxasr.evaluation.decode_split import evaluated_variables
from jaxasr.experiment.restore import trained_variables
from jaxasr.experiment.workdir import Workdir
from jaxasr.ops.audio.features import QUANTIZATION
from jaxasr.run.initial_state import (
    checkpoint_metadata,
    init_feature_statistics,
    initial_state,
    load_teacher,
    make_apply_fn,
    resolve_objective,
)
from jaxasr.text.tokenizer import train_sentencepiece
from tests import tiny_experiments as tiny
from tests.nn.tiny import streams
from tests.reference.features import filtered
from tests.trained_run import TRAIN


@pytest.fixture
def restless():
    return tiny.restless()


@pytest.fixture
def opened(restless, trained_run):
    return restless.train_data.open(trained_run.data_dir)


def test_statistics_are_those_of_all_real_frames_of_an_epoch(restless, opened):
    """Compares with the reference implementation, frame by frame, at the speeds of the first epoch."""
    state = init_feature_statistics(initial_state(restless, opened), restless, opened)
    found = state.statistics["statistics"]["frontend"]
    frames = []
    with opened.batches(0, stop_step=len(opened.plan.epoch(0))) as batches:
        for _, _, batch in batches:
            for wave_n, length in zip(batch.wave_bn, batch.sample_lengths_b.tolist(), strict=True):
                frames.append(slow_frames(wave_n / 32_768.0, length))
    frames_tf = np.concatenate(frames)
    assert len(frames_tf) > 100
    np.testing.assert_allclose(found["mean"], frames_tf.mean(axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found["deviation"], frames_tf.std(axis=0), rtol=1e-3, atol=1e-3)


def test_a_model_without_statistics_is_left_as_it_is(trained_run):
    experiment = tiny.experiment()
    opened = experiment.train_data.open(trained_run.data_dir)
    state = jax.eval_shape(lambda: initial_state(experiment, opened))
    assert init_feature_statistics(state, experiment, opened) is state


def test_a_seed_decides_the_parameters(restless, opened):
    def first(seed: int) -> np.ndarray:
        state = initial_state(tree.override(restless, {"seed": seed}), opened)
        assert int(state.step) == 0
        return np.asarray(state.params["encoder"]["lstm_0"]["forward"]["recurrent"])

    np.testing.assert_array_equal(first(0), first(0))
    assert not np.array_equal(first(0), first(1))


def test_metadata_say_whose_checkpoint_it_is(restless, opened):
    metadata = checkpoint_metadata(restless, opened)
    assert metadata.experiment == tree.render(restless)
    assert (metadata.fingerprint, metadata.tokenizer) == (tree.fingerprint(restless), tiny.TOKENS.digest)
    assert metadata.data == opened.hash
    assert {"jaxasr", "jaxasr_sources", "jax", "flax", "optax", "orbax-checkpoint"} == set(metadata.versions)


def test_labels_are_smoothed_by_how_often_tokens_stand_in_the_transcripts(restless, opened):
    objective = resolve_objective(restless, opened)
    letters = Counter("".join(TRAIN))
    counts = [len(TRAIN)] + [letters[letter] for letter in tiny.TOKENS.alphabet]
    np.testing.assert_allclose(objective.prior, np.array(counts) / sum(counts), rtol=1e-6)
    assert resolve_objective(tiny.experiment(), opened) == tiny.experiment().objective


def test_what_tokens_write_after_another_one():
    assert text.piece_texts(tiny.TOKENS) == ["", " ", "A", "B", "C", "D"]


def test_pieces_begin_words_with_a_space(tmp_path):
    pieces = train_sentencepiece(["AB BA", "AAB AB", "BA AB"], tmp_path / "p.model", pieces=8)
    texts = text.piece_texts(pieces)
    tokens = pieces.encode("BA AB AAB")
    assert "".join(texts[token] for token in tokens).split() == ["BA", "AB", "AAB"]
    assert any(text.startswith(" ") for text in texts)


def test_the_n_best_are_those_of_the_search_scored_by_teacher_forcing(trained_run):
    """Without chance, and with an attention whose two forms are one, both say the same of how probable they are."""
    experiment = tiny.experiment()
    opened = experiment.train_data.open(trained_run.data_dir)
    search = decode.Beam(3, nbest=2, max_tokens=decode.MaxTokens(0.0, 5))
    objective = replace(experiment.objective, auxiliary=(training.ExpectedErrors(search),))
    bound = resolve_objective(replace(experiment, objective=objective), opened)
    with opened.batches(0, stop_step=1) as batches:
        batch = jax.tree.map(jnp.asarray, next(iter(batches))[2])

    @jax.jit
    def run(batch):
        variables = experiment.model.init(jax.random.key(0), batch, step=None)
        outputs = make_apply_fn(experiment.model, bound)(variables, batch, jnp.zeros((), int), streams())
        return outputs.n_best, search(nn.Recogniser(experiment.model, variables), batch), bound(outputs, batch)

    n_best, found, sums = run(batch)
    assert n_best.tokens_bwu.shape[:2] == (8, 2)
    real = np.asarray(n_best.valid_bw & found.finished_bw)
    assert real.any()
    np.testing.assert_allclose(n_best.log_probs_bw[real], found.log_probs_bw[real], rtol=1e-4)
    assert sums["expected_error_rate"].weight == sum(len(text.split()) for text in TRAIN)
    assert np.isfinite(sums["loss"].value)


def test_a_teacher_is_what_its_run_has_learnt_and_says_it_clean(trained_run):
    experiment = tiny.experiment()
    pupil = replace(
        experiment,
        teacher=experiment.model,
        objective=training.Objective(auxiliary=(training.Distill(1.0),)),
        model=experiment.model.clone(encoder=nn.Listener(width=4, time_reduction=(4,)), ctc=None),
    )
    opened = pupil.train_data.open(trained_run.data_dir)
    state = load_teacher(initial_state(pupil, opened), pupil, trained_run.workdir)
    expected, _ = trained_variables(experiment, Workdir(trained_run.workdir))
    jax.tree.map(np.testing.assert_array_equal, state.statistics["teacher"], expected)
    assert set(evaluated_variables(pupil, state)) == {"params"}
    with opened.batches(0, stop_step=1) as batches:
        batch = jax.tree.map(jnp.asarray, next(iter(batches))[2])

    @jax.jit
    def run(state, batch):
        variables = {"params": state.params, **state.statistics}
        outputs = make_apply_fn(pupil.model, pupil.objective, pupil.teacher)(variables, batch, state.step, streams())
        return outputs, pupil.objective(outputs, batch)

    outputs, sums = run(state, batch)
    taught_tokens = np.argmax(outputs.teacher_logits_buv, axis=-1)
    for row, length in enumerate(batch.token_lengths_b):  # it has learnt them by heart
        np.testing.assert_array_equal(taught_tokens[row, :length], batch.tokens_bu[row, :length])
    assert sums["distill"].mean > 0.1


def test_a_teacher_and_its_run_come_together(trained_run):
    experiment = tiny.experiment()
    opened = experiment.train_data.open(trained_run.data_dir)
    state = jax.eval_shape(lambda: initial_state(experiment, opened))
    assert load_teacher(state, experiment, None) is state
    with pytest.raises(ValueError, match="the experiment has no teacher and the command the run"):
        load_teacher(state, experiment, trained_run.workdir)
    with pytest.raises(ValueError, match="the experiment has a teacher and the command no run of one; give both"):
        load_teacher(state, replace(experiment, teacher=experiment.model), None)


def slow_frames(wave_n: np.ndarray, length: int) -> np.ndarray:
    """Returns the frames of the tiny frontend: windows of 40 ms every 20 ms, a Hann window, triangles filter by filter."""
    window = 640
    hop = 320
    fft = 1_024
    hann_n = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    starts = range(0, length - window + 1, hop)
    powers = [np.abs(np.fft.rfft(wave_n[start : start + window] * hann_n, fft)) ** 2 for start in starts]
    energies = [filtered(power, 16_000, fft, 16, 20.0, 7_600.0) for power in powers]
    return np.log(np.maximum(QUANTIZATION, np.array(energies).reshape(-1, 16)))
