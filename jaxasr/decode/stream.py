"""Greedy search over a stream: tokens are final when they are written, and equal those of the whole utterance."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jaxasr.decode.constraints import NoRepeatNgram
from jaxasr.decode.search import MaxTokens
from jaxasr.records import END, Streamable, StreamState, pytree
from jaxasr.tree import check_numbers

_LONG = 1 << 14  # encoder positions of a segment up to which its limit is exactly that of `MaxTokens`


@pytree
@dataclass(frozen=True)
class SegmentState:
    """The state of the search in each stream."""

    previous_b: Int[Array, " b"]  # the token to read next, END at the beginning
    tokens_b: Int[Array, " b"]  # written in this segment
    origin_b: Int[Array, " b"]  # the position of the stream with which the segment begins
    number_b: Int[Array, " b"]  # segments before it
    done_b: Bool[Array, " b"]  # no more tokens will be written
    last_bm: Int[Array, "b m"]  # the last tokens of this segment, for the guard (NoRepeatNgram.history)


@pytree
@dataclass(frozen=True)
class EmittedTokens:
    """The tokens of one call; entries behind `counts_b` are zero."""

    tokens_bu: Int[Array, "b u"]  # END where a segment ends
    positions_bu: Int[Array, "b u"]  # encoder position of the stream at which each was read; the last one if none was
    counts_b: Int[Array, " b"]
    more_b: Bool[Array, " b"]  # True: the capacity was too small; call again before more audio is encoded


@dataclass(frozen=True)
class GreedyStream:
    """A greedy search that writes a token as soon as its attention has stopped, and otherwise waits for more audio.

    The first segment equals the result of `Greedy` with these `max_tokens` on the whole stream, its end included, as long as
    the memory held every position that was read. After an end symbol a new segment begins at the next position with the
    initial decoder state. A later segment that reads no position before the stream ends writes no token.
    """

    max_tokens: MaxTokens = MaxTokens()
    capacity: int = 32  # tokens that one call can write
    guard: NoRepeatNgram | None = None  # None: a phrase may repeat without limit in a segment

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.capacity < 1:
            raise ValueError(f"GreedyStream.room is {self.capacity}; a call must have room for a token")

    def init(self, examples: int) -> SegmentState:
        """Returns the state before the first token of `examples` streams."""
        zero_b = jnp.zeros(examples, jnp.int32)
        last_bm = self.guard.history(examples) if self.guard else jnp.zeros((examples, 0), jnp.int32)
        return SegmentState(jnp.full(examples, END, jnp.int32), zero_b, zero_b, zero_b, zero_b > 0, last_bm)

    def __call__(
        self, model: Streamable, stream: StreamState, segment: SegmentState, last_b: Bool[Array, " b"]
    ) -> tuple[Any, SegmentState, EmittedTokens]:
        """Writes as many tokens as the encoded audio allows.

        Args:
            last_b: True where the stream has ended: a token that would wait is decided as in `Greedy`.

        Returns:
            The decoder's state (`Stream.state`), the state of the search, and the tokens.
        """
        b = len(last_b)
        blank_ub = jnp.zeros((self.capacity, b), jnp.int32)
        loop = _Loop(stream.state, segment, blank_ub, blank_ub, jnp.zeros(b, jnp.int32), segment.done_b)

        def step(loop: _Loop) -> _Loop:
            return self._step(model, stream, last_b, loop)

        loop = jax.lax.while_loop(lambda loop: jnp.any(self._writes(loop)), step, loop)
        spoken = EmittedTokens(loop.tokens_ub.T, loop.positions_ub.T, loop.counts_b, ~loop.waiting_b)
        return loop.state, loop.segment, spoken

    def _writes(self, loop: "_Loop") -> Bool[Array, " b"]:
        return ~loop.waiting_b & (loop.counts_b < self.capacity)

    def _limits(self, positions_b: Array) -> Int[Array, " b"]:
        """Returns `MaxTokens` of a segment with so many positions; very long ones get the same number per position."""
        table = jnp.asarray(self.max_tokens.table(_LONG))
        return table[positions_b % _LONG] + positions_b // _LONG * (table[_LONG] - self.max_tokens.extra)

    def _step(self, model: Streamable, stream: StreamState, last_b: Array, loop: "_Loop") -> "_Loop":
        segment = loop.segment
        now_b = self._writes(loop)
        step = model.step(stream.memory, loop.state, segment.previous_b)
        scores_bv = step.log_probs_bv
        if self.guard:
            scores_bv = jnp.where(self.guard.forbidden(segment.last_bm, vocab=scores_bv.shape[1]), -jnp.inf, scores_bv)
        best_b = jnp.argmax(scores_bv, axis=-1).astype(jnp.int32)
        read_b = jnp.any(step.weights_bhs > 0, axis=(1, 2))
        silent_b = (segment.number_b > 0) & (segment.tokens_b == 0)
        allowed_b = segment.tokens_b < self._limits(stream.encoded_b - segment.origin_b)
        goes_b = now_b & allowed_b & (read_b | (last_b & ~silent_b))
        ends_b = goes_b & (best_b == END)
        stop_b = model.stop_position(step.state)
        place_b = jnp.where(read_b, stream.dropped_b + stop_b, jnp.maximum(stream.encoded_b - 1, 0))
        state = _rows(goes_b, step.state, loop.state)
        over_b = segment.done_b | (now_b & ~goes_b & last_b) | (ends_b & ~read_b)
        at = (loop.counts_b, jnp.arange(len(last_b)))
        return _Loop(
            state=_rows(ends_b, model.shift(stream.initial_state, -(stop_b + 1)), state),
            segment=SegmentState(
                previous_b=jnp.where(goes_b, best_b, segment.previous_b),
                tokens_b=jnp.where(ends_b, 0, segment.tokens_b + goes_b),
                origin_b=jnp.where(ends_b, place_b + 1, segment.origin_b),
                number_b=segment.number_b + ends_b,
                done_b=over_b,
                last_bm=self._history(segment.last_bm, best_b, goes_b=goes_b, ends_b=ends_b),
            ),
            tokens_ub=loop.tokens_ub.at[at].set(jnp.where(goes_b, best_b, loop.tokens_ub.at[at].get(mode="clip"))),
            positions_ub=loop.positions_ub.at[at].set(
                jnp.where(goes_b, place_b, loop.positions_ub.at[at].get(mode="clip"))
            ),
            counts_b=loop.counts_b + goes_b,
            waiting_b=loop.waiting_b | (now_b & ~goes_b) | over_b,
        )

    def _history(self, last_bm: Array, best_b: Array, *, goes_b: Array, ends_b: Array) -> Array:
        """Returns the tokens that the guard reads next: none of a segment that has ended."""
        if self.guard is None:
            return last_bm
        read_bm = jnp.where(goes_b[:, None], self.guard.read(last_bm, best_b), last_bm)
        return jnp.where(ends_b[:, None], self.guard.history(len(best_b)), read_bm)


@pytree
@dataclass(frozen=True)
class _Loop:
    """The carry of the loop."""

    state: Any
    segment: SegmentState
    tokens_ub: Int[Array, "u b"]
    positions_ub: Int[Array, "u b"]
    counts_b: Int[Array, " b"]
    waiting_b: Bool[Array, " b"]  # waits for more audio, or has ended


def _rows(which_b: Array, these: Any, those: Any) -> Any:
    """Selects each row from one tree or the other."""
    return jax.tree.map(lambda a, b: jnp.where(which_b.reshape(-1, *(1,) * (a.ndim - 1)), a, b), these, those)
