"""The task of tones. The fast tests learn it with one mechanism; the whole zoo is a slow test."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jaxasr import tree
from jaxasr.bench import run_suite, train_and_test
from jaxasr.experiment.experiment import load_function

ZOO = Path(__file__).parents[2] / "experiments" / "alignable" / "zoo.py"
LESSONS = dict(load_function(f"{ZOO}:attentions")())
EVERY = {
    f"{kind}: {name}": lesson
    for kind in ("attentions", "encoders", "decoders")
    for name, lesson in load_function(f"{ZOO}:{kind}")()
}
SHORT = """
from dataclasses import replace
from jaxasr.run.experiment import function_of

def two():
    for name, lesson in list(function_of({zoo!r})())[:2]:
        yield name, replace(lesson, steps=2, test_examples=2, lengths=(2, 3), tones=replace(lesson.tones, longest=2))

def twins():
    yield from [("a", next(two())[1])] * 2

def unlike():
    for number, (name, lesson) in enumerate(two()):
        yield name, replace(lesson, lengths=(2, 3 + number))

def nothing():
    yield from ()

def numbers():
    yield 1
"""


def test_location_aware_attention_solves_it_and_reads_four_times_as_far():
    solved = train_and_test("location-aware", replace(LESSONS["location-aware"], steps=800))
    assert solved.train_form < 0.01
    assert solved.decode_form < 0.01
    assert solved.by_length[40] < 0.1


UNSOLVED = {
    "attentions: fixed vector": "theory: see below",
    "attentions: monotonic, cold": "never soft: see below",
    "attentions: sampled (REINFORCE), cold": "never soft",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EVERY if name not in UNSOLVED])
def test_every_mechanism_solves_it_in_both_of_its_forms(name):
    solved = train_and_test(name, EVERY[name])
    assert solved.train_form < 0.03
    assert solved.decode_form < 0.03


@pytest.mark.slow
def test_a_hard_attention_that_never_was_soft_reads_otherwise_than_it_was_trained():
    """What the warm start is for: in expectation it learns, and its hard form does not follow."""
    cold = train_and_test("monotonic, cold", LESSONS["monotonic, cold"])
    assert cold.train_form < 0.03
    assert cold.decode_form > 0.1


@pytest.mark.slow
def test_one_vector_holds_a_short_string_and_not_a_long_one():
    """What theory says: the vector's size is the same however long the string is (Cho et al. 2014, 1409.1259, section 3)."""
    solved = train_and_test("fixed vector", LESSONS["fixed vector"])
    errors = [solved.by_length[length] for length in (2, 5, 10, 20)]
    assert errors == sorted(errors)
    assert errors[0] < 0.1
    assert errors[2] > 0.2


@pytest.fixture
def lessons(tmp_path):
    file = tmp_path / "lessons.py"
    file.write_text(SHORT.format(zoo=f"{ZOO}:attentions"))
    return file


def test_rows_are_kept_and_what_is_done_is_not_done_again(lessons, tmp_path):
    results = tmp_path / "results.jsonl"
    *told, table, picture = run_suite(f"{lessons}:two", results)
    assert [json.loads(line)["name"] for line in told] == list(LESSONS)[:2]
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert {"commit", "errors_at_3", "step_to_first", "lesson"} <= set(rows[0])
    assert list(LESSONS)[1] in table
    assert list(run_suite(f"{lessons}:two", results)) == [table, picture]
    assert (tmp_path / "two.png").stat().st_size > 1_000
    assert len(results.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        ("twins", "yields 'a' twice"),
        ("nothing", "yields nothing"),
        ("unlike", r"lessons of other lengths: \(2, 3\), \(2, 4\); one table"),
        ("numbers", "it must yield pairs of a name and a Lesson"),
        ("three", "has no function 'three'"),
    ],
)
def test_a_generator_that_is_none_is_refused(lessons, tmp_path, generator, message):
    with pytest.raises(ValueError, match=message):
        list(run_suite(f"{lessons}:{generator}", tmp_path / "results.jsonl"))


def test_a_file_without_a_generator_is_refused(lessons, tmp_path):
    with pytest.raises(ValueError, match=r"names no generator; write .*\.py:GENERATOR"):
        list(run_suite(str(lessons), tmp_path / "results.jsonl"))


def test_every_lesson_has_a_fingerprint_of_its_own():
    assert len({tree.fingerprint(lesson) for lesson in LESSONS.values()}) == len(LESSONS)
