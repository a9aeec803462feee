"""The estimate of waiting: long steps, new shapes, and steps that stay long."""

from jaxasr.run.peer_wait import LEAST_STEPS, STEPS, PeerWait


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


def test_the_first_steps_and_a_process_alone_do_not_wait():
    wait = PeerWait(2)
    for seconds in (1.0,) * (LEAST_STEPS - 1) + (50.0,):
        assert wait.of_step(seconds, "short") == 0.0
    alone = PeerWait(1)
    usual(alone, 1.0)
    assert alone.of_step(50.0, "short") == alone.of_unfinished_step(50.0) == 0.0


def test_steps_that_stay_long_are_the_new_median():
    wait = PeerWait(2)
    usual(wait, 1.0)
    waited = [wait.of_step(10.0, "short") for _ in range(STEPS)]
    assert waited[0] == 9.0
    assert waited[-1] == 0.0
