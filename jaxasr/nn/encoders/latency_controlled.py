"""The latency-controlled bidirectional LSTM encoder: its outputs depend on the whole past and a bounded future."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.encoders.interface import ChunkSpec, Encoder
from jaxasr.nn.encoders.listener import StreamingEncoderState, apply_subsampling, check_streamable, reduce_time
from jaxasr.nn.layers import Dropout, check_rates
from jaxasr.nn.recurrent import LstmGates
from jaxasr.nn.subsampling import Subsampling
from jaxasr.ops.masks import valid_from_lengths, zero_padding
from jaxasr.ops.products import widened
from jaxasr.ops.recurrent.lstm import Carry, carried, lstm, lstm_from, zero_carry
from jaxasr.records import Training
from jaxasr.tree import check_numbers


class LatencyControlledBlstm(Encoder):
    """An encoder of bidirectional LSTM layers over chunks with a look-ahead; parameters and pyramid are those of `Listener`.

    All layers process an utterance in windows: a chunk and the `lookahead` frames after it. In each layer the forward
    direction continues from the chunk before. It also runs through the look-ahead, but the next chunk starts from the end of
    the chunk. The backward direction starts from zero at the end of each window. Only the chunk's own positions are returned.
    So an output never depends on a frame after its window, however many layers there are. (A subsampling may look further
    ahead; `ConvSubsampling` does not.) If the chunk is as long as the utterance, this is the bidirectional listener.

    The backward passes of all chunks are one batched scan, and so are the forward passes through the look-ahead.

    Source: Zhang et al. 2016, arXiv:1510.08983, section 3.2; Xue and Yan 2017, ICASSP.
    """

    width: int  # of one direction
    time_reduction: tuple[int, ...]  # neighbours concatenated before each layer
    chunk: int  # feature frames
    lookahead: int  # feature frames
    subsampling: Subsampling | None = None
    dropout: float = 0.0  # after every layer

    def __post_init__(self):
        check_numbers(self)
        if not self.time_reduction or min(self.time_reduction) < 1 or self.width < 1:
            raise ValueError(
                f"LatencyControlledBlstm has width {self.width} and time_reduction {self.time_reduction}; it needs a "
                "positive width and one number of at least 1 for each layer, such as time_reduction=(1, 2, 2)"
            )
        if self.chunk < 1 or self.lookahead < 0 or self.chunk % self.stride or self.lookahead % self.stride:
            raise ValueError(
                f"LatencyControlledBlstm has chunk {self.chunk} and lookahead {self.lookahead} at a stride of {self.stride} "
                f"frames; both must be multiples of it, such as {max(1, self.chunk // self.stride) * self.stride} and "
                f"{max(0, self.lookahead // self.stride) * self.stride}"
            )
        check_rates(self, "dropout")
        super().__post_init__()

    @property
    def stride(self) -> int:
        """The feature frames for one position of the output."""
        return (self.subsampling.stride if self.subsampling else 1) * math.prod(self.time_reduction)

    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], *, training: Training | None
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Returns hidden states, zero at padding, and their lengths. Dropout is active only if `training` is given."""
        hidden_bsd, lengths_b, _ = self._encode(frames_btf, lengths_b, training, None)
        positions = -(-frames_btf.shape[1] // self.stride)
        return hidden_bsd[:, :positions], lengths_b

    @property
    def chunk_spec(self) -> ChunkSpec:
        check_streamable(self.subsampling)
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
        """Returns the positions of all chunks, the real positions of all frames, and the state for the next window."""
        x = zero_padding(frames_btf, valid_from_lengths(lengths_b, frames_btf.shape[1]))
        # in a stream the look-ahead belongs to the next window
        next_start = frames_btf.shape[1] - (0 if prev_state is None else self.lookahead)
        x, lengths_b, subsampling_state = apply_subsampling(
            self.subsampling, x, lengths_b, training, prev_state, next_start=next_start
        )
        rest = math.prod(self.time_reduction)
        chunk = self.chunk * rest // self.stride
        lookahead = self.lookahead * rest // self.stride
        x_bkwd, real_bk = _windows(x, lengths_b, -(-next_start // self.chunk), chunk, lookahead)
        layers = []
        for layer, by in enumerate(self.time_reduction):
            rows, real = reduce_time(_rows(x_bkwd), real_bk.reshape(-1), by, "stack")
            x_bkwd = rows.reshape(*x_bkwd.shape[:2], *rows.shape[1:])
            real_bk = real.reshape(real_bk.shape)
            chunk = chunk // by
            start = zero_carry(x.shape[0], self.width, x_bkwd.dtype) if prev_state is None else prev_state.layers[layer]
            x_bkwd, end = self._layer(x_bkwd, real_bk, chunk, layer, start)
            layers.append(end)
            x_bkwd = Dropout(self.dropout, name=f"dropout_{layer}")(x_bkwd, training)
        x_bkcd = x_bkwd[:, :, :chunk]
        return (
            x_bkcd.reshape(x.shape[0], -1, x_bkcd.shape[-1]),
            -(-lengths_b // rest),
            StreamingEncoderState(subsampling_state, tuple(layers)),
        )

    def _layer(self, x_bkwd: Array, real_bk: Array, chunk: int, layer: int, start: Carry) -> tuple[Array, Carry]:
        """Returns both directions over all windows, concatenated, and the final state of the forward direction."""
        directions = _Directions(self.width, name=f"lstm_{layer}")(x_bkwd)
        (gates, recurrent), (backward_gates, backward_recurrent) = directions
        forward, end = _forward(gates, recurrent, real_bk, chunk, start)
        backward = lstm(_rows(backward_gates), backward_recurrent, real_bk.reshape(-1), reverse=True)
        return jnp.concatenate([forward, backward.reshape(forward.shape)], axis=-1), end


class _Directions(nn.Module):
    """The parameters of a layer, with the names of those of `Lstm`."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "b k q d"]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        return LstmGates(self.width, name="forward")(x), LstmGates(self.width, name="backward")(x)


def _windows(x_btd: Array, lengths_b: Array, chunks: int, chunk: int, lookahead: int) -> tuple[Array, Array]:
    """Returns each chunk with its look-ahead, [b, chunks, chunk + lookahead, d], and the real positions of each window."""
    starts_k = jnp.arange(chunks) * chunk
    padded = jnp.pad(x_btd, ((0, 0), (0, chunks * chunk + lookahead - x_btd.shape[1]), (0, 0)))
    windows = padded[:, starts_k[:, None] + jnp.arange(chunk + lookahead)[None, :]]
    return windows, jnp.clip(lengths_b[:, None] - starts_k[None, :], 0, chunk + lookahead)


def _forward(gates_bkwm: Array, recurrent_dm: Array, real_bk: Array, chunk: int, start: Carry) -> tuple[Array, Carry]:
    """Returns the forward direction over all windows, and its state at the end of the last chunk."""
    window = gates_bkwm.shape[2]
    summed_dm = widened(recurrent_dm)  # wide: the gradient is a sum over the chunks

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
    """Returns the windows of all examples along one axis."""
    return x_bk.reshape(-1, *x_bk.shape[2:])
