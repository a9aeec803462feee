"""Random search and Latin hypercubes: values within bounds, spread as they say, the same for the same seed."""

import itertools
import math

import numpy as np
import pytest

from jaxasr.experiment import LogUniform, OneOf, Uniform, WholeUniform, latin_hypercube, random_search, variants

SPACE = {"a.rate": LogUniform(1e-4, 1e-2), "b": Uniform(0.0, 0.5), "c": WholeUniform(2, 5), "d": OneOf(("x", "y"))}


@pytest.mark.parametrize("generator", [random_search, latin_hypercube])
def test_values_lie_within_their_bounds_and_are_the_same_again(generator):
    found = dict(generator(SPACE, count=40, seed=1))
    assert list(found)[:2] == [f"{name}-{n:03}" for name in {next(iter(found))[:-4]} for n in (0, 1)]
    for values in found.values():
        assert list(values) == list(SPACE)
        assert 1e-4 <= values["a.rate"] <= 1e-2
        assert 0 <= values["b"] <= 0.5
    assert {values["c"] for values in found.values()} == {2, 3, 4, 5}
    assert {values["d"] for values in found.values()} == {"x", "y"}
    assert dict(generator(SPACE, count=40, seed=1)) == found
    assert dict(generator(SPACE, count=40, seed=2)) != found


def test_more_random_variants_keep_the_first_ones():
    few = list(random_search(SPACE, count=5, seed=0))
    assert list(random_search(SPACE, count=9, seed=0))[:5] == few


def test_every_part_of_a_latin_hypercube_has_one_variant():
    found = [values for _, values in latin_hypercube(SPACE, count=20, seed=3)]
    parts = sorted(math.floor(20 * values["b"] / 0.5) for values in found)
    assert parts == list(range(20))
    logs = sorted(math.floor(20 * math.log(values["a.rate"] / 1e-4) / math.log(100)) for values in found)
    assert np.abs(np.array(logs) - np.arange(20)).max() <= 1  # 4 digits may cross a border
    assert sum(values["d"] == "x" for values in found) == 10


def test_quantiles_reach_both_ends():
    whole = [WholeUniform(2, 5).at(quantile) for quantile in np.linspace(0, 1, 400, endpoint=False)]
    assert [len(list(group)) for _, group in itertools.groupby(whole)] == [100] * 4
    assert LogUniform(1e-4, 1e-2).at(0.5) == pytest.approx(1e-3)
    assert Uniform(1.0, 3.0).at(0.123456789) == 1.247


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(1.0, 1.0), "the lower one first"),
        (lambda: Uniform(0.0, math.inf), "bounds|finite number"),
        (lambda: LogUniform(0.0, 1.0), "only above 0"),
        (lambda: WholeUniform(5, 2), "the lower one first"),
        (lambda: OneOf(()), "a value at least"),
        (lambda: next(random_search({}, count=3, seed=0)), "3 variants of 0 fields"),
        (lambda: next(latin_hypercube(SPACE, count=0, seed=0)), "0 variants of 4 fields"),
    ],
)
def test_spaces_without_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_experiment_file_yields_them_as_variants(tmp_path):
    file = tmp_path / "file.py"
    file.write_text(
        '''"""A search."""
from jaxasr.experiment import OneOf, WholeUniform, random_search
from tests import tiny_experiments as tiny


def experiment():
    return tiny.experiment()


def search():
    yield from random_search({"seed": WholeUniform(0, 99), "steps": OneOf((160, 320))}, count=3, seed=0)
'''
    )
    found = variants(f"{file}:search")
    assert list(found) == ["random-000", "random-001", "random-002"]
    assert all(one.steps in (160, 320) for one in found.values())
