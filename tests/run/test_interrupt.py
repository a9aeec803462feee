"""A signal is a request that is noted; the handlers of before come back."""

import os
import signal

import pytest

from jaxasr.run.interrupt import TrainingInterrupt, requests_to_stop
from tests.processes import read_until
from tests.scale.multi_process import ended, several

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


def test_a_signal_is_noted_and_nothing_else_happens():
    with requests_to_stop() as requests:
        assert requests.signum == 0
        assert not requests.should_stop(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert requests.signum == signal.SIGTERM
        assert requests.should_stop(1)
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.signum == signal.SIGINT


@pytest.mark.parametrize("signum", SIGNALS)
def test_each_of_them_asks(signum):
    with requests_to_stop() as requests:
        os.kill(os.getpid(), signum)
        assert requests.signum == signum
        assert requests.should_stop(7)


def test_the_second_ctrl_c_is_let_through():
    with requests_to_stop() as requests:
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.signum == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_of_before_come_back_after_an_error_too():
    before = [signal.getsignal(signum) for signum in SIGNALS]
    with pytest.raises(RuntimeError, match="in the run"), requests_to_stop():
        raise RuntimeError("in the run")
    assert [signal.getsignal(signum) for signum in SIGNALS] == before


def test_it_says_what_came_what_is_saved_and_what_to_do():
    interrupted = TrainingInterrupt(signal.SIGTERM, 1_200)
    assert str(interrupted) == "SIGTERM: saved after 1,200 steps; the same command resumes from there"
    assert interrupted.signum == signal.SIGTERM


JOB = """
    import time
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather
    from jaxasr.run.interrupt import requests_to_stop
    from jaxasr.scale import hosts
    with hosts.distributed():
        for _ in range(2):
            with requests_to_stop() as requests:
                for step in range(1, 10_000):
                    process_allgather(np.float32(step))
                    if step == 5:
                        print("runs", flush=True)
                    if requests.should_stop(step):
                        break
                print("stops", step, requests.signum, flush=True)
"""


def test_a_signal_to_one_process_stops_all_after_the_same_step():
    """Twice: first the one, then the other. Each step has a collective, in which one would wait for ever for the other."""
    with several(JOB) as processes:
        for one, signum in zip(processes, (signal.SIGTERM, signal.SIGUSR1), strict=True):
            for process in processes:
                read_until(process, "runs\n")
            one.send_signal(signum)
        results = ended(processes)
    assert [result.status for result in results] == [0, 0], results
    stops = [[line.split() for line in result.out.splitlines() if line.startswith("stops")] for result in results]
    assert stops[0] == stops[1] != []
    assert stops[0][-1][2] == str(int(signal.SIGUSR1))
