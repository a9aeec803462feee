"""The kind of every parameter of every module, against a list by hand."""

import functools
import re

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import nn
from jaxasr.parameters import decays, kinds, stacked_axes
from tests import zoo
from tests.nn.encoders.kinds import BINS
from tests.nn.tiny import seq2seq

# the last two names of a path without their numbers; all other parameters named `kernel` are matrices
MATRICES = {"forward/recurrent", "backward/recurrent", "kernels/recurrent", "gates/recurrent"}
READOUTS = {
    "readout/kernel",
    "attention/energy",
    "inner/energy",
    "energies/energy",
    "baseline/kernel",
    "place/kernel",
    "share/kernel",
    "move/kernel",
    "coverage/kernel",
    "inverse_fertility/kernel",
}
FILTERS = {
    "conv/kernel",
    "convolution/kernel",
    "convolution/filters",
    "attention/filters",
    "inner/filters",
    "energies/filters",
} | {f"{name}/filters" for name in ("first", "last", "block")}
KERNEL = re.compile(r".*/kernel")
HEADED = re.compile(r".*attention/inner/.*")


@functools.cache
def shapes(name):
    """Returns the shapes of the parameters of a part of the zoo, as a model has them."""
    frames, hidden, lengths = np.zeros((1, 8, BINS), np.float32), np.zeros((1, 3, 8), np.float32), np.array([3])
    tokens = np.array([[1, 2]])
    if name in zoo.LMS:
        module, inputs, options = zoo.LMS[name], (tokens, lengths, None), {"method": "read"}
    elif name in zoo.DECODERS:
        module, inputs, options = zoo.DECODERS[name], (hidden, lengths, tokens), {"training": None}
    else:
        module, inputs, options = zoo.ENCODERS[name], (frames, np.array([8])), {"training": None}
    made = jax.eval_shape(functools.partial(module.init, **options), jax.random.key(0), *inputs)["params"]
    return {"decoder" if name in zoo.DECODERS else "part": made}


def by_path(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def expected_kind(name, path):
    last = re.sub(r"_[\d_]+(?=/|$)|_\d+[ab](?=/)", "", "/".join(path.split("/")[-2:]))
    if path in ("decoder/fusion/gate/kernel",) and name == "speller, deep fusion":
        return "readout"
    if last.endswith("embed/embedding"):
        return "embedding"
    if last in READOUTS:
        return "readout"
    if last in FILTERS:
        return "filter"
    return "matrix" if last in MATRICES or KERNEL.fullmatch(last) else "vector"


@pytest.mark.parametrize("name", [*zoo.ENCODERS, *zoo.DECODERS, *zoo.LMS])
def test_every_parameter_of_every_module_is_what_it_is(name):
    params = shapes(name)
    expected = {path: expected_kind(name, path) for path in by_path(params)}
    assert by_path(kinds(params)) == expected
    assert by_path(decays(params)) == {path: kind != "vector" for path, kind in expected.items()}
    assert set(expected.values()) >= {"matrix", "vector"}
    stacked = {path: int("/blocks/" in path) + bool(HEADED.fullmatch(path)) for path in expected}
    assert by_path(stacked_axes(params)) == stacked
    ranks = {path: len(leaf.shape) - stacked[path] for path, leaf in by_path(params).items()}
    assert {path for path, kind in expected.items() if kind in ("matrix", "readout", "embedding")} <= {
        path for path, rank in ranks.items() if rank == 2
    }


def test_the_zoo_has_every_module():
    def classes(module):
        yield type(module)
        for field in module.__dataclass_fields__:
            value = getattr(module, field, None)
            if field not in ("parent", "name") and isinstance(value, linen.Module):
                yield from classes(value)

    found = {
        kind
        for model in (*zoo.ENCODERS.values(), *zoo.DECODERS.values(), *zoo.LMS.values(), seq2seq())
        for kind in classes(model)
    }
    public = {value for value in vars(nn).values() if isinstance(value, type) and issubclass(value, linen.Module)}
    interfaces = {
        nn.Attention,
        nn.AlignmentFn,
        nn.ScoredAttention,
        nn.QueryFreeAttention,
        nn.Encoder,
        nn.Decoder,
        nn.Fusion,
        nn.Lm,
        nn.Subsampling,
    }
    assert public - found - interfaces == set()


def test_norms_over_bins_and_channels_are_vectors():
    norms = {path: leaf for path, leaf in by_path(shapes("TDS")).items() if "norm" in path}
    assert {len(leaf.shape) for leaf in norms.values()} == {2}
    assert {by_path(kinds(shapes("TDS")))[path] for path in norms} == {"vector"}


def test_layers_in_a_scan_are_layers_apart():
    layer = {"kernel": jnp.ones((4, 5)), "bias": jnp.ones(5), "norm": {"scale": jnp.ones(5)}}
    apart = {"encoder": {f"block_{number}": layer for number in range(3)}}
    scanned = {"encoder": {"blocks": jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), layer)}}
    expected = {"kernel": "matrix", "bias": "vector", "norm": {"scale": "vector"}}
    assert [kinds(apart)["encoder"]["block_0"], kinds(scanned)["encoder"]["blocks"]] == [expected] * 2


def test_heads_in_a_scan_have_two_stacked_axes_and_another_inner_has_none():
    inner = {"query": {"kernel": jnp.ones((3, 2, 4, 5)), "bias": jnp.ones((3, 2, 5))}}
    params = {"blocks": {"reader": {"inner": inner, "values": {"kernel": jnp.ones((3, 4, 4))}}}}
    assert kinds(params)["blocks"]["reader"]["inner"] == {"query": {"kernel": "matrix", "bias": "vector"}}
    assert stacked_axes(params)["blocks"]["reader"]["inner"]["query"] == {"kernel": 2, "bias": 2}
    alone = {"attention": {"inner": {"query": {"kernel": jnp.ones((4, 5))}}}}
    assert kinds(alone) == {"attention": {"inner": {"query": {"kernel": "matrix"}}}}


def test_unknown_arrays_decay_by_their_rank_and_are_no_matrices():
    params = {"table": jnp.ones((2, 3)), "a": jnp.ones((1, 2, 3)), "b": jnp.ones(4), "c": jnp.ones(())}
    assert kinds(params) == {"table": "filter", "a": "filter", "b": "vector", "c": "vector"}
    assert decays(params) == {"table": True, "a": True, "b": False, "c": False}
    assert kinds(jnp.ones((2, 3))) == "filter"
