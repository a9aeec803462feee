"""Language models by name: read from files and runs, fused in a search, told in its row, or refused."""

import shutil

import pytest

from jaxasr import decode, text, tree
from jaxasr.bench.search import ForbidEnd
from jaxasr.evaluation import evaluate_run
from jaxasr.evaluation.language_models import check_lms_used, load_language_models
from jaxasr.evaluation.ngram import token_words
from jaxasr.experiment import RuntimeConfig
from tests import tiny_experiments as tiny
from tests.trained_run import TRAIN, TrainedRun


@pytest.fixture(name="arpa")
def arpa_fixture(tmp_path):
    """Bigrams of the training transcripts' tokens."""
    words = token_words(tiny.TOKENS)
    sentences = [[words[token] for token in tiny.TOKENS.encode(each)] for each in TRAIN]
    text.write_arpa(text.estimate(sentences, 2), tmp_path / "letters.arpa")
    return tmp_path / "letters.arpa"


def test_a_fused_model_is_weighed_in_and_told_in_the_row(trained_run: TrainedRun, arpa, tmp_path):
    workdir = shutil.copytree(trained_run.workdir, tmp_path / "run")
    machine = RuntimeConfig(data_dir=trained_run.data_dir)
    fused = decode.Beam(3, scorers=(decode.LmScorer("letters", 0.2), decode.LengthReward(0.1)))
    experiment = tree.override(tiny.experiment(), {"evals.test.search": fused})
    rows = evaluate_run(experiment, workdir, machine, splits=["test"], lms={"letters": str(arpa)}, print_fn=str)
    assert rows[0]["search"]["scorers.0.weight"] == 0.2
    assert list(rows[0]["lms"]) == ["letters"]
    assert len(rows[0]["lms"]["letters"]) == 8
    with pytest.raises(ValueError, match="--lm letters=PATH"):
        evaluate_run(experiment, workdir, machine, splits=["test"], print_fn=str)


def test_places_that_hold_no_language_model_are_refused(trained_run: TrainedRun, tmp_path):
    for place, message in (
        ("lm.txt", "FILE.arpa, or FILE.py@WORKDIR"),
        (f"{tiny.__file__}@{trained_run.workdir}", "is Seq2Seq, a language model is needed"),
    ):
        with pytest.raises(ValueError, match=message):
            load_language_models({"x": place}, tiny.TOKENS)
    with pytest.raises(FileNotFoundError):
        load_language_models({"x": str(tmp_path / "none.arpa")}, tiny.TOKENS)


def test_a_model_that_no_search_asks_is_refused_for_it_would_change_nothing():
    fused = decode.Beam(3, nbest=2, scorers=(decode.LmScorer("letters", 0.2),))
    again = decode.Rescoring(fused, (decode.LmScorer("words", 0.2),))
    check_lms_used({"letters": "a.arpa"}, [decode.Greedy(), fused])
    check_lms_used({"letters": "a.arpa", "words": "b.arpa"}, [again])
    with pytest.raises(
        ValueError, match=r"--lm words=b.arpa: no search .* \(letters\); it needs decode.LmScorer\('words', WEIGHT\)"
    ):
        check_lms_used({"letters": "a.arpa", "words": "b.arpa"}, [fused])
    with pytest.raises(ValueError, match=r"\(none fuses any\)"):
        check_lms_used({"words": "b.arpa"}, [decode.Greedy(), None])


def test_a_scorer_of_somebody_elses_may_ask_any_model():
    check_lms_used({"words": "b.arpa"}, [decode.Beam(3, scorers=(ForbidEnd(),))])
