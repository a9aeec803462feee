"""An experiment whose parts don't fit each other is refused when it is made, by the names that its author gave."""

from dataclasses import replace

import pytest

from jaxasr import data, text, training, tree
from jaxasr.experiment import Split, load
from tests import tiny_experiments as tiny
from tests import tiny_lm
from tests.trained_run import TINY

FREE = training.ScheduleFree(training.Constant(1e-3))


@pytest.fixture
def experiment():
    return tiny.experiment()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps=0; it must be 1 or more"),
        ({"keep_last": 0}, "keep_last=0; it must be 1 or more"),
        ({"patience": 0}, "patience=0; it must be 1 or more, or None to train all steps"),
        ({"log_every": -1}, "log_every=-1; it must be 1 or more"),
        ({"eval_every": 30}, "eval_every=30 must be a multiple of log_every=20"),
        ({"save_every": 50}, "save_every=50 must be a multiple of log_every=20"),
        ({"ema_decay": 1.0}, r"ema_decay=1.0; it must be in \[0, 1\)"),
        (
            {"optimizer": FREE},
            "ema_decay=0.9 and the optimizer is ScheduleFree, whose own average is what is evaluated",
        ),
        (
            {"optimizer": FREE, "ema_decay": 0.0, "part_rates": training.PartRates((("^encoder/", 0.1),))},
            "part_rates has factors and the optimizer is ScheduleFree, whose average assumes one rate",
        ),
        (
            {"model.decoder.vocab": 9},
            r"model.decoder.vocab=9 but the tokenizer of train_data has 6 tokens \(the end included\); give the head",
        ),
        ({"model.ctc.vocab": 5}, "model.ctc.vocab=5 but the tokenizer"),
        ({"model.ctc": None}, "objective.ctc_weight=0.5 but model.ctc is None; give the model a CtcHead or set"),
        (
            {"model.frontend.rate_hz": 8_000, "model.frontend.high_hz": 3_800.0},
            "one sampling rate is needed, there are several: model.frontend.rate_hz=8000, train_data.rate_hz=16000",
        ),
        ({"evals.test.data.rate_hz": 22_050}, r"evals.test.data.rate_hz=22050$"),
    ],
)
def test_parts_that_do_not_fit_are_named(experiment, changes, message):
    with pytest.raises(ValueError, match=message):
        tree.override(experiment, changes)


@pytest.mark.parametrize(
    ("made", "known", "unknown"),
    [
        (tiny.experiment, ("wer", "cer", "cer_no_spaces", "mer", "loss"), "perplexity"),
        (tiny_lm.experiment, ("perplexity", "loss"), "mer"),
    ],
)
def test_the_score_that_ranks_checkpoints_is_one_that_the_model_has(made, known, unknown):
    """The default keeps its fingerprint; a name on the command line is checked like one in the file."""
    plain = made()
    assert plain.ranked_by == known[0]
    assert tree.fingerprint(replace(plain, selection_metric=None)) == tree.fingerprint(plain)
    chosen = [tree.override(plain, {"selection_metric": name}) for name in known]
    assert [experiment.ranked_by for experiment in chosen] == list(known)
    assert len({tree.fingerprint(experiment) for experiment in (plain, *chosen)}) == len(known) + 1
    with pytest.raises(
        ValueError, match=f"selection_metric is '{unknown}', and model is a .*ranked by {', '.join(known)}$"
    ):
        replace(plain, selection_metric=unknown)
    with pytest.raises(ValueError, match="selection_metric"):
        tree.override(plain, {"selection_metric": "accuracy"})


def test_one_run_has_one_vocabulary(experiment):
    respelt = (data.Normalize("upper"), data.Tokenize(text.Characters("DCBA ")))
    other = Split(replace(experiment.validation.data, transforms=respelt), experiment.validation.search)
    with pytest.raises(
        ValueError, match=r"validation.data has a tokenizer with digest .* train_data one with dab9ff92"
    ):
        replace(experiment, validation=other)
    with pytest.raises(ValueError, match=r"evals.test.data has a tokenizer"):
        replace(experiment, evals={"train": experiment.validation, "test": other})


def test_the_tokenizer_is_that_of_the_training_data(experiment):
    assert experiment.tokenizer == tiny.TOKENS


def test_a_file_gives_its_experiment_with_overrides(experiment):
    assert tree.render(load(str(TINY))) == tree.render(experiment)
    changed = load(f"{TINY}:restless", {"seed": "3", "model.encoder.width": "4"})
    assert (changed.seed, changed.model.encoder.width) == (3, 4)
    assert changed.optimizer == tiny.restless().optimizer


def test_what_gives_no_experiment_is_refused(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"there is no file .*lost.py; the repository's experiments are under experiments/"
    ):
        load("experiments/lost.py")
    with pytest.raises(
        ValueError,
        match=r"has no function 'best'; it has experiment, listening, no_experiment, other_vocabulary, restless",
    ):
        load(f"{TINY}:best")
    with pytest.raises(ValueError, match=r"no_experiment gives a str; an Experiment is needed"):
        load(f"{TINY}:no_experiment")
    (tmp_path / "mine.py").touch()
    with pytest.raises(FileNotFoundError, match=r"is a folder, and a Python file is needed; it has mine.py"):
        load(str(tmp_path))
    (tmp_path / "notes.txt").write_text("no Python")
    with pytest.raises(ValueError, match=r"notes.txt is not a Python file"):
        load(str(tmp_path / "notes.txt"))


@pytest.mark.parametrize("name", ["a/b", "../a", "", " ", "a.b", "a\n", "-a"])
def test_a_name_of_an_eval_can_name_a_file(name):
    """The name is in hypotheses.NAME.jsonl, alignment.NAME.png and paths of overrides."""
    experiment = tiny.experiment()
    with pytest.raises(ValueError, match=r"names of files: letters, digits and _ \+ - are possible"):
        replace(experiment, evals={name: experiment.validation})
    assert "dev-other_2+3" in replace(experiment, evals={"dev-other_2+3": experiment.validation}).evals


def test_no_eval_takes_the_name_of_the_validation_split():
    """Its hypotheses would replace those of the validation split, and tuning could not tell the two apart."""
    experiment = tiny.experiment()
    with pytest.raises(ValueError, match="evals has the name validation, which files and commands have for the split"):
        replace(experiment, evals={"validation": experiment.evals["test"]})
