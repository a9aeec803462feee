"""A signal is a request that is noted; the handlers of before come back."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from jaxasr.run import interrupt
from jaxasr.run.interrupt import (
    EVALUATION_STOP_S,
    POLL_S,
    EvaluationInterrupt,
    TrainingInterrupt,
    requests_to_stop,
    stoppable_evaluation,
)
from tests.processes import PROCESS_S, read_until
from tests.scale.multi_process import ended, several

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


def test_a_signal_is_noted_and_nothing_else_happens():
    with requests_to_stop() as requests:
        assert requests.signum == 0
        assert not requests.should_stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert requests.signum == signal.SIGTERM
        assert requests.should_stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.signum == signal.SIGINT


@pytest.mark.parametrize("signum", SIGNALS)
def test_each_of_them_asks(signum):
    with requests_to_stop() as requests:
        os.kill(os.getpid(), signum)
        assert requests.signum == signum
        assert requests.should_stop()


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
                    if requests.should_stop():
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


@pytest.fixture
def exits(monkeypatch):
    """The statuses with which the process would have ended at once, and a limit after which it does so."""
    statuses: list[int] = []
    came = threading.Event()
    monkeypatch.setattr(interrupt, "EVALUATION_STOP_S", 0.0)
    monkeypatch.setattr(interrupt.os, "_exit", lambda status: (statuses.append(status), came.set()))
    return statuses, came


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_within_a_batch_ends_the_process(exits, capfd, signum):
    statuses, came = exits
    with requests_to_stop() as requests:
        stopping = requests.stopping_evaluation(lambda signum: TrainingInterrupt(signum, 7), lambda: True)
        with stopping:
            os.kill(os.getpid(), signum)
            assert came.wait(PROCESS_S)  # the batch
    assert statuses[0] == 128 + signum
    name = signal.Signals(signum).name
    assert f"jaxasr: {name}: saved after 7 steps; the same command resumes from there" in capfd.readouterr().err


def test_the_process_does_not_end_before_the_state_is_saved(exits):
    statuses, came = exits
    saved = threading.Event()
    asked = threading.Semaphore(0)

    def is_saved() -> bool:
        asked.release()
        return saved.is_set()

    with requests_to_stop() as requests, requests.stopping_evaluation(EvaluationInterrupt, is_saved):
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.acquire(timeout=PROCESS_S)
        assert asked.acquire(timeout=PROCESS_S)
        assert statuses == []
        saved.set()
        assert came.wait(PROCESS_S)


def test_an_evaluation_that_ends_in_time_ends_nothing(exits, monkeypatch):
    monkeypatch.setattr(interrupt, "EVALUATION_STOP_S", PROCESS_S)
    with stoppable_evaluation():
        os.kill(os.getpid(), signal.SIGTERM)
    assert exits[0] == []


def test_a_signal_between_two_batches_raises_what_the_evaluation_asked_for():
    with (
        pytest.raises(EvaluationInterrupt, match="SIGTERM: the rows of finished splits are written"),
        _stopped() as check,
    ):
        check()


@contextlib.contextmanager
def _stopped():
    with stoppable_evaluation() as before_batch:
        before_batch()
        os.kill(os.getpid(), signal.SIGTERM)
        yield before_batch


EVALUATES = """
    import time
    from jaxasr.run import stoppable_evaluation
    with stoppable_evaluation():
        print("decodes", flush=True)
        time.sleep(600.0)  # a batch that takes long; a signal does not end it
"""


def test_the_limit_is_five_seconds():
    """Two orders of magnitude below the batch that the process is in, so that a busy machine changes no result."""
    assert EVALUATION_STOP_S + POLL_S < 5.0
    command = [sys.executable, "-c", textwrap.dedent(EVALUATES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        read_until(process, "decodes\n")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PROCESS_S)
    assert "jaxasr: SIGTERM: the rows of finished splits are written; the same command evaluates the others" in err
    assert process.returncode == 128 + signal.SIGTERM
