"""Tests of placement for decoding: shares of examples, replicated variables, and equal results on one and four devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.decode import Beam, LengthReward, MaxTokens, NoRepeatNgram
from jaxasr.scale import placement
from tests.decode.toy_model import batch_of, toy


@pytest.mark.parametrize(("parallelism", "devices"), [("jit", 1), ("pmap", 4), ("mesh", 4)])
def test_examples_are_shared_out_and_variables_are_whole(parallelism, devices):
    here = placement(parallelism)
    rows = jnp.zeros((8, 3))
    odd = jnp.zeros((6, 3))
    assert here.mesh.size == devices
    assert {shard.data.shape for shard in here.shared(rows, here.host_shard([8])).addressable_shards} == {
        (8 // devices, 3)
    }
    assert {shard.data.shape for shard in here.shared(odd, here.host_shard([6])).addressable_shards} == {
        (6, 3)
    }  # 6 for 4: all of them for all
    assert {shard.data.shape for shard in here.whole(rows).addressable_shards} == {(8, 3)}


def test_a_search_over_four_devices_finds_what_one_finds(rng):
    model = toy(5, seed=2, sharpness=2.0)
    batch = batch_of(rng, 6, 3, 5, 2, 6, 4, 1, padding_rows=1)
    scorers = (LengthReward(0.1), NoRepeatNgram(2, 3))
    beam = Beam(3, nbest=2, ctc_weight=0.3, length_norm=0.5, max_tokens=MaxTokens(1.0, 2), scorers=scorers)
    find = jax.jit(lambda model, batch: beam(model, batch))
    found = [
        find(here.whole(model), here.shared(batch, here.host_shard([8])))
        for here in (placement("jit"), placement("mesh"))
    ]
    assert len(found[1].tokens_bwu.sharding.device_set) == 4
    for one, four in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, four, rtol=1e-5, atol=1e-6)
