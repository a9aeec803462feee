"""The kinds of a model's parameters, by their paths, ranks and stacked axes: modules name them, optimizers ask for them.

Every question of what a parameter is has its answer here: which parameters decay and get noise, which are orthogonalised,
and which axes are those of a stack, so that a layer in a scan is trained as a layer of its own.
"""

import re
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

STACK = "blocks"  # in a path: the parameters of all layers are stacked on the first axis (nn/blocks.py)
HEADS = ("inner", "values")  # side by side: below the first, those of all heads are (nn/attention/multihead.py)

Kind = Literal[
    "matrix",  # of a product between hidden units
    "readout",  # of a product to tokens, or with a single number on one side: CTC heads, energies, gates, baselines
    "embedding",  # a table with one row a token
    "filter",  # of a convolution, and any other array of rank 2 or more
    "vector",  # biases, gains and offsets of norms of any rank, and any other array of rank 0 or 1
]

_VECTOR = re.compile(r"(.*_)?bias(_\d+)?|scale|gain|offset")  # the last name of a path
_MATRIX = ("kernel", "recurrent", "low_rank_a", "low_rank_b")


def kinds(params: Any) -> Any:
    """Returns the `Kind` of each parameter, in a tree of the same structure."""
    return _map(_kind, params)


def decays(params: Any) -> Any:
    """Returns True for each parameter with weight decay, L2 penalty and weight noise: all but the vectors.

    The papers of weight decay (Loshchilov and Hutter 2019, 1711.05101) and weight noise (Graves 2011) have them on all
    parameters. Biases and norms are left out as in the training of Transformers since BERT (Devlin et al. 2019, 1810.04805,
    its code): a norm undoes the scale of a matrix, not that of its own gain.
    """
    return _map(lambda names, shape, stacked: _kind(names, shape, stacked) != "vector", params)


def stacked_axes(params: Any) -> Any:
    """Returns the number of leading axes of each parameter that count layers of a scan or heads of a `MultiHead`."""
    return _map(lambda names, shape, stacked: stacked, params)


def _map(function: Callable[[tuple[str, ...], tuple[int, ...], int], Any], params: Any) -> Any:
    """Returns `function` of each parameter's names from the root, shape, and number of stacked axes."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    paths = [tuple(jax.tree_util.keystr((key,), simple=True) for key in path) for path, _ in leaves]
    modules = {path[:i] for path in paths for i in range(1, len(path))}
    found = [
        function(names, np.shape(leaf), _stacked(names, modules))
        for names, (_, leaf) in zip(paths, leaves, strict=True)
    ]
    return jax.tree_util.tree_unflatten(structure, found)


def _stacked(names: tuple[str, ...], modules: set[tuple[str, ...]]) -> int:
    inner, values = HEADS
    heads = sum(name == inner and (*names[:i], values) in modules for i, name in enumerate(names))
    return names.count(STACK) + heads


def _kind(names: tuple[str, ...], shape: tuple[int, ...], stacked: int) -> Kind:
    own = shape[stacked:]
    last = names[-1] if names else ""
    if len(own) < 2 or _VECTOR.fullmatch(last):
        return "vector"
    if any(name.startswith("embed") for name in names):
        return "embedding"
    if len(own) == 2 and (1 in own or "readout" in names):
        return "readout"
    return "matrix" if len(own) == 2 and last in _MATRIX else "filter"
