"""Tests of the synthetic alignment task. The slow tests train every mechanism."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jaxasr import tree
from jaxasr.bench import run_suite, train_and_test
from jaxasr.experiment.files import load_function

MECHANISMS = Path(__file__).parents[2] / "experiments" / "alignable" / "mechanisms.py"
ATTENTIONS = dict(load_function(f"{MECHANISMS}:attentions")())
ALL_TASKS = {
    f"{kind}: {name}": task
    for kind in ("attentions", "encoders", "decoders")
    for name, task in load_function(f"{MECHANISMS}:{kind}")()
}
SHORT = """
from dataclasses import replace
from jaxasr.experiment.files import load_function

def two():
    for name, task in list(load_function({mechanisms!r})())[:2]:
        yield name, replace(task, steps=2, test_examples=2, lengths=(2, 3), tones=replace(task.tones, longest=2))

def same_name():
    yield from [("a", next(two())[1])] * 2

def other_lengths():
    for number, (name, task) in enumerate(two()):
        yield name, replace(task, lengths=(2, 3 + number))

def nothing():
    yield from ()

def numbers():
    yield 1
"""


@pytest.mark.slow
def test_location_aware_attention_solves_it_and_reads_four_times_as_far():
    result = train_and_test("location-aware", replace(ATTENTIONS["location-aware"], steps=800))
    assert result.train_form < 0.01
    assert result.decode_form < 0.01
    assert result.by_length[40] < 0.1


UNSOLVED = {
    "attentions: fixed vector": "theory: see below",
    "attentions: monotonic, from scratch": "never soft: see below",
    "attentions: sampled (REINFORCE), from scratch": "never soft",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL_TASKS if name not in UNSOLVED])
def test_every_mechanism_solves_it_in_both_of_its_forms(name):
    result = train_and_test(name, ALL_TASKS[name])
    assert result.train_form < 0.03
    assert result.decode_form < 0.03


@pytest.mark.slow
def test_a_hard_attention_that_never_was_soft_reads_otherwise_than_it_was_trained():
    """Without a warm start the expected alignment is learned, but the hard alignment in decoding is wrong."""
    cold = train_and_test("monotonic, from scratch", ATTENTIONS["monotonic, from scratch"])
    assert cold.train_form < 0.03
    assert cold.decode_form > 0.1


@pytest.mark.slow
def test_one_vector_holds_a_short_string_and_not_a_long_one():
    """The size of the vector does not grow with the string (Cho et al. 2014, 1409.1259, section 3)."""
    result = train_and_test("fixed vector", ATTENTIONS["fixed vector"])
    errors = [result.by_length[length] for length in (2, 5, 10, 20)]
    assert errors == sorted(errors)
    assert errors[0] < 0.1
    assert errors[2] > 0.2


@pytest.fixture
def tasks(tmp_path):
    """Writes a file of generators of short tasks."""
    file = tmp_path / "tasks.py"
    file.write_text(SHORT.format(mechanisms=f"{MECHANISMS}:attentions"))
    return file


def test_rows_are_kept_and_what_is_done_is_not_done_again(tasks, tmp_path):
    results = tmp_path / "results.jsonl"
    *lines, table, picture = run_suite(f"{tasks}:two", results)
    assert [json.loads(line)["name"] for line in lines] == list(ATTENTIONS)[:2]
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert {"commit", "errors_at_3", "step_to_first", "task"} <= set(rows[0])
    assert list(ATTENTIONS)[1] in table
    assert list(run_suite(f"{tasks}:two", results)) == [table, picture]
    assert (tmp_path / "two.png").stat().st_size > 1_000
    assert len(results.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        ("same_name", "yields 'a' twice"),
        ("nothing", "yields nothing"),
        ("other_lengths", r"tasks of other lengths: \(2, 3\), \(2, 4\); one table"),
        ("numbers", "it must yield pairs of a name and a ToyTask"),
        ("three", "has no function 'three'"),
    ],
)
def test_a_generator_that_is_none_is_refused(tasks, tmp_path, generator, message):
    with pytest.raises(ValueError, match=message):
        list(run_suite(f"{tasks}:{generator}", tmp_path / "results.jsonl"))


def test_a_file_without_a_generator_is_refused(tasks, tmp_path):
    with pytest.raises(ValueError, match=r"names no generator; write .*\.py:GENERATOR"):
        list(run_suite(str(tasks), tmp_path / "results.jsonl"))


def test_every_task_has_a_fingerprint_of_its_own():
    assert len({tree.fingerprint(task) for task in ATTENTIONS.values()}) == len(ATTENTIONS)
