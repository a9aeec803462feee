"""A recogniser that compiles in seconds, with batches of a few tenths of a second at 1 kHz, for tests."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxasr import nn
from jaxasr.records import Batch, Training

VOCAB = 6
RATE_HZ = 1_000
SAMPLES = (400, 250, 20, 0)  # 38, 23, 0 and 0 frames
TOKENS = (4, 2, 1, 0)

FRONTEND = nn.LogMel(bins=4, rate_hz=RATE_HZ, low_hz=50.0, high_hz=450.0)
AUGMENT = nn.SpecAugment(freq_masks=1, freq_bins=2, time_masks=1, time_frames=6, warp_frames=3)
ADDITIVE = nn.AdditiveAttention(5)
LOCATION = nn.LocationAttention(5, filters=2, kernel_size=3)


def listener(**changes) -> nn.Listener:
    return dataclasses.replace(nn.Listener(4, time_reduction=(1, 2)), **changes)


def speller(**changes) -> nn.Speller:
    return dataclasses.replace(nn.Speller(1, 4, ADDITIVE, vocab=VOCAB, embedding=3), **changes)


def seq2seq(**changes) -> nn.Seq2Seq:
    """Returns a recogniser with all options: subsampling, pooling, location, CTC, noise, masks, dropout."""
    model = nn.Seq2Seq(
        frontend=FRONTEND,
        encoder=listener(time_reduction=(3,), subsampling=nn.ConvSubsampling((2,)), dropout=0.3),
        decoder=speller(attention=LOCATION, dropout=0.3),
        augment=AUGMENT,
        noise=nn.AddNoise(share=0.5, low_db=0.0, high_db=10.0),
        ctc=nn.CtcHead(VOCAB),
    )
    return dataclasses.replace(model, **changes)


def batch_of(rng: np.random.Generator, samples=SAMPLES, tokens=TOKENS) -> Batch:
    """Returns utterances of these lengths; one without tokens or samples is a row of padding."""
    wave_bn = np.zeros((len(samples), max(samples)), np.int16)
    tokens_bu = np.zeros((len(tokens), max(tokens)), np.int32)
    for row, (n, u) in enumerate(zip(samples, tokens, strict=True)):
        wave_bn[row, :n] = rng.normal(size=n) * 3_000
        tokens_bu[row, :u] = rng.integers(1, VOCAB, u)
    return Batch(
        wave_bn=wave_bn,
        sample_lengths_b=np.array(samples, np.int32),
        tokens_bu=tokens_bu,
        token_lengths_b=np.array(tokens, np.int32),
        ids_b=rng.integers(0, 2**32, len(samples), dtype=np.uint32),
        valid_b=np.array(samples) + np.array(tokens) > 0,
    )


def longer(batch: Batch, *, samples: int, tokens: int) -> Batch:
    """Returns the utterances in a larger shape."""
    return dataclasses.replace(
        batch,
        wave_bn=np.pad(batch.wave_bn, ((0, 0), (0, samples))),
        tokens_bu=np.pad(batch.tokens_bu, ((0, 0), (0, tokens))),
    )


def rows(batch: Batch, which) -> Batch:
    """Returns some of the utterances, in this order, in the shape of all."""
    return jax.tree.map(lambda leaf: leaf[which], batch)


def streams(seed: int = 7) -> dict[str, jax.Array]:
    """Returns the keys of the random streams of training."""
    augment, dropout = jax.random.split(jax.random.key(seed))
    return {"augment": augment, "dropout": dropout, "draw": jax.random.fold_in(augment, 1)}


def training_of(ids_b, step: int = 0) -> Training:
    """Returns the argument `training` of a layer."""
    return Training(jnp.asarray(ids_b), jnp.asarray(step))


def near(found, expected, *, rtol=1e-5, atol=1e-6) -> None:
    """Checks that trees of one structure have leaves that are equal up to rounding."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), found, expected)


def with_garbage(x_btd, lengths, *, extra: int = 0):
    """Returns the array with large numbers after the lengths, and `extra` positions more."""
    x_btd = np.pad(x_btd, ((0, 0), (0, extra), (0, 0)))
    spoilt_btd = x_btd.copy()
    spoilt_btd[np.arange(x_btd.shape[1]) >= np.array(lengths)[:, None]] = 1e3
    return jnp.asarray(spoilt_btd)
