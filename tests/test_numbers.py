"""Every numeric field of every part of an experiment refuses numbers that mean nothing when the part is built."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.linen as linen
import pytest

from jaxasr import data, decode, experiment, nn, text, training, tree
from jaxasr.experiment import RuntimeConfig, load
from jaxasr.tree.numbers import _numeric_fields
from tests import tiny_experiments as tiny
from tests import zoo

ROOT = Path(__file__).parents[1]
RATE = training.Constant(0.1)
LETTERS = text.Characters(" ABCD")
BEAM = decode.Beam(4, ctc_weight=0.3, end_threshold=1.5)
OTHERS = (
    *(kind(RATE) for kind in (training.Lion, training.Adafactor, training.Muon, training.Sgd, training.ScheduleFree)),
    training.Adam(RATE, clip_norm=1.0),
    training.AdaDelta(RATE, on_plateau=training.Newbob(0.5)),
    training.WarmupCosine(10, 20, 0.1),
    training.Noam(8, 10),
    training.Exponential(0.1, 0.9, 10),
    training.Distill(1.0),
    training.GuidedAttentionLoss(1.0),
    training.QuantityLoss(1.0),
    training.CtcSynchronous(1.0),
    training.CtcConsistency(1.0),
    training.Reinforce(),
    training.ExpectedErrors(BEAM),
    experiment.Uniform(0.1, 0.5),
    experiment.LogUniform(0.1, 0.5),
    experiment.WholeUniform(1, 5),
    training.WeightNoise(0.1),
    training.Objective(prior=(0.5, 0.5)),
    BEAM,
    decode.GreedyStream(),
    decode.AttentionStallRule(back=3),
    decode.NoRepeatNgram(),
    decode.SuppressTokens((1,), (2,)),
    decode.Hotwords(LETTERS, ("A",)),
    decode.Coverage(0.1),
    decode.LengthReward(0.1),
    decode.LmScorer("lm", 0.1),
    decode.InternalLm(0.1),
    data.Tones(),
    data.RecordingCondition(snr_db=3.0),
    data.KeepSeconds(1.0, 2.0),
    data.KeepShare(0.5, 1),
    data.KeepTokens(3),
    data.ChooseBuckets(2, seconds_per_batch=8.0),
    data.ChooseTokenBuckets(2, tokens_per_batch=80),
    experiment.Stage(10, ("model.encoder.width=4",)),
    RuntimeConfig(),
    nn.Chunks(2, before=1),
    nn.LowRank(("attention",)),
    nn.ConvSubsampling((2,)),
    nn.VggSubsampling((2,), (1,), (1,)),
)
ANY = {  # any finite number: weights of scores, decibels, slopes, beginnings of learned numbers
    "LmScorer.weight",
    "InternalLm.weight",
    "LengthReward.weight",
    "Hotwords.bonus",
    "AddNoise.low_db",
    "Tones.noise_db",
    "RecordingCondition.snr_db",
    "RecordingCondition.gain_db",
    "Monotonic.bias",
    "Uniform.low",
    "WholeUniform.low",
    "Crdnn.leak",
    "VggSubsampling.leak",
}
PAIRS = (
    "TransformerDecoder.alignment_heads",  # of a layer and a head: tests/nn/decoders/test_transformer.py
    "PartRates.factors",  # of a pattern and a rate: tests/training/test_freeze.py
    "RuntimeConfig.profile",  # of steps: tests/cli/test_numbers.py
)
NO_ZERO = {  # also where 0 would be a number of the kind
    "Newbob.factor",
    "ScheduleFree.b1",
}


def parts(node: Any) -> Iterator[Any]:
    """Yields the dataclasses of a tree."""
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        yield node
        for field in dataclasses.fields(node):
            if not (isinstance(node, linen.Module) and field.name in ("parent", "name")):
                yield from parts(getattr(node, field.name, None))
    elif isinstance(node, tuple):
        for item in node:
            yield from parts(item)
    elif isinstance(node, dict):
        yield from parts(tuple(node.values()))


def numeric(node: Any) -> dict[str, Any]:
    """Returns the fields of numbers by name."""
    hidden = ("parent", "name") if isinstance(node, linen.Module) else ()
    return {
        name: getattr(node, name)
        for name in _numeric_fields(type(node))
        if name not in hidden
        and f"{type(node).__name__}.{name}" not in PAIRS
        and not dataclasses.is_dataclass(getattr(node, name))
    }


TREES = (tiny.restless(), tiny.listening(), *zoo.MODELS.values(), *zoo.LMS.values(), *OTHERS)
PACKAGES = tuple(f"jaxasr.{name}." for name in ("nn", "decode", "training", "data", "experiment"))
POOL = {type(node): node for node in parts(TREES) if numeric(node) and type(node).__module__.startswith(PACKAGES)}
PROBES = (float("nan"), float("inf"), float("-inf"), 10**400, -(10**400), 2**63)


def public_numbers(kind: type) -> list[str]:
    """Returns the names of the fields of numbers that belong to the interface of a class."""
    return [name for name in _numeric_fields(kind) if not name.startswith("_")]


def refusal(node: Any, name: str, number: int | float) -> str:
    """Returns the message by which the node refuses the number in this field; empty if it takes it.

    In tests the initialiser checks types itself, so a number of another type is put into a bare instance for the check.
    """
    current, allowed = getattr(node, name), _numeric_fields(type(node))[name]
    if abs(number) < 2 and int not in allowed and float in allowed:
        number = float(number)
    value = (number,) * max(1, len(current)) if isinstance(current, tuple) else number
    if type(number) not in allowed:
        build = functools.partial(bare, node, name, value)
    else:
        build = functools.partial(dataclasses.replace, node, **{name: value})
    try:
        build()
    except ValueError as error:
        return str(error)
    return ""


def bare(node: Any, name: str, value: Any) -> None:
    """Checks the numbers of a copy whose initialiser was not called."""
    copy = object.__new__(type(node))
    vars(copy).update(vars(node) | {name: value})
    tree.check_numbers(copy)


@pytest.mark.parametrize("kind", sorted(POOL, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_numbers_that_mean_nothing_are_refused(kind):
    node = POOL[kind]
    for name in numeric(node):
        for number in PROBES:
            message = refusal(node, name, number)
            assert kind.__name__ in message, (name, number)
            assert name in message, (name, number)
        assert bool(refusal(node, name, -1)) == (f"{kind.__name__}.{name}" not in ANY), name


def test_zero_is_taken_where_it_means_something():
    """The fields that refuse 0 are sizes, counts, rates and temperatures; in all others 0 switches something off."""
    taken = {
        f"{kind.__name__}.{name}" for kind, node in POOL.items() for name in numeric(node) if not refusal(node, name, 0)
    }
    assert taken >= ANY
    assert not taken & NO_ZERO
    sizes = (
        "width",
        "depth",
        "heads",
        "bins",
        "rate_hz",
        "window_ms",
        "hop_ms",
        "vocab",
        "steps",
        "kernel_size",
        "eps",
    )
    assert not [field for field in taken if field.endswith(tuple(f".{size}" for size in sizes))]


def test_the_pool_has_every_public_dataclass_with_numbers():
    public = {
        value
        for module in (nn, decode, training, data, experiment)
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and public_numbers(value)
    }
    records = {"EvalBatch", "Padding", "PlanRow", "Lengths", "TrainingPlan", "Shape", "Contents", "PreparedCorpus"}
    records |= {
        "Metadata",
        "StreamingRecogniser",
        "BoundPipeline",
        "ExampleTable",
    }  # results of a run, not its settings
    records |= {
        "SignalLimits"
    }  # options of `prepare`, which have ranges of their own (tests/data/test_signal_level.py)
    records |= {
        "OneOf",
        "PartRates",
        "Memory",
        "TrainState",
        "ContextAndWeights",
        "Recogniser",
        "AttentionOutput",
        "BoundLm",
    }
    bases = {
        "Optimizer",
        "Attention",
        "AlignmentFn",
        "ScoredAttention",
        "Encoder",
        "Decoder",
        "Lm",
        "Fusion",
        "Subsampling",
    }
    missing = {kind.__name__ for kind in public} - {kind.__name__ for kind in POOL} - records - bases
    assert missing == set()


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("model.frontend.bins", "0", r"LogMel\.bins is 0; it must be more than 0"),
        ("model.frontend.window_ms", "nan", r"LogMel\.window_ms is nan; it must be a finite number"),
        ("model.frontend.high_hz", "9000", r"0 <= low_hz < high_hz <= 8000"),
        ("model.encoder.dropout", "inf", r"Listener\.dropout is inf"),
        ("validation.search", "None", None),
        ("evals.train.search.length_norm", "nan", r"Beam\.length_norm is nan; it must be a finite number"),
        ("optimizer.clip_norm", "1" + "0" * 400, r"Adam\.clip_norm takes numbers of at most 63 bits"),
        ("seed", "-1", r"Experiment\.seed is -1; it must be 0 or more"),
        ("ema_decay", "nan", r"Experiment\.ema_decay is nan"),
    ],
)
def test_an_experiment_refuses_them_by_the_command_line(path, text, message):
    with pytest.raises(ValueError, match=message):
        load(f"{ROOT / 'tests/tiny_experiments.py'}", {path: text})


def test_the_numbers_of_all_experiments_are_fine():
    for path in sorted((ROOT / "experiments").glob("*/*.py")):
        if "\ndef experiment(" in path.read_text():
            for node in parts(load(str(path))):
                tree.check_numbers(node)
