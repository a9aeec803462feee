"""Latency-controlled bidirectional LSTM layers: the whole past, and a bounded future."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.encoders.interface import ChunkSpec, Encoder
from jaxasr.nn.encoders.listener import StreamingEncoderState, apply_subsampling, check_subsampling_streams, reduce_time
from jaxasr.nn.layers import Dropout, check_rates
from jaxasr.nn.recurrent import LstmGates
from jaxasr.nn.subsampling import Subsampling
from jaxasr.ops.masks import valid_from_lengths, zero_padding
from jaxasr.ops.products import widened
from jaxasr.ops.recurrent.lstm import Carry, carried, lstm, lstm_from, zero_carry
from jaxasr.records import Training


class LatencyControlledBlstm(Encoder):
    """Bidirectional LSTM layers over chunks with a look-ahead, pyramidal like the `Listener`, with the same parameters.

    All layers see an utterance in windows: a chunk and the `ahead` frames behind it. In each layer the forward direction
    goes on from the chunk before, and runs into the look-ahead without handing that on; the backward direction starts
    afresh at the end of each window. Only the chunk's own positions come out. So an output never depends on a frame
    behind its window, however many layers there are (a front may see further: `ConvSubsampling` does not). Where the chunk is as
    long as the utterance, this is the bidirectional listener.

    The backward passes of all chunks are one batched scan, and so are the forward passes into the look-ahead.

    Source: Zhang et al. 2016, arXiv:1510.08983, section 3.2; Xue and Yan 2017, ICASSP.
    """

    width: int  # of one direction
    time_reduction: tuple[int, ...]  # neighbours put side by side before each layer
    chunk: int  # feature frames
    lookahead: int  # feature frames
    subsampling: Subsampling | None = None
    dropout: float = 0.0  # after every layer

    def __post_init__(self):
        if not self.time_reduction or min(self.time_reduction) < 1 or self.width < 1:
            raise ValueError(
                f"LatencyControlledBlstm has width {self.width} and pools {self.time_reduction}; it needs a positive width and one "
                "number of at least 1 for each layer, such as time_reduction=(1, 2, 2)"
            )
        if self.chunk < 1 or self.lookahead < 0 or self.chunk % self.stride or self.lookahead % self.stride:
            raise ValueError(
                f"LatencyControlledBlstm has chunk {self.chunk} and ahead {self.lookahead} at a stride of {self.stride} frames; both "
                f"must be multiples of it, such as {max(1, self.chunk // self.stride) * self.stride} and "
                f"{max(0, self.lookahead // self.stride) * self.stride}"
            )
        check_rates(self, "dropout")
        super().__post_init__()

    @property
    def stride(self) -> int:
        """Feature frames for one position of the output."""
        return (self.subsampling.stride if self.subsampling else 1) * math.prod(self.time_reduction)

    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], *, training: Training | None
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Hidden states, zero at padding, and their lengths. Dropout is on where `training` says whose it is."""
        hidden_bsd, lengths_b, _ = self._encode(frames_btf, lengths_b, training, None)
        positions = -(-frames_btf.shape[1] // self.stride)
        return hidden_bsd[:, :positions], lengths_b

    @property
    def chunk_spec(self) -> ChunkSpec:
        check_subsampling_streams(self.subsampling)
        return ChunkSpec(self.chunk, self.lookahead)

    def initial_state(self, examples: int, bins: int) -> StreamingEncoderState:
        layers = tuple(zero_carry(examples, self.width) for _ in self.time_reduction)
        return StreamingEncoderState(self.subsampling.initial_state(examples, bins) if self.subsampling else (), layers)

    def advance(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], prev_state: StreamingEncoderState
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"], StreamingEncoderState]:
        hidden_bsd, lengths_b, after = self._encode(frames_btf, lengths_b, None, prev_state)
        return hidden_bsd, jnp.minimum(lengths_b, hidden_bsd.shape[1]), after

    @nn.compact
    def _encode(
        self, frames_btf: Array, lengths_b: Array, training: Training | None, prev_state: StreamingEncoderState | None
    ) -> tuple[Array, Array, StreamingEncoderState]:
        """The positions of all chunks, the real positions of all frames, and where the next window goes on."""
        x = zero_padding(frames_btf, valid_from_lengths(lengths_b, frames_btf.shape[1]))
        own = frames_btf.shape[1] - (0 if prev_state is None else self.lookahead)  # the rest has no window of its own
        x, lengths_b, front = apply_subsampling(self.subsampling, x, lengths_b, training, prev_state, own=own)
        rest = math.prod(self.time_reduction)
        chunk, ahead = self.chunk * rest // self.stride, self.lookahead * rest // self.stride
        x_bkwd, real_bk = _windows(x, lengths_b, -(-own // self.chunk), chunk, ahead)
        layers = []
        for layer, pool in enumerate(self.time_reduction):
            rows, real = reduce_time(_rows(x_bkwd), real_bk.reshape(-1), pool, "stack")
            x_bkwd, real_bk = rows.reshape(*x_bkwd.shape[:2], *rows.shape[1:]), real.reshape(real_bk.shape)
            chunk = chunk // pool
            start = zero_carry(len(x), self.width, x_bkwd.dtype) if prev_state is None else prev_state.layers[layer]
            x_bkwd, end = self._layer(x_bkwd, real_bk, chunk, layer, start)
            layers.append(end)
            x_bkwd = Dropout(self.dropout, name=f"dropout_{layer}")(x_bkwd, training)
        x_bkcd = x_bkwd[:, :, :chunk]
        return (
            x_bkcd.reshape(len(x), -1, x_bkcd.shape[-1]),
            -(-lengths_b // rest),
            StreamingEncoderState(front, tuple(layers)),
        )

    def _layer(self, x_bkwd: Array, real_bk: Array, chunk: int, layer: int, start: Carry) -> tuple[Array, Carry]:
        """Both directions over all windows, side by side, and where the forward one ends."""
        ways = _Directions(self.width, name=f"lstm_{layer}")(x_bkwd)
        (gates, recurrent), (gates_back, recurrent_back) = ways
        there, end = _onward(gates, recurrent, real_bk, chunk, start)
        back = lstm(_rows(gates_back), recurrent_back, real_bk.reshape(-1), reverse=True)
        return jnp.concatenate([there, back.reshape(there.shape)], axis=-1), end


class _Directions(nn.Module):
    """The parameters of a layer, named as those of `Lstm` are."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "b k q d"]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        return LstmGates(self.width, name="forward")(x), LstmGates(self.width, name="backward")(x)


def _windows(x_btd: Array, lengths_b: Array, chunks: int, chunk: int, ahead: int) -> tuple[Array, Array]:
    """Each chunk with its look-ahead, [b, chunks, chunk + ahead, d], and how much of each window is real."""
    starts_k = jnp.arange(chunks) * chunk
    padded = jnp.pad(x_btd, ((0, 0), (0, chunks * chunk + ahead - x_btd.shape[1]), (0, 0)))
    windows = padded[:, starts_k[:, None] + jnp.arange(chunk + ahead)[None, :]]
    return windows, jnp.clip(lengths_b[:, None] - starts_k[None, :], 0, chunk + ahead)


def _onward(gates_bkwm: Array, recurrent_dm: Array, real_bk: Array, chunk: int, start: Carry) -> tuple[Array, Carry]:
    """The forward direction, from chunk to chunk, and from the end of each into its look-ahead; and its last chunk's end."""
    window = gates_bkwm.shape[2]
    summed_dm = widened(recurrent_dm)  # what its gradient is over the chunks

    def step(carry, now):
        gates_bcm, real_b = now
        recurrent_dm = summed_dm.astype(gates_bcm.dtype)
        hidden_bcd, end = lstm_from(carry, gates_bcm, recurrent_dm, jnp.minimum(real_b, chunk))
        return end, (hidden_bcd, end)

    chunks = (jnp.swapaxes(gates_bkwm[:, :, :chunk], 0, 1), real_bk.T)
    last, (hidden_kbcd, ends) = jax.lax.scan(step, carried(start, gates_bkwm.dtype), chunks)
    hidden_bkcd = jnp.swapaxes(hidden_kbcd, 0, 1)
    if window == chunk:
        return hidden_bkcd, last
    ends = jax.tree.map(lambda end_kbd: _rows(jnp.swapaxes(end_kbd, 0, 1)), ends)
    behind = jnp.maximum(real_bk - chunk, 0).reshape(-1)
    further, _ = lstm_from(ends, _rows(gates_bkwm[:, :, chunk:]), recurrent_dm, behind)
    return jnp.concatenate([hidden_bkcd, further.reshape(*hidden_bkcd.shape[:2], window - chunk, -1)], axis=2), last


def _rows(x_bk: Array) -> Array:
    """The windows of all examples as one axis."""
    return x_bk.reshape(-1, *x_bk.shape[2:])
