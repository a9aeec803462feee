"""References to experiments and the variants that a generator yields; what does not fit is named before anything starts."""

import pytest

from jaxasr import nn, tree
from jaxasr.experiment import load, variants
from tests import tiny_experiments as tiny
from tests.trained_run import TINY

BEGIN = "from tests.tiny_experiments import experiment\n\n\n"


@pytest.fixture
def generator(tmp_path):
    """`generator(body)` is a reference to one in a file whose experiment is `tiny.experiment`."""

    def generator(body: str) -> str:
        path = tmp_path / "file.py"
        path.write_text(f"{BEGIN}def some():\n    {body}\n")
        return f"{path}:some"

    return generator


def test_variants_are_the_experiment_with_overrides_in_the_order_they_came(generator):
    reference = generator('yield "wide-1", {"seed": 1, "model.encoder.width": 32}\n    yield "a=0.5", {}')
    built = variants(reference, {"steps": "40", "eval_every": 20, "save_every": 20})
    assert list(built) == ["wide-1", "a=0.5"]
    assert [(variant.seed, variant.model.encoder.width, variant.steps) for variant in built.values()] == [
        (1, 32, 40),
        (0, 16, 40),
    ]


def test_a_variant_may_have_another_module(generator):
    body = 'from jaxasr import nn\n    yield "additive", {"model.decoder.attention": nn.AdditiveAttention(8)}'
    built = variants(generator(body))["additive"]
    assert built.model.decoder.attention == nn.AdditiveAttention(8)


def test_one_variant_has_a_reference_of_its_own(generator):
    reference = generator('yield "one", {"seed": 1}\n    yield "two", {"seed": 2}')
    expected = tree.override(tiny.experiment(), {"seed": 2, "steps": 320})
    assert tree.fingerprint(load(f"{reference}:two", {"steps": "320"})) == tree.fingerprint(expected)
    with pytest.raises(KeyError, match="has no variant 'three'; it has one, two"):
        load(f"{reference}:three")
    with pytest.raises(ValueError, match=r"some yields variants; write .*:some:VARIANT, one of one, two"):
        load(reference)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("yield from ()", "yields no variant; it has to yield"),
        ('yield "a", {}\n    yield "a", {"seed": 1}', "yields two variants named 'a'; each needs a name of its own"),
        ('yield "a/b", {}', "yields a variant named 'a/b'; a name becomes a folder"),
        ('yield ".", {}', r"yields a variant named '\.'"),
        ('yield "a"', r"yields a str; a variant is \(name, overrides\)"),
        ('yield "a", 3', "yields a tuple; a variant is"),
        ("return experiment()", "yields a Experiment; a variant is"),
        (
            'yield "w", {"model.encoder.widht": 4}',
            r"variant 'w' of .*:some: model.encoder: Listener has no field 'widht'",
        ),
        ('yield "w", {"model.decoder.vocab": 9}', "variant 'w' of .*:some: model.decoder.vocab=9 but the tokenizer"),
    ],
)
def test_what_is_no_sweep_is_refused(generator, body, message):
    with pytest.raises(ValueError, match=message):
        variants(generator(body))


def test_a_sweep_names_its_generator():
    with pytest.raises(ValueError, match=r"names no generator; write .*tiny_experiments.py:GENERATOR"):
        variants(str(TINY))
