"""The search that writes while it listens, over a model that says what it is told: when it waits, goes on, and ends."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr.decode import MaxTokens, NoRepeatNgram
from jaxasr.decode.stream import GreedyStream
from jaxasr.records import END, Step, StreamState, pytree

VOCAB, MOST = 9, 40  # tokens, and those of a position
NEVER = 99


@pytree
@dataclass(frozen=True)
class Script:
    """Reads position after position and says what stands there, token by token; `END` may be one. What it says without having
    read anything is token 8, three times, and then the end."""

    def step(self, memory, state, tokens_b):
        spoken_bsu, valid_bs = memory
        at_b, used_b, unread_b = state
        counts_bs = jnp.sum(spoken_bsu != NEVER, axis=2) * valid_bs
        places = jnp.arange(valid_bs.shape[1])[None]
        left_bs = jnp.where(places == at_b[:, None], counts_bs - used_b[:, None], counts_bs)
        open_bs = (places >= at_b[:, None]) & (left_bs > 0)
        read_b = jnp.any(open_bs, axis=1)
        stop_b = jnp.where(read_b, jnp.argmax(open_bs, axis=1), at_b)
        used_b = jnp.where(stop_b == at_b, used_b, 0)
        rows = jnp.arange(len(at_b))
        said_b = spoken_bsu[rows, stop_b, jnp.minimum(used_b, MOST - 1)]
        said_b = jnp.where(read_b, said_b, jnp.where(unread_b < 3, 8, END))
        weights_bhs = ((places == stop_b[:, None]) & read_b[:, None]).astype(jnp.float32)[:, None]
        log_probs_bv = jnp.log(jax.nn.one_hot(said_b, VOCAB) + 1e-6)
        return Step(log_probs_bv, weights_bhs, (stop_b, used_b + read_b, unread_b + ~read_b))

    def stop_position(self, state):
        return state[0]

    def shift(self, state, by_b):
        return (jnp.maximum(state[0] - by_b, 0), *state[1:])


def stream_of(*rows: list[list[int]], heard: list[int] | None = None) -> StreamState:
    """What each position of each stream says; of each stream only the first `heard` positions are there yet."""
    positions = max(map(len, rows))
    spoken_bsu = np.full((len(rows), positions, MOST), NEVER)
    for row, places in enumerate(rows):
        for place, tokens in enumerate(places):
            spoken_bsu[row, place, : len(tokens)] = tokens
    heard_b = jnp.array(heard or [len(places) for places in rows], jnp.int32)
    zero_b = 0 * heard_b
    state = (zero_b, zero_b, zero_b)
    valid_bs = jnp.arange(positions)[None] < heard_b[:, None]
    return StreamState((), (jnp.asarray(spoken_bsu), valid_bs), state, state, zero_b, heard_b)


def hear(stream: StreamState, heard: int) -> StreamState:
    """More of all streams is there."""
    valid_bs = jnp.broadcast_to(jnp.arange(stream.memory[1].shape[1])[None] < heard, stream.memory[1].shape)
    return replace(stream, memory=(stream.memory[0], valid_bs), encoded_b=jnp.full_like(stream.encoded_b, heard))


_write = jax.jit(lambda search, stream, segment, last_b: search(Script(), stream, segment, last_b), static_argnums=0)


def write(search, stream, segment, last: bool = False):
    """The stream and segment after one call, what it wrote by row as (token, position), and whether there is more."""
    state, segment, spoken = _write(search, stream, segment, jnp.full(len(stream.encoded_b), last))
    written = [
        list(zip(tokens[:count].tolist(), places[:count].tolist(), strict=True))
        for tokens, places, count in zip(
            np.asarray(spoken.tokens_bu), np.asarray(spoken.positions_bu), np.asarray(spoken.counts_b), strict=True
        )
    ]
    return replace(stream, state=state), segment, written, np.asarray(spoken.more_b).tolist()


def test_it_waits_where_nothing_can_be_read_and_goes_on_from_there():
    search = GreedyStream()
    stream = stream_of([[1], [], [2, 3], [4, END]], heard=[2])
    stream, segment, written, more = write(search, stream, search.init(1))
    assert (written, more) == ([[(1, 0)]], [False])
    stream, segment, written, _ = write(search, hear(stream, 3), segment)
    assert written == [[(2, 2), (3, 2)]]
    _, segment, written, _ = write(search, hear(stream, 4), segment)
    assert written == [[(4, 3), (END, 3)]]
    assert segment.number_b.tolist() == [1]


def test_at_the_end_it_goes_on_without_reading_as_the_offline_search_does():
    search = GreedyStream()
    stream, segment, _, _ = write(search, stream_of([[1], []]), search.init(1))
    _, segment, written, more = write(search, stream, segment, last=True)
    assert written == [[(8, 1), (8, 1), (8, 1), (END, 1)]]
    assert (more, segment.done_b.tolist()) == ([False], [True])


def test_an_end_begins_a_segment_behind_it_which_is_silent_if_it_reads_nothing():
    search = GreedyStream()
    stream = stream_of([[1, END, 5], [2], [END], []])
    stream, segment, written, _ = write(search, stream, search.init(1), last=True)
    assert written == [[(1, 0), (END, 0), (2, 1), (END, 2)]]
    assert segment.done_b.tolist() == [True]
    assert write(search, stream, segment, last=True)[2] == [[]]


def test_a_segment_that_has_said_something_goes_to_its_end_as_the_first_one():
    search = GreedyStream()
    _, _, written, _ = write(search, stream_of([[END], [2], []]), search.init(1), last=True)
    assert written == [[(END, 0), (2, 1), (8, 2), (8, 2), (8, 2), (END, 2)]]


def test_tokens_wait_for_the_positions_that_allow_them():
    """One position allows 1 * 1 + 1 tokens; what loops there goes on when more was heard, and is cut at last."""
    search = GreedyStream(MaxTokens(per_position=1.0, extra=1))
    stream = stream_of([[1, 2, 3, 4, 5, 6]] + [[]] * 3, heard=[1])
    stream, segment, written, _ = write(search, stream, search.init(1))
    assert written == [[(1, 0), (2, 0)]]
    stream, segment, written, _ = write(search, hear(stream, 3), segment)
    assert written == [[(3, 0), (4, 0)]]
    _, segment, written, _ = write(search, stream, segment, last=True)
    assert (written, segment.done_b.tolist()) == ([[]], [True])


def test_limits_are_those_of_the_offline_search_and_never_end():
    search = GreedyStream(MaxTokens(per_position=0.1, extra=2))
    positions = np.array([0, 1, 10, 16_383, 16_384, 100_000])
    found = search._limits(jnp.asarray(positions)).tolist()
    assert found[:4] == [0, *search.max_tokens.table(16_383)[positions[1:4]]]
    assert found[3] <= found[4] + 2
    assert found[5] == pytest.approx(10_002, abs=7)


def test_what_a_call_has_no_room_for_comes_with_the_next():
    search = GreedyStream(capacity=2)
    stream, segment = stream_of([[1, 2], [3]], [[], [4, 5]]), search.init(2)
    stream, segment, written, more = write(search, stream, segment)
    assert (written, more) == ([[(1, 0), (2, 0)], [(4, 1), (5, 1)]], [True, True])
    stream, segment, written, more = write(search, stream, segment)
    assert (written, more) == ([[(3, 1)], []], [False, False])


def test_streams_of_a_batch_do_not_touch_each_other():
    search = GreedyStream()
    rows = ([[1], [2, END], [3]], [[], [], [7]], [[4, 4, 4], [END], []])
    _, _, together, _ = write(search, stream_of(*rows), search.init(3), last=True)
    alone = [write(search, stream_of(row), search.init(1), last=True)[2][0] for row in rows]
    assert together == alone


def test_no_room_is_refused():
    with pytest.raises(ValueError, match="room is 0"):
        GreedyStream(capacity=0)


def test_a_guard_ends_loops_of_a_segment_and_forgets_the_ones_before():
    """Checks a phrase of two tokens that is written four times, and a second segment that begins with it again."""
    loop = [[1, 2] * 4 + [END], [1, 2, 1, 2, END]]
    free = GreedyStream(MaxTokens(9.0))
    guarded = replace(free, guard=NoRepeatNgram(longest=2, times=3))
    _, _, (written,), _ = write(free, stream_of(loop), free.init(1))
    assert [token for token, _ in written] == [*[1, 2] * 4, END, 1, 2, 1, 2, END]
    _, segment, (written,), _ = write(guarded, stream_of(loop), guarded.init(1))
    tokens = [token for token, _ in written]
    assert tokens[:5] == [1, 2, 1, 2, 1]
    assert tokens[5] != 2  # it would complete the third copy
    assert tokens[-5:] == [1, 2, 1, 2, END]
    assert segment.number_b.tolist() == [2]
