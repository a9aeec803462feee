"""Errors after the first step: which of them another start may not meet."""

import errno

import pytest

from jaxasr.run import FaultAfterSteps, faults_after_steps
from jaxasr.scale import Watchdog

PASSING = [
    OSError(errno.ESTALE, "Stale file handle"),
    ConnectionResetError("Connection reset by peer"),
    RuntimeError("UNAVAILABLE: Gloo: connection closed by peer"),
    RuntimeError("NCCL operation ncclAllReduce failed: unhandled system error"),
]
RECURRING = [
    FileNotFoundError("no file"),
    OSError(errno.ENOSPC, "the disk is full"),
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"),
    NotImplementedError("not for this device"),
    ValueError("another experiment"),
    FloatingPointError("the loss is NaN"),
]


def start(workdir, steps, error):
    """One start of a run that ends by an error after some steps."""
    with faults_after_steps(workdir), Watchdog(workdir, 60.0, 60.0) as watchdog:
        for step in range(steps):
            watchdog.beat(step + 1)
        raise error


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_a_fault_may_pass_once_a_step_was_made(tmp_path, error):
    with pytest.raises(FaultAfterSteps, match="the last was 3: the same command resumes") as raised:
        start(tmp_path, 3, error)
    assert raised.value.__cause__ is error
    assert str(error) in str(raised.value)
    with pytest.raises(type(error)):  # the next start makes no step: the steps of the one before do not count
        start(tmp_path, 0, error)


@pytest.mark.parametrize("error", RECURRING, ids=str)
def test_what_would_recur_is_raised_as_it_is(tmp_path, error):
    with pytest.raises(type(error)) as raised:
        start(tmp_path, 3, error)
    assert raised.value is error
