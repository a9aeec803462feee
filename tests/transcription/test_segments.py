"""Windows of recordings: together they are the recording, cut in its pauses, and little of it is held at any time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxasr.transcription.segments import Segment, Windows, segments

RATE_HZ = 1_000
WINDOWS = Windows(2.0, pause_s=0.1)
LONGEST = 2_000


def noise(rng: np.random.Generator, seconds: float, level: float = 3_000.0) -> np.ndarray:
    return np.clip(rng.normal(0.0, level, round(seconds * RATE_HZ)), -32_768, 32_767).astype(np.int16)


def pieces(wave_n: np.ndarray, length: int):
    return (wave_n[start : start + length] for start in range(0, len(wave_n), length))


def cut(wave_n: np.ndarray, windows: Windows = WINDOWS, block: int = 300) -> list[Segment]:
    return list(segments(pieces(wave_n, block), windows, rate_hz=RATE_HZ))


def together(found: list[Segment]) -> np.ndarray:
    return np.concatenate([each.wave_n[each.overlap :] for each in found])


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 12.0), st.integers(1, 3_000))
def test_the_windows_are_the_recording_and_none_is_too_long(seed, seconds, block):
    rng = np.random.default_rng(seed)
    wave_n = noise(rng, seconds)
    for _ in range(rng.integers(0, 6)):  # some pauses
        start = rng.integers(0, len(wave_n) + 1)
        wave_n[start : start + rng.integers(0, 400)] //= 100
    found = cut(wave_n, block=block)
    np.testing.assert_array_equal(together(found), wave_n)
    assert [each.last for each in found] == [False] * (len(found) - 1) + [True]
    end = 0
    for each in found:
        assert len(each.wave_n) <= LONGEST
        assert each.overlap in (0, LONGEST // 4)
        assert each.start + each.overlap == end
        np.testing.assert_array_equal(each.wave_n, wave_n[each.start : each.start + len(each.wave_n)])
        end = each.start + len(each.wave_n)
    assert all(len(each.wave_n) >= LONGEST // 4 for each in found) or len(found) == 1


def test_cuts_lie_in_pauses(rng):
    """Words of 0.3 to 0.8 s and pauses of 0.15 s: every window ends in one, and nothing is heard twice."""
    parts, silent, now = [], [], 0
    for _ in range(20):
        word = noise(rng, rng.uniform(0.3, 0.8))
        parts += [word, noise(rng, 0.15, level=10.0)]
        silent.append((now + len(word), now + len(word) + 150))
        now += len(word) + 150
    found = cut(np.concatenate(parts))
    assert len(found) > 5
    for each in found[1:]:
        assert each.overlap == 0
        assert any(start + 20 <= each.start <= end - 20 for start, end in silent)
        assert each.end > each.begin


def test_without_a_pause_windows_overlap(rng):
    found = cut(noise(rng, 6.0))
    assert [len(each.wave_n) for each in found[:2]] == [LONGEST, LONGEST]
    assert {each.overlap for each in found[1:]} == {LONGEST // 4}


def test_what_is_quiet_is_judged_by_what_is_loud(rng):
    """10 dB below is no pause, 30 dB below is one, however loud the recording is."""
    for level in (10_000.0, 300.0):
        for below, expected in ((10 ** (-10 / 20), LONGEST // 4), (10 ** (-30 / 20), 0)):
            dip = noise(rng, 0.2, level * below)
            found = cut(np.concatenate([noise(rng, 1.4, level), dip, noise(rng, 2.0, level)]))
            assert found[1].overlap == expected, (level, below)


def test_the_first_clear_pause_ends_a_window_else_the_longest(rng):
    def with_pauses(*pauses_s):
        parts = [part for pause_s in pauses_s for part in (noise(rng, 0.4), noise(rng, pause_s, 10.0))]
        return np.concatenate([*parts, noise(rng, 3.0)])

    longest = cut(with_pauses(0.1, 0.2, 0.12))[1]
    assert longest.start == pytest.approx(400 + 100 + 400 + 100, abs=15)
    clear = cut(with_pauses(0.1, 0.36, 0.5))[1]
    assert clear.start == pytest.approx(400 + 100 + 400 + 180, abs=15)
    early = cut(with_pauses(0.4, 0.2))[1]  # its middle lies not in the first quarter
    assert early.start == pytest.approx(400 + 200, abs=15)


def test_silence_has_nothing_to_hear_and_is_cut_at_full_length():
    found = cut(np.zeros(11_000, np.int16))
    assert all(each.begin == each.end for each in found)
    assert len(found) <= 7 * 4
    assert all(each.begin == each.end for each in cut(np.full(3_000, 5, np.int16)))
    assert all((each.begin, each.end) == (0, len(each.wave_n)) for each in cut(np.full(3_000, 50, np.int16)))


def test_digital_silence_around_speech_is_named(rng):
    still = np.zeros(600, np.int16)
    _, found = cut(np.concatenate([noise(rng, 1.0), still, noise(rng, 0.555), still[:245]]))
    assert (found.start, found.begin, found.end) == (1_300, 300, 860)
    _, to_the_end = cut(np.concatenate([noise(rng, 1.0), still, noise(rng, 0.555)]))
    assert (to_the_end.begin, to_the_end.end) == (300, 855)


def test_a_recording_of_one_window_is_left_as_it_is(rng):
    (found,) = cut(np.concatenate([np.zeros(300, np.int16), noise(rng, 0.5), np.zeros(700, np.int16)]))
    assert (found.begin, found.end) == (0, 1_500)


def test_quiet_ends_are_left_out_but_for_a_margin(rng):
    quiet, speech = noise(rng, 0.8, 30.0), noise(rng, 0.5)
    first, found = cut(np.concatenate([noise(rng, 1.0), quiet, speech, quiet]))
    assert (first.begin, first.end) == (0, 1_100)
    assert (found.start + found.begin, found.start + found.end) == (1_700, 2_400)
    weak = noise(rng, 0.1, 480.0)  # 16 dB below: it may be speech
    _, found = cut(np.concatenate([noise(rng, 1.0), quiet, weak, speech, quiet]))
    assert (found.start + found.begin, found.start + found.end) == (1_700, 2_500)


def test_no_more_is_held_than_stated(rng):
    """Between what was asked for and what was given out there are never more than one and a half windows and a block."""
    asked, most, block = 0, 0, 250

    def blocks():
        nonlocal asked
        for piece in pieces(noise(rng, 30.0), block):
            asked += len(piece)
            yield piece

    for each in segments(blocks(), WINDOWS, rate_hz=RATE_HZ):
        most = max(most, asked - each.start)
    assert LONGEST < most <= WINDOWS.held(RATE_HZ) + block


def test_a_recording_of_nothing_is_one_empty_window():
    (found,) = cut(np.zeros(0, np.int16))
    assert (len(found.wave_n), found.begin, found.end, found.last) == (0, 0, 0, True)


@pytest.mark.parametrize(("longest_s", "pause_s"), [(0.5, 0.2), (2.0, 0.0), (0.0, 0.2), (float("nan"), 0.2)])
def test_windows_that_cannot_be_cut_are_refused(longest_s, pause_s):
    with pytest.raises(ValueError, match="a window at least four pauses"):
        Windows(longest_s, pause_s)


@pytest.mark.parametrize(("seconds", "is_one"), [(1.0, True), (2.5, True), (3.5, True), (3.6, False), (5.0, False)])
def test_a_recording_up_to_a_given_length_is_one_window(rng, seconds, is_one):
    """The second half of the longest one is no recording of its own, though it is shorter."""
    wave_n = noise(rng, seconds)
    for begin in range(1_000, len(wave_n), 1_000):
        wave_n[begin : begin + 150] //= 100
    found = cut(wave_n, Windows(2.0, whole_s=3.5, pause_s=0.1))
    np.testing.assert_array_equal(together(found), wave_n)
    assert (len(found) == 1) == is_one
    assert is_one or all(len(each.wave_n) <= LONGEST for each in found)
