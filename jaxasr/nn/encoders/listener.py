"""The listener: a recurrent encoder, plain or pyramidal (Chan et al. 2015)."""

import math
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxasr.nn.encoders.interface import ChunkSpec, Encoder
from jaxasr.nn.layers import Dense, Dropout, check_rates, stack_frames
from jaxasr.nn.recurrent import Gru, Lstm
from jaxasr.nn.subsampling import Subsampling
from jaxasr.ops.masks import valid_from_lengths, zero_padding
from jaxasr.ops.pooling import max_over_time
from jaxasr.records import Training

Cell = Literal["lstm", "gru"]
Pooling = Literal["stack", "max", "skip"]
Projected = Literal["every", "last"]

_LAYERS: dict[Cell, type[Lstm] | type[Gru]] = {"lstm": Lstm, "gru": Gru}


class StreamingEncoderState(NamedTuple):
    """The state of a recurrent encoder between the windows of a stream."""

    subsampling: Any  # of the subsampling; () without one
    layers: tuple[Any, ...]  # the state of each layer's forward direction


class Listener(Encoder):
    """An encoder of bidirectional LSTM or GRU layers, plain or pyramidal, after an optional convolutional subsampling.

    `time_reduction` is the number of neighbours in time that are merged *before* each layer: (1, 2, 2, 2) is the pyramid of
    LAS 2015 (one plain layer, then three that each halve time), (1, 1, 1, 1) a plain stack. The total stride is the product
    of these numbers and the stride of the subsampling. `pooling` selects the way of merging: "stack" concatenates them (LAS),
    "max" takes the maximum of each channel (Zeyer et al. 2018), "skip" takes the first position (ESPnet's subsampling).

    `projection` is the width of a dense layer after the recurrent layers. If `projected` is "every", it follows every layer,
    and tanh follows all but the last (ESPnet's BLSTMP). If "last", it follows the last layer, with tanh (ESPnet's BLSTM).

    With one direction it can encode a stream, stride by stride.

    Source: Chan et al. 2015, section 3.1; Zeyer et al. 2018, arXiv:1805.03294, section 3; Watanabe et al. 2018,
    arXiv:1804.00015.
    """

    width: int  # of one direction
    time_reduction: tuple[int, ...]  # neighbours merged before each layer
    subsampling: Subsampling | None = None
    dropout: float = 0.0  # after every layer
    bidirectional: bool = True
    cell: Cell = "lstm"
    pooling: Pooling = "stack"
    projection: int | None = None
    projected: Projected = "every"
    dropout_over_time: bool = False  # one mask an utterance (variational), not one a position
    recurrent_dropout: float = 0.0  # on the input of the recurrent weights, one mask an utterance

    def __post_init__(self):
        if not self.time_reduction or min(self.time_reduction) < 1 or self.width < 1:
            raise ValueError(
                f"Listener has width {self.width} and time_reduction {self.time_reduction}; it needs a positive width and "
                "one number of at least 1 for each layer, such as time_reduction=(1, 2, 2)"
            )
        if self.projection is not None and self.projection < 1:
            raise ValueError(f"Listener.projection is {self.projection}; it needs a positive width, or None for none")
        check_rates(self, "dropout", "recurrent_dropout")
        super().__post_init__()

    @property
    def stride(self) -> int:
        """The feature frames for one position of the output."""
        return (self.subsampling.stride if self.subsampling else 1) * math.prod(self.time_reduction)

    def __call__(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], *, training: Training | None
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"]]:
        """Returns hidden states, zero at padding, and their lengths. Dropout is active only if `training` is given."""
        return self._encode(frames_btf, lengths_b, training, None)[:2]

    @property
    def chunk_spec(self) -> ChunkSpec:
        if self.bidirectional:
            raise ValueError(
                "Listener.bidirectional is True, so it begins at both ends of an utterance; a stream needs "
                "bidirectional=False, or LatencyControlledBlstm"
            )
        check_streamable(self.subsampling)
        return ChunkSpec(chunk=self.stride, lookahead=0)

    def initial_state(self, examples: int, bins: int) -> StreamingEncoderState:
        cell = _LAYERS[self.cell]
        layers = tuple(cell.initial_state(examples, self.width) for _ in self.time_reduction)
        return StreamingEncoderState(self.subsampling.initial_state(examples, bins) if self.subsampling else (), layers)

    def advance(
        self, frames_btf: Float[Array, "b t f"], lengths_b: Int[Array, " b"], prev_state: StreamingEncoderState
    ) -> tuple[Float[Array, "b s d"], Int[Array, " b"], StreamingEncoderState]:
        return self._encode(frames_btf, lengths_b, None, prev_state)

    @nn.compact
    def _encode(
        self, frames_btf: Array, lengths_b: Array, training: Training | None, prev_state: StreamingEncoderState | None
    ) -> tuple[Array, Array, StreamingEncoderState]:
        """Encodes whole utterances or, with `prev_state`, the next window of streams."""
        x = zero_padding(frames_btf, valid_from_lengths(lengths_b, frames_btf.shape[1]))
        x, lengths_b, subsampling_state = apply_subsampling(
            self.subsampling, x, lengths_b, training, prev_state, next_start=x.shape[1]
        )
        reduce_before, reduce_after = self._reductions()
        layers = []
        for layer in range(len(self.time_reduction)):
            x, lengths_b = reduce_time(x, lengths_b, reduce_before[layer], self.pooling)
            name = f"{self.cell}_{layer}"
            recurrence = _LAYERS[self.cell](self.width, self.bidirectional, self.recurrent_dropout, name=name)
            if prev_state is None:
                x = recurrence(x, lengths_b, training)
            else:
                x, state = recurrence.advance(x, lengths_b, prev_state.layers[layer])
                layers.append(state)
            x, lengths_b = reduce_time(x, lengths_b, reduce_after[layer], self.pooling)
            x = self._project(x, lengths_b, layer)
            x = Dropout(self.dropout, self.dropout_over_time, name=f"dropout_{layer}")(x, training)
        return x, lengths_b, StreamingEncoderState(subsampling_state, tuple(layers))

    def _reductions(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the time reductions before and after each recurrence.

        "skip" reduces right after a recurrence, so that no skipped position is projected.
        """
        ones = (1,) * len(self.time_reduction)
        if self.pooling != "skip":
            return self.time_reduction, ones
        return (self.time_reduction[0], *ones[1:]), (*self.time_reduction[1:], 1)

    def _project(self, x_bsd: Array, lengths_b: Array, layer: int) -> Array:
        last = layer == len(self.time_reduction) - 1
        if self.projection is None or (self.projected == "last" and not last):
            return x_bsd
        x_bsd = Dense(self.projection, name=f"projection_{layer}")(x_bsd)
        if last == (self.projected == "last"):
            x_bsd = jnp.tanh(x_bsd)
        return zero_padding(x_bsd, valid_from_lengths(lengths_b, x_bsd.shape[1]))


def check_streamable(subsampling: Subsampling | None) -> None:
    """Raises ValueError if this subsampling can't process a stream."""
    if subsampling is not None and not subsampling.streamable:
        raise ValueError(
            f"{type(subsampling).__name__} sees frames behind those of its positions; the subsampling of an encoder for "
            "streams is ConvSubsampling or None"
        )


def apply_subsampling(
    subsampling: Subsampling | None,
    x_btd: Array,
    lengths_b: Array,
    training: Training | None,
    prev_state: StreamingEncoderState | None,
    *,
    next_start: int,
) -> tuple[Array, Array, Any]:
    """Returns the subsampled frames, their lengths, and the state for the next window, which begins at frame `next_start`."""
    if subsampling is None:
        return x_btd, lengths_b, ()
    if prev_state is None:
        return *subsampling(x_btd, lengths_b, training), ()
    return subsampling.advance(x_btd, lengths_b, prev_state.subsampling, next_start)


def reduce_time(
    x_btd: Float[Array, "b t d"], lengths_b: Int[Array, " b"], by: int, pooling: Pooling
) -> tuple[Float[Array, "b k m"], Int[Array, " b"]]:
    """Returns `by` neighbours merged into one position, k = ceil(t / by) (see `Listener`), and lengths. Padding is zero."""
    if by == 1:
        return x_btd, lengths_b
    if pooling == "stack":
        x_bkm = stack_frames(x_btd, by)
    elif pooling == "skip":
        x_bkm = x_btd[:, ::by]
    else:
        x_bkm = max_over_time(x_btd, valid_from_lengths(lengths_b, x_btd.shape[1]), by)
    return x_bkm, -(-lengths_b // by)
