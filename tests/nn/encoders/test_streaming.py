"""Streaming encoders: the concatenated positions of the windows are those of the whole utterance."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.nn import ConvSubsampling, Encoder, LatencyControlledBlstm, VggSubsampling
from tests.nn.encoders.kinds import BINS, ENCODERS
from tests.nn.tiny import listener

LENGTHS = np.array([26, 24, 9, 1, 0])
STREAMING: dict[str, tuple[Encoder, int]] = {  # and chunks in a window
    "pyramid": (listener(time_reduction=(1, 2, 3), bidirectional=False), 1),
    "subsampling, GRU, maxima": (
        listener(
            time_reduction=(1, 2), subsampling=ConvSubsampling((2, 3)), cell="gru", pooling="max", bidirectional=False
        ),
        1,
    ),
    "skipping, projected": (listener(time_reduction=(1, 2), pooling="skip", projection=3, bidirectional=False), 2),
    "chunks, subsampling": (
        LatencyControlledBlstm(3, (2, 1), chunk=8, lookahead=4, subsampling=ConvSubsampling((2,))),
        1,
    ),
    "look-ahead longer than a chunk": (LatencyControlledBlstm(3, (1,), chunk=3, lookahead=5), 2),
    "no look-ahead": (LatencyControlledBlstm(3, (2,), chunk=6, lookahead=0), 1),
}


def compiled(kind: str):
    """Returns the module, chunks in a window, and the compiled passes over whole utterances and over a window."""
    module, chunks = STREAMING[kind]
    variables = jax.jit(functools.partial(module.init, training=None))(
        jax.random.key(3), jnp.zeros((1, 12, BINS)), jnp.array([12])
    )
    whole = jax.jit(functools.partial(module.apply, variables, training=None))
    window = jax.jit(functools.partial(module.apply, variables, method="advance"))
    return module, chunks, whole, window


def streamed(module: Encoder, window, frames_btf: np.ndarray, lengths: np.ndarray, chunks: int) -> list[np.ndarray]:
    """Returns the real positions of every example, encoded window by window, with garbage after its last frame."""
    own = chunks * module.chunk_spec.chunk
    size = own + module.chunk_spec.lookahead
    state = module.initial_state(len(lengths), BINS)
    found = [[] for _ in lengths]
    for start in range(0, int(lengths.max()), own):
        now_btf = np.full((len(lengths), size, BINS), 1e3, np.float32)
        real = np.clip(lengths - start, 0, size)
        for row, count in enumerate(real):
            now_btf[row, :count] = frames_btf[row, start : start + count]
        hidden_bkd, real_b, state = window(jnp.asarray(now_btf), jnp.asarray(real), state)
        assert hidden_bkd.shape[1] == own // module.stride
        np.testing.assert_array_equal(real_b, np.minimum(-(-real // module.stride), own // module.stride))
        for row, count in enumerate(real_b):
            found[row].append(np.asarray(hidden_bkd[row, :count]))
    return [np.concatenate(pieces) for pieces in found]


@pytest.mark.parametrize("kind", STREAMING)
def test_windows_side_by_side_are_the_whole(rng, kind):
    """Lengths that end within a chunk, with one, within a look-ahead, after one frame, and before it."""
    module, chunks, whole, window = compiled(kind)
    frames_btf = rng.normal(size=(len(LENGTHS), LENGTHS.max(), BINS)).astype(np.float32)
    hidden_bsd, real_b = whole(jnp.asarray(frames_btf), jnp.asarray(LENGTHS))
    for row, found in enumerate(streamed(module, window, frames_btf, LENGTHS, chunks)):
        np.testing.assert_allclose(found, hidden_bsd[row, : real_b[row]], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (listener(), "Listener.bidirectional is True"),
        (
            listener(bidirectional=False, subsampling=VggSubsampling(channels=(2,), time_pools=(2,), bin_pools=(2,))),
            "VggSubsampling sees",
        ),
        (LatencyControlledBlstm(3, (1,), 4, 2, subsampling=VggSubsampling((2,), (2,), (2,))), "VggSubsampling sees"),
        (ENCODERS["conformer"], "Conformer encodes whole utterances; a stream needs LatencyControlledBlstm"),
        (ENCODERS["transformer, rotary, causal, scanned"], "TransformerEncoder encodes whole utterances"),
        (ENCODERS["TDS"], "Tds encodes whole utterances"),
        (ENCODERS["QuartzNet"], "QuartzNet encodes whole utterances"),
        (ENCODERS["CRDNN"], "Crdnn encodes whole utterances"),
    ],
)
def test_what_needs_whole_utterances_says_so(module, message):
    with pytest.raises(ValueError, match=message):
        module.chunk_spec  # noqa: B018 - a property that raises
