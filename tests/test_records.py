"""Records that flow between the packages."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr.data import Shape
from jaxasr.records import STATIC, Batch, pytree


def test_a_blank_batch_is_padding_as_a_whole():
    batch = Batch.blank(Shape(samples=160, tokens=5, examples=3))
    assert batch.wave_bn.shape == (3, 160)
    assert batch.tokens_bu.shape == (3, 5)
    assert not batch.valid_b.any()
    for field, dtype in {
        "wave_bn": np.int16,
        "sample_lengths_b": np.int32,
        "ids_b": np.uint32,
        "valid_b": bool,
    }.items():
        value = getattr(batch, field)
        assert value.dtype == dtype
        assert not value.any()
    assert batch.sample_lengths_b is not batch.token_lengths_b  # a caller may fill one of them


@pytree
@dataclass(frozen=True)
class Cache:
    rows: Any
    prompt: int = dataclasses.field(default=0, metadata=STATIC)


def test_a_static_field_is_structure_and_no_leaf():
    cache = Cache(jnp.ones(3), prompt=2)
    assert len(jax.tree.leaves(cache)) == 1
    kept = jax.jit(lambda cache: jax.tree.map(lambda leaf: leaf[cache.prompt :], cache))(cache)
    assert (kept.prompt, kept.rows.shape) == (2, (1,))
    assert jax.tree.structure(cache) != jax.tree.structure(Cache(jnp.ones(3), prompt=1))
