"""A language model goes the way of every experiment: trained by the same loop, judged by perplexity, and read back."""

import json
import math
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxasr import decode, nn, training
from jaxasr.evaluation.evaluators import make_evaluator
from jaxasr.experiment.experiment import Experiment
from jaxasr.experiment.restore import trained_variables
from jaxasr.experiment.workdir import Workdir
from jaxasr.records import END
from jaxasr.run.initial_state import make_apply_fn
from jaxasr.training import SavedCheckpoints, read_metrics
from jaxasr.transcription.files import transcribe
from tests import tiny_experiments as tiny
from tests import tiny_lm
from tests.nn.tiny import batch_of
from tests.trained_lm import LINES

FILE = Path(tiny_lm.__file__)


def log_prob_by_steps(bound: nn.BoundLm, text: str) -> float:
    """Token by token, as a search asks."""
    state, previous, total = bound.start(1), END, 0.0
    step = jax.jit(nn.BoundLm.step)
    for token in [*tiny_lm.TOKENS.encode(text), END]:
        log_probs_bv, state = step(bound, state, jnp.array([previous]))
        total, previous = total + float(log_probs_bv[0, token]), token
    return total


def test_a_row_holds_perplexities_that_stepping_through_the_texts_gives(lm_run):
    """Eight lines are 28 letters and blanks; the ends are foreseen too. EFG is in no vocabulary of ABCD."""
    (row,) = (json.loads(line) for line in (lm_run.workdir / "results.jsonl").read_text().splitlines())
    experiment = tiny_lm.experiment()
    variables, _ = trained_variables(experiment, Workdir(lm_run.workdir))
    bound = nn.BoundLm(experiment.model, variables)
    nats = -sum(log_prob_by_steps(bound, line) for line in LINES)
    letters, words = sum(map(len, LINES)) + 8, len(" ".join(LINES).split()) + 8
    assert row["perplexity"] == pytest.approx(math.exp(nats / letters), rel=1e-4)
    assert row["word_perplexity"] == pytest.approx(math.exp(nats / words), rel=1e-4)
    assert row["bits_per_character"] == pytest.approx(nats / letters / math.log(2.0), rel=1e-4)
    assert (row["tokens"], row["words"], row["characters"], row["utterances"]) == (letters, words, letters, 8)
    assert (row["unwritable"], row["normalizer"], row["search"]) == (["lines-9"], "upper", {})
    assert row["perplexity"] < 2.5 < tiny_lm.TOKENS.size
    for name in ("perplexity", "word_perplexity", "bits_per_character"):
        low, high = row["intervals"][name]
        assert low < row[name] < high


def test_the_loss_of_a_language_model_is_the_logarithm_of_its_perplexity(lm_run, tmp_path):
    """It is among the scores if it ranks the checkpoints."""
    experiment = changed(selection_metric="loss")
    evaluator = make_evaluator(experiment, "validation", experiment.validation, lm_run.data_dir)
    variables, _ = trained_variables(tiny_lm.experiment(), Workdir(lm_run.workdir))
    scores = evaluator(variables, Workdir(tmp_path)).scores
    assert scores["loss"] == pytest.approx(math.log(scores["perplexity"]), rel=1e-6)


def test_the_loop_leaves_what_it_leaves_of_a_recogniser(lm_run):
    rows = read_metrics(lm_run.workdir / "metrics.jsonl")
    watched = {row["step"]: row["validation/perplexity"] for row in rows if "validation/perplexity" in row}
    assert list(watched) == [20, 40, 60]
    assert watched[20] > watched[60]
    assert not any("attention" in name for row in rows for name in row)
    checkpoints = SavedCheckpoints(lm_run.workdir / "checkpoints", by="perplexity")
    assert checkpoints.best() == min(watched, key=watched.get)
    assert (lm_run.workdir / "pictures" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "validation/word_perplexity" in (lm_run.workdir / "page.html").read_text()
    assert {
        json.loads(line)["id"] for line in (lm_run.workdir / "texts.validation.jsonl").read_text().splitlines()
    } == {f"lines-{number}" for number in range(1, 10)}
    speed = [json.loads(line) for line in (lm_run.workdir / "speed.jsonl").read_text().splitlines()]
    assert all(line["tokens_per_s"] > 0 for line in speed)


def test_what_is_printed(lm_run):
    assert "train: 9 texts without audio, 12 words, 33 characters" in lm_run.printed.read_text()
    assert "epoch 0: " in lm_run.printed.read_text()
    assert "tokens and ends" in lm_run.printed.read_text()
    assert "left out: 1 (text cannot be encoded)" in lm_run.printed.read_text()
    assert "by token, " in lm_run.printed.read_text()
    assert "bits a character, 8 texts, 1 that the vocabulary can't write left out" in lm_run.printed.read_text()


def test_it_hears_nothing(lm_run):
    with pytest.raises(ValueError, match="model is a LstmLm, a language model: it hears nothing"):
        next(transcribe(tiny_lm.experiment(), lm_run.workdir, [FILE]))


def changed(**changes) -> Experiment:
    return replace(tiny_lm.experiment(), **changes)


def test_what_does_not_fit_a_language_model_is_refused():
    heard, read = tiny.experiment(), tiny_lm.experiment()
    with pytest.raises(ValueError, match=r"reads transcripts alone, and train_data\.shapes are Buckets; give it"):
        changed(train_data=replace(read.train_data, shapes=heard.train_data.shapes))
    with pytest.raises(
        ValueError, match=r"Seq2Seq, which reads audio, and validation\.data\.shapes are ChooseTokenBuckets"
    ):
        replace(heard, validation=replace(heard.validation, data=replace(heard.validation.data, shapes=tiny_lm.SHAPES)))
    with pytest.raises(ValueError, match="validation has the search Greedy"):
        changed(validation=replace(read.validation, search=decode.Greedy()))
    with pytest.raises(ValueError, match=r"evals\.train has no search"):
        replace(heard, evals={"train": replace(heard.validation, search=None)})
    with pytest.raises(ValueError, match=r"objective has ctc_weight=0\.5, GuidedAttentionLoss, and model is a LstmLm"):
        changed(objective=training.Objective(ctc_weight=0.5, auxiliary=(training.GuidedAttentionLoss(1.0),)))
    with pytest.raises(ValueError, match=r"model\.vocab=9 but the tokenizer"):
        changed(model=read.model.clone(vocab=9))


def test_a_recogniser_learns_what_a_language_model_would_write(rng):
    """Distillation from a teacher that reads (Bai et al. 2019): its logits stand beside the recogniser's."""
    calm, teacher = tiny.experiment(), tiny_lm.experiment().model
    objective = replace(calm.objective, auxiliary=(training.Distill(0.5),))
    experiment = replace(calm, teacher=teacher, objective=objective)
    apply = make_apply_fn(experiment.model, objective, experiment.teacher)
    batch = batch_of(rng, samples=(16_000, 9_000), tokens=(3, 2))

    def distilled(batch):
        variables = experiment.model.init(jax.random.key(0), batch, step=None)
        variables = {**variables, "teacher": teacher.init(jax.random.key(1), batch, step=None)}
        streams = {name: jax.random.key(2) for name in ("augment", "dropout", "draw")}
        return objective(apply(variables, batch, jnp.zeros((), int), streams), batch)["distill"]

    assert jax.eval_shape(distilled, batch).value.shape == ()
