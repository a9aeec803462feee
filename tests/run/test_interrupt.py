"""A signal is a request that is noted; the handlers of before come back."""

import os
import signal

import pytest

from jaxasr.run.interrupt import Interrupted, requests_to_stop

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def test_a_signal_is_noted_and_nothing_else_happens():
    with requests_to_stop() as requests:
        assert requests.signum == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert requests.signum == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.signum == signal.SIGINT


def test_the_second_ctrl_c_is_let_through():
    with requests_to_stop() as requests:
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.signum == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_of_before_come_back_after_an_error_too():
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(RuntimeError, match="in the run"), requests_to_stop():
        raise RuntimeError("in the run")
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_it_says_what_came_what_is_saved_and_what_to_do():
    interrupted = Interrupted(signal.SIGTERM, 1_200)
    assert str(interrupted) == "SIGTERM: saved after 1,200 steps; the same command goes on from there"
    assert interrupted.signum == signal.SIGTERM
