"""The estimate of waiting: long steps, new shapes, and steps that stay long."""

from jaxasr.run.peer_wait import STEPS, PeerWait


def usual(wait: PeerWait, seconds: float, shape: str = "short") -> None:
    """Counts steps that are known to be usual."""
    for _ in range(STEPS):
        assert wait.of_step(seconds, shape) == 0.0


def test_the_excess_over_the_median_is_waiting():
    wait = PeerWait(2)
    usual(wait, 1.0)
    assert wait.of_step(3.9, "short") == 0.0
    assert wait.of_step(81.0, "short") == 80.0
    assert wait.of_unfinished_step(81.0) == 80.0
    assert wait.of_unfinished_step(2.0) == 0.0


def test_a_step_of_milliseconds_is_long_beyond_a_second():
    wait = PeerWait(2)
    usual(wait, 0.01)
    assert wait.of_step(0.9, "short") == 0.0
    assert wait.of_step(1.51, "short") == 1.5


def test_a_shape_is_compared_with_itself():
    wait = PeerWait(2)
    usual(wait, 1.0)
    usual(wait, 20.0, "long")


def test_the_first_steps_are_classed_when_there_are_enough_of_them():
    """The first step of a shape waits for the compilation of a slower process."""
    wait = PeerWait(2)
    for seconds in (50.0, 1.0, 30.0, 1.0):
        assert wait.of_step(seconds, "short") == 0.0
    assert wait.of_step(1.0, "short") == 49.0 + 29.0
    assert wait.of_step(1.0, "short") == 0.0
    assert wait.of_step(9.0, "short") == 8.0


def test_the_steps_of_a_rare_shape_are_compared_with_all_steps():
    wait = PeerWait(2)
    assert wait.of_step(50.0, "long") == wait.of_rare_shapes() == 0.0  # nothing to compare it with
    usual(wait, 1.0)
    assert wait.of_step(3.0, "long") == 0.0
    assert wait.of_rare_shapes() == 49.0


def test_a_process_alone_waits_for_none():
    alone = PeerWait(1)
    usual(alone, 1.0)
    assert alone.of_step(50.0, "short") == alone.of_step(50.0, "long") == 0.0
    assert alone.of_unfinished_step(50.0) == alone.of_rare_shapes() == 0.0


def test_steps_that_stay_long_are_the_new_median():
    wait = PeerWait(2)
    usual(wait, 1.0)
    waited = [wait.of_step(10.0, "short") for _ in range(STEPS)]
    assert waited[0] == 9.0
    assert waited[-1] == 0.0
