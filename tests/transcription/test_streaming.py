"""Streams: the same words as for the whole utterance, in time; what can't be heard piece by piece says so."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxasr import nn
from jaxasr.decode import Greedy, MaxTokens
from jaxasr.evaluation.decode_split import compiled_search
from jaxasr.nn.streaming import StreamingRecogniser, stream_reader, window_spec
from jaxasr.records import END
from jaxasr.text import Characters
from jaxasr.transcription.streaming import FinalWord, Streamer
from tests.nn.tiny import FRONTEND, RATE_HZ, VOCAB, batch_of, listener, speller

LETTERS = Characters(" ABCD")
SEEDS = (0, 3, 6, 9, 12, 14, 16, 18, 19, 23)
LIVELY = {"MoChA, windows": 16, "monotonic, one way": 3}  # the seeds of models that say much
ENDING = 13  # the seed of a monotonic model that often ends
SAMPLES = 1_510  # 149 frames


def attending(focus) -> nn.AdditiveAttention:
    return nn.AdditiveAttention(6, vector="normed", focus=focus)


def recogniser(encoder, focus) -> nn.Seq2Seq:
    return nn.Seq2Seq(
        frontend=dataclasses.replace(FRONTEND, normalize="global"),
        encoder=encoder,
        decoder=speller(attention=attending(focus), width=8),
        ctc=nn.CtcHead(VOCAB),
    )


MOCHA = nn.MoChA(energies=nn.AdditiveAttention(6), chunk=3, stops=nn.Monotonic(bias=-0.3))
MODELS = {
    "MoChA, windows": recogniser(nn.LatencyControlledBlstm(6, (1, 2), chunk=8, lookahead=4), MOCHA),
    "monotonic, one way": recogniser(
        listener(time_reduction=(1, 2), subsampling=nn.ConvSubsampling((2,)), bidirectional=False),
        nn.WarmStart(soft=nn.Softmax(), hard=nn.Monotonic(bias=-0.3), until=1),
    ),
}
CHUNK_MS = {"MoChA, windows": 80.0, "monotonic, one way": 160.0}
SHORT = MaxTokens(per_position=0.6, extra=2)


@functools.cache
def _shapes(name: str):
    batch = batch_of(np.random.default_rng(0), (300,), (1,))
    return jax.eval_shape(functools.partial(MODELS[name].init, step=None), jax.random.key(0), batch)


def variables_of(name: str, seed: int):
    """Random variables, such that stops, tokens and ends all happen."""
    rng = np.random.default_rng(seed)
    scales = {"embed": 3.0, "readout": 2.0, "key": 2.0, "deviation": 0.0, "gain": 0.0}

    def drawn(path, leaf):
        part = jax.tree_util.keystr(path)
        if "offset" in part:
            return np.float32(rng.uniform(-2.0, 0.0))
        scale = next((scale for name, scale in scales.items() if name in part), 0.6)
        middle = {"deviation": 2.0, "gain": 4.0}.get(part.split("'")[-2], 0.0)
        return np.asarray(middle + scale * rng.normal(size=leaf.shape), np.float32)

    return jax.tree_util.tree_map_with_path(drawn, _shapes(name))


def wave(seed: int, samples: int) -> np.ndarray:
    rng = np.random.default_rng(100 + seed)
    loudness = np.repeat(rng.uniform(0.0, 6_000, samples // 50 + 1), 50)[:samples]
    return (loudness * rng.normal(size=samples)).clip(-32_768, 32_767).astype(np.int16)


def offline(name: str, variables, wave_n: np.ndarray) -> tuple[list[int], bool]:
    """What the search for whole utterances writes, and whether it came to an end."""
    batch = dataclasses.replace(
        batch_of(np.random.default_rng(0), (SAMPLES,), (1,)), sample_lengths_b=np.array([len(wave_n)], np.int32)
    )
    batch.wave_bn[0] = np.pad(wave_n, (0, SAMPLES - len(wave_n)))
    found = jax.device_get(_searched(name)(variables, batch))
    return found.tokens_bwu[0, 0, : found.token_lengths_bw[0, 0]].tolist(), bool(found.finished_bw[0, 0])


@functools.cache
def _searched(name: str):
    return compiled_search(MODELS[name], Greedy(SHORT))


def streamer_of(name: str, variables, **options) -> Streamer:
    return Streamer(
        MODELS[name], variables, LETTERS, chunk_ms=CHUNK_MS[name], max_tokens=SHORT, memory_s=2.0, **options
    )


def heard(streamer: Streamer, wave_n: np.ndarray, piece: int) -> tuple[list[FinalWord], list[int]]:
    """The words of a wave that is fed in pieces of so many samples, and all tokens, END included."""
    hearing, words, tokens = streamer.start_session(), [], []
    written = hearing._spans

    def listen(token: int, position: int):
        tokens.append(token)
        return written(token, position)

    hearing._spans = listen
    for start in range(0, len(wave_n), piece):
        words += hearing.feed(wave_n[start : start + piece])
    return [*words, *hearing.finish()], tokens


def first_segment(tokens: list[int]) -> tuple[list[int], bool]:
    """The tokens before the first end, and whether there is one."""
    return (tokens[: tokens.index(END)], True) if END in tokens else (tokens, False)


def test_the_words_are_those_of_the_whole_utterance():
    """Random parameters, lengths that are no multiple of anything, pieces of any size: token by token, and the end."""
    seen = {"tokens": 0, "ended and went on": 0, "cut": 0, "moved on": 0}
    for name, seed in itertools.product(MODELS, SEEDS):
        variables = variables_of(name, seed)
        wave_n = wave(seed, SAMPLES - 97 * (seed % 7))
        words, tokens = heard(streamer_of(name, variables), wave_n, piece=(50, 333, 5_000)[seed % 3])
        expected = offline(name, variables, wave_n)
        assert first_segment(tokens) == expected, (name, seed)
        told = [word.text for word in words if word.segment == 0]
        assert told == LETTERS.decode(expected[0]).split(), (name, seed)
        seen["tokens"] += len(expected[0])
        seen["ended and went on"] += tokens.count(END) > 1
        seen["cut"] += not expected[1]
        seen["moved on"] += len({word.end_s for word in words}) > 1
    assert min(seen.values()) > 2, f"the parameters are too tame to show anything: {seen}"


def test_words_come_in_their_order_and_say_how_late_they_are():
    name = "MoChA, windows"
    streamer, samples = streamer_of(name, variables_of(name, LIVELY[name])), 1_300
    hearing, words = streamer.start_session(), []
    for start in range(0, samples, 100):
        fresh = hearing.feed(wave(LIVELY[name], samples)[start : start + 100])
        for word in fresh:
            assert word.emitted_at_s <= hearing.audio_s
            assert (round(word.emitted_at_s * RATE_HZ) - streamer.pacing.samples) % streamer.pacing.new_samples == 0
        words += fresh
    assert words
    words += hearing.finish()
    for word in words:
        assert 0.0 <= word.start_s <= word.end_s <= word.emitted_at_s
        assert word.latency_s == word.emitted_at_s - word.end_s
    assert [word.start_s for word in words] == sorted(word.start_s for word in words)
    assert hearing.audio_s == samples / RATE_HZ
    assert hearing.compute_s > 0
    with pytest.raises(ValueError, match="this stream is finished"):
        hearing.feed(wave(0, 10))
    assert hearing.finish() == []


def test_the_algorithmic_latency_is_chunk_look_ahead_and_window():
    for name, frames in {"MoChA, windows": 8 + 4, "monotonic, one way": 16}.items():
        streamer = streamer_of(name, None)
        assert streamer.algorithmic_latency_s == pytest.approx((frames - 1) * 0.01 + 0.025)


def test_streams_shorter_than_a_window_and_empty_ones():
    name = "MoChA, windows"
    streamer = streamer_of(name, variables_of(name, LIVELY[name]))
    assert heard(streamer, wave(0, 0), 10) == ([], [])
    assert heard(streamer, wave(0, 24), 10) == ([], [])
    for samples in (25, 40, 110):
        _, tokens = heard(streamer, wave(0, samples), 10)
        assert first_segment(tokens) == offline(name, streamer._variables, wave(0, samples))


def test_an_endless_stream_keeps_no_more_than_at_its_beginning():
    """And what its memory does not hold any more is gone without harm."""
    name = "monotonic, one way"
    streamer = streamer_of(name, variables_of(name, LIVELY[name]))
    hearing = streamer.start_session()
    sizes = jax.tree.map(np.shape, hearing._stream)
    for seed in range(8):
        hearing.feed(wave(seed, 1_510))
        assert jax.tree.map(np.shape, hearing._stream) == sizes
        assert len(hearing._samples) < streamer.pacing.samples
    positions = int(hearing._stream.memory.valid_bs.shape[1])
    assert int(hearing._stream.encoded_b[0]) > 2 * positions
    assert 0 <= int(hearing._stream.encoded_b[0] - hearing._stream.dropped_b[0]) <= positions
    assert 0 <= int(stop_position(hearing)) <= positions


def stop_position(hearing):
    return stream_reader(MODELS["monotonic, one way"].decoder).stop_position(hearing._stream.state)[0]


@pytest.mark.parametrize("renews", [False, True])
def test_a_segment_can_begin_with_a_new_encoder(renews):
    name = "monotonic, one way"
    streamer = streamer_of(name, variables_of(name, ENDING), reset_encoder_at_endpoint=renews)
    hearing = streamer.start_session()
    wave_n = wave(ENDING, SAMPLES)
    for start in range(0, len(wave_n), 10):
        hearing.feed(wave_n[start : start + 10])
        if hearing._segments:
            break
    assert hearing._segments
    states = zip(*map(jax.tree.leaves, (hearing._stream.encoder, hearing._fresh.encoder)), strict=True)
    assert all(np.array_equal(now, fresh) for now, fresh in states) == renews


def test_a_stopped_memory_holds_what_was_heard():
    """The values of the memory are the encoder's positions, from the first that may still be read on."""
    name = "MoChA, windows"
    variables = jax.tree.map(jnp.asarray, variables_of(name, 1))
    model = StreamingRecogniser(MODELS[name], variables)
    stream, window = model.init_stream(1, positions=14), model.window_spec
    hear, wave_n = jax.jit(model.advance), wave(1, 1_000)
    for start in range(0, 400, window.new_samples):
        stream = hear(stream, wave_n[None, start : start + window.samples], np.array([window.samples], np.int32))
    batch = dataclasses.replace(batch_of(np.random.default_rng(0), (1_000,), (1,)), wave_bn=wave_n[None])
    hidden_bsd, _ = jax.jit(lambda batch: MODELS[name].apply(variables, batch, None, method="encode"))(batch)
    dropped, count = int(stream.dropped_b[0]), int(stream.encoded_b[0])
    assert (dropped, count) == (20 - 14, 20)
    np.testing.assert_allclose(stream.memory.values_bse[0], hidden_bsd[0, dropped:count], rtol=1e-4, atol=1e-5)


def test_a_memory_too_small_is_refused():
    model = StreamingRecogniser(MODELS["MoChA, windows"], None)
    with pytest.raises(ValueError, match="a memory of 5 encoder positions; this model needs 6 or more"):
        model.init_stream(1, 5)


def with_attention(attention: nn.Attention) -> nn.Seq2Seq:
    model = MODELS["monotonic, one way"]
    return model.clone(decoder=speller(attention=attention))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (MODELS["MoChA, windows"].clone(frontend=FRONTEND), "model.frontend.normalize is 'utterance'"),
        (MODELS["MoChA, windows"].clone(encoder=listener()), "Listener.bidirectional is True"),
        (with_attention(nn.LocationAttention(5)), "the energies of LocationAttention depend on where it looked"),
        (with_attention(nn.DotAttention(5, heads=1)), "DotAttention weighs positions of the whole utterance"),
        (with_attention(attending(nn.Softmax())), "the focus Softmax weighs positions of the whole utterance"),
        (with_attention(attending(nn.MoChA(nn.AdditiveAttention(5), chunk=0))), "MoChA.chunk is 0"),
        (
            with_attention(attending(nn.MoChA(nn.LocationAttention(5), chunk=2))),
            "MoChA.energies are those of LocationAttention",
        ),
        (
            MODELS["MoChA, windows"].clone(
                decoder=nn.TransformerDecoder(1, 4, 2, attending(nn.Monotonic()), vocab=VOCAB)
            ),
            "TransformerDecoder may read any position",
        ),
    ],
)
def test_a_model_that_needs_whole_utterances_says_which_part_does(model, told):
    with pytest.raises(ValueError, match=f"this model can't hear a stream: .*{told}"):
        window_spec(model)


def test_chunks_are_those_that_the_encoder_can_take():
    with pytest.raises(
        ValueError,
        match="chunks of 100 ms, but those of LatencyControlledBlstm are multiples of 80 ms; the nearest is 80",
    ):
        Streamer(MODELS["MoChA, windows"], None, LETTERS, chunk_ms=100.0)
    assert Streamer(MODELS["MoChA, windows"], None, LETTERS).pacing.new_samples == 320
    assert Streamer(MODELS["monotonic, one way"], None, LETTERS).pacing.new_samples == 320
