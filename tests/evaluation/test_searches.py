"""The search that somebody asks for by name, by field and by tuned numbers, and which splits such numbers are for."""

import json
from pathlib import Path

import pytest

from jaxasr import tree
from jaxasr.decode import Beam, CtcGreedy, Greedy, LengthReward, MaxTokens, NoRepeatNgram, Rescoring
from jaxasr.evaluation.searches import (
    named_searches,
    read_tuned,
    render_search,
    search_for_files,
    select_search,
    tuned_changes,
)
from tests import tiny_experiments as tiny
from tests import tiny_lm

REWARDED = Beam(3, scorers=(LengthReward(0.5),))


def experiment(**searches):
    """The tiny one with these searches, by split."""
    changes = {
        f"evals.{name}.search" if name != "validation" else "validation.search": each for name, each in searches.items()
    }
    return tree.override(tiny.experiment(), changes)


@pytest.fixture(name="tuned")
def tuned_fixture(tmp_path) -> Path:
    """What `jaxasr tune-decoding` writes, for REWARDED."""
    path = tmp_path / "tuned.json"
    kept = {"split": "dev", "of": render_search(REWARDED), "search": {"scorers.0.weight": "0.75", "ctc_weight": "0.25"}}
    path.write_text(json.dumps(kept))
    return path


def test_files_are_heard_with_what_results_are_of():
    shared = experiment(validation=Greedy(), train=Beam(4), test=Beam(4))
    assert search_for_files(shared) == select_search(shared) == Beam(4)
    differing = experiment(validation=Greedy(), train=Beam(4), test=Beam(5))
    assert search_for_files(differing) == select_search(differing) == Greedy()


def test_a_search_has_the_name_of_its_split_or_is_a_plain_one():
    here = experiment(validation=Greedy(MaxTokens(0.5, 3)), train=Beam(4), test=REWARDED)
    there = named_searches(here)
    assert list(there) == ["validation", "train", "test", "greedy", "beam", "ctc"]
    assert select_search(here, "test") == REWARDED
    assert select_search(here, "greedy") == Greedy(MaxTokens(0.5, 3))
    assert select_search(here, "ctc") == CtcGreedy()
    beam = select_search(here, "beam", {"width": "20", "ctc_weight": "0.5"})
    assert beam == Beam(20, length_norm=1.0, ctc_weight=0.5, max_tokens=MaxTokens(0.5, 3))
    twice = Rescoring(Beam(4, nbest=2, max_tokens=MaxTokens(0.5, 3)), (LengthReward(0.1),))
    assert select_search(experiment(validation=twice), "greedy") == Greedy(MaxTokens(0.5, 3))
    with pytest.raises(ValueError, match="no search 'beem'; there are validation, train, test, greedy, beam, ctc"):
        select_search(here, "beem")
    with pytest.raises(ValueError, match="Beam has no field 'widht'"):
        select_search(here, "beam", {"widht": "20"})


def test_without_a_ctc_head_there_is_no_plain_search_that_needs_one():
    there = named_searches(tree.override(experiment(), {"model.ctc": None, "objective.ctc_weight": 0.0}))
    assert "ctc" not in there
    assert there["beam"] == Beam(10, length_norm=1.0)


def test_a_language_model_hears_nothing():
    with pytest.raises(ValueError, match="a language model: it hears nothing"):
        select_search(tiny_lm.experiment())


def test_tuned_numbers_go_to_the_search_they_were_tuned_with(tuned):
    wider = Beam(9, nbest=2, ctc_weight=0.1, scorers=(LengthReward(0.0),))
    here = experiment(validation=Greedy(), train=Greedy(), test=wider)
    changes = tuned_changes(tuned, here)
    assert changes == {"evals.test.search.scorers.0.weight": "0.75", "evals.test.search.ctc_weight": "0.25"}
    assert tuned_changes(tuned, here, ["test"]) == changes
    found = Beam(9, nbest=2, ctc_weight=0.25, scorers=(LengthReward(0.75),))
    assert tree.override(here, changes).evals["test"].search == found
    assert select_search(here, tuned=tuned) == found
    assert select_search(here, "test", {"ctc_weight": "0.5"}, tuned).ctc_weight == 0.5  # pyright: ignore
    with pytest.raises(
        ValueError, match=r"tuned.json has scorers.0.weight=0.75 .* for the search of dev, and train have"
    ):
        tuned_changes(tuned, here, ["test", "train"])
    with pytest.raises(ValueError, match="and validation have another one"):
        select_search(here, "validation", tuned=tuned)


@pytest.mark.parametrize(
    "another",
    [Greedy(), Beam(3), Beam(3, length_norm=1.0, scorers=(LengthReward(0.5),)), Beam(3, scorers=(NoRepeatNgram(),))],
)
def test_another_search_does_not_get_them(tuned, another):
    with pytest.raises(ValueError, match="and train, test have another one"):
        tuned_changes(tuned, experiment(train=another, test=another))


def test_numbers_of_a_first_pass_hold_for_another_width_of_it(tmp_path):
    def twice(first: Beam) -> Rescoring:
        return Rescoring(first, (LengthReward(0.5),))

    kept = {"split": "dev", "of": render_search(twice(Beam(3, nbest=2))), "search": {"first.length_norm": "0.5"}}
    (tmp_path / "tuned.json").write_text(json.dumps(kept))
    tuned = read_tuned(tmp_path / "tuned.json")
    assert tuned.matches(twice(Beam(8, nbest=4, length_norm=1.0)))
    assert not tuned.matches(twice(Beam(8, nbest=4, ctc_weight=0.1)))
    assert not tuned.matches(Beam(8, nbest=4))


def test_a_file_that_tune_did_not_write_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="`jaxasr tune-decoding` writes it"):
        read_tuned(tmp_path / "tuned.json")
    good: dict[str, object] = {"split": "dev", "search": {"width": "3"}, "of": ["width = 3"]}
    wrong: list[dict[str, object]] = [
        {"split": 3},
        {"search": 3},
        {"search": None},
        {"search": {}},
        {"search": {"width": 3}},
        {"search": [["width", "3"]]},
        {"search": {"width": ["3"]}},
        {"of": 3},
        {"of": "width = 3"},
        {"of": [3]},
        {"of": None},
    ]
    contents = ["{}", "[]", "null", "3", "weight", "\xff", "[" * 100_000, '{"split": "dev", "search": {"a": "1"}}']
    for content in contents + [json.dumps(good | entry) for entry in wrong]:
        (tmp_path / "tuned.json").write_text(content, encoding="latin-1")
        with pytest.raises(ValueError, match="is not what `jaxasr tune-decoding` writes"):
            read_tuned(tmp_path / "tuned.json")
