"""Tests of the repetition guard: every search gets it once, and keeps the rest."""

import jax.numpy as jnp

from jaxasr.decode import Beam, CtcGreedy, Greedy, LengthReward, MaxTokens, NoRepeatNgram, Rescoring
from jaxasr.decode.guard import REPETITION_GUARD, with_repetition_guard


def test_a_beam_gets_the_guard_beside_its_scorers():
    """Checks a beam with a scorer, and that a second call changes nothing."""
    reward = LengthReward(0.3)
    guarded = with_repetition_guard(Beam(4, ctc_weight=0.3, scorers=(reward,)))
    assert guarded == Beam(4, ctc_weight=0.3, scorers=(reward, REPETITION_GUARD))
    assert with_repetition_guard(guarded) == guarded


def test_a_rule_of_the_experiment_stays():
    """Checks a beam that has a stricter rule of its own."""
    own = Beam(4, scorers=(NoRepeatNgram(4, 3),))
    assert with_repetition_guard(own) == own


def test_greedy_becomes_the_beam_of_width_one():
    """Checks that the limit of tokens stays."""
    assert with_repetition_guard(Greedy(MaxTokens(0.5, 2))) == Beam(
        1, max_tokens=MaxTokens(0.5, 2), scorers=(REPETITION_GUARD,)
    )


def test_the_first_pass_of_rescoring_is_guarded():
    """Checks that the second pass stays."""
    search = Rescoring(Beam(4, nbest=4), (LengthReward(0.3),))
    assert with_repetition_guard(search) == Rescoring(
        Beam(4, nbest=4, scorers=(REPETITION_GUARD,)), (LengthReward(0.3),)
    )


def test_a_search_without_memory_needs_none():
    """Checks CTC's best path."""
    assert with_repetition_guard(CtcGreedy()) == CtcGreedy()


def test_the_guard_lets_people_repeat_themselves_and_ends_loops():
    """Checks the letters of "zero", six times as in "one million" read by digits, and a seventh and eighth time."""
    zero = [1, 2, 3, 4, 5]
    for copies, forbidden in ((5, False), (6, False), (7, True)):
        written = [*zero * copies, *zero[:-1]]
        last_bm = REPETITION_GUARD.history(1)
        for token in written:
            last_bm = REPETITION_GUARD.read(last_bm, jnp.array([token]))
        assert REPETITION_GUARD.forbidden(last_bm, vocab=9)[0].tolist() == [forbidden and v == 5 for v in range(9)]
