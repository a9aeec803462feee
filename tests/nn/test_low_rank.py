"""Low-rank adapters: nothing changes at first, they alone are trained, and merged layers compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import nn
from jaxasr.nn.low_rank import merged
from jaxasr.records import Sum
from jaxasr.training import ALL_BUT_ADAPTERS, Adam, Constant, Freeze, make_step, new_state
from jaxasr.training.checkpoints import flat_tree
from tests.nn.tiny import VOCAB, batch_of

FREEZE = Freeze((ALL_BUT_ADAPTERS,))


def model_of(adapters: nn.LowRank = nn.LowRank(("attention", "feed/widen"), rank=2)):
    """The layers of the encoder are in a scan, that of the decoder is not."""
    return nn.Seq2Seq(
        frontend=nn.LogMel(bins=8),
        encoder=nn.TransformerEncoder(2, 8, 2, nn.TimeConvSubsampling((8, 8)), layers="scan"),
        decoder=nn.TransformerDecoder(1, 8, 2, nn.DotAttention(8, 2), vocab=VOCAB),
        adapters=adapters,
    )


def logits_of(model, variables, batch):
    return jax.jit(lambda v: model.apply(v, batch, step=None).logits_buv)(variables)


@pytest.fixture(scope="module")
def trained():
    """The model, its variables before and after three steps on the adapters alone, and the state of the optimizer."""
    model = model_of()
    batch = jax.tree.map(jnp.asarray, batch_of(np.random.default_rng(0), (6_000, 4_800), (3, 2)))
    variables = jax.jit(lambda key: model.init(key, batch, step=None))(jax.random.key(0))
    optimizer = FREEZE.without_state(Adam(Constant(0.01), weight_decay=0.1).build())

    def criterion(logits_buv, batch):
        return {"loss": Sum(jnp.sum(jnp.square(logits_buv - 1)), jnp.ones(()))}

    def apply(variables, batch, step, streams):
        return model.apply(variables, batch, step=None).logits_buv

    step = jax.jit(make_step(apply, criterion, optimizer, ema_decay=0.0, freeze=FREEZE))
    state = new_state(variables, optimizer, jax.random.key(0))
    for _ in range(3):
        state, _ = step(state, batch)
    return model, batch, variables, {**variables, "params": state.params}, state.optimizer


def test_a_fresh_adapter_changes_no_output(trained):
    model, batch, variables, _, _ = trained
    flat = flat_tree.flatten(variables)
    without = {path: leaf for path, leaf in flat.items() if "low_rank" not in path}
    assert len(without) < len(flat)
    plain = model.clone(adapters=None)
    like = jax.eval_shape(lambda: plain.init(jax.random.key(0), batch, step=None))
    found = logits_of(plain, flat_tree.unflatten(like, without), batch)
    np.testing.assert_array_equal(logits_of(model, variables, batch), found)


def test_merged_layers_compute_the_same(trained):
    model, batch, before, after, _ = trained
    flat = merged({path: np.asarray(leaf) for path, leaf in flat_tree.flatten(after).items()}, model.adapters)
    plain = model.clone(adapters=None)
    like = jax.eval_shape(lambda: plain.init(jax.random.key(0), batch, step=None))
    assert flat.keys() == flat_tree.flatten(like).keys()
    expected = logits_of(model, after, batch)
    np.testing.assert_allclose(logits_of(plain, flat_tree.unflatten(like, flat), batch), expected, atol=1e-5)
    assert float(jnp.max(jnp.abs(expected - logits_of(model, before, batch)))) > 1e-3  # the adapters did something


def test_the_base_keeps_its_bits_and_the_optimizer_has_the_adapters_alone(trained):
    _, _, before, after, optimizer = trained
    there, here = (flat_tree.flatten(variables["params"]) for variables in (before, after))
    for path, leaf in here.items():
        same = np.array_equal(leaf, there[path])
        assert same is ("low_rank" not in path), path
    states = [path for path, leaf in flat_tree.flatten(optimizer).items() if np.ndim(leaf) > 0]
    assert len(states) == 2 * sum("low_rank" in path for path in here)  # two moments
    assert all("low_rank" in path for path in states)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: nn.LowRank(()), "has no patterns"),
        (lambda: nn.LowRank(("(",)), r"the pattern '\(', which is no regular expression"),
        (lambda: nn.LowRank(("a",), rank=0), "rank"),
        (lambda: nn.LowRank(("a",), alpha=0.0), "alpha"),
    ],
)
def test_impossible_adapters_are_named(made, message):
    with pytest.raises(ValueError, match=message):
        made()


def test_a_pattern_that_finds_no_layer_is_named():
    model = model_of(adapters=nn.LowRank(("attention", "listener")))
    batch = jax.tree.map(jnp.asarray, batch_of(np.random.default_rng(0), (6_000, 4_800), (3, 2)))
    with pytest.raises(ValueError, match=r"\['listener'\], which find no linear layer; there are decoder/blocks_0/\S+"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), batch, step=None))
