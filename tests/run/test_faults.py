"""Errors after the first step: which of them another start may not meet."""

import errno

import pytest

from jaxasr.run import FaultAfterSteps, faults_after_steps
from jaxasr.scale import Watchdog

PASSING = [
    OSError(errno.ESTALE, "Stale file handle"),
    ConnectionResetError("Connection reset by peer"),
    RuntimeError("UNAVAILABLE: Gloo: connection closed by peer"),
    ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer"),  # as JAX raises it where a value is read
    RuntimeError("NCCL operation ncclAllReduce failed: unhandled system error"),
]
RECURRING = [
    FileNotFoundError("no file"),
    OSError(errno.ENOSPC, "the disk is full"),
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"),
    NotImplementedError("not for this device"),
    ValueError("another experiment"),
    ValueError("INVALID_ARGUMENT: shapes do not match"),
    FloatingPointError("the loss is NaN"),
]


def start(workdir, steps, error):
    """One start of a run that ends by an error after some steps."""
    with faults_after_steps(), Watchdog(workdir, 60.0, 60.0) as watchdog:
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


def test_a_file_system_that_is_lost_hides_no_step(tmp_path, monkeypatch):
    """Neither the workdir nor the file of the steps in it can be read."""
    error = OSError(errno.ESTALE, "Stale file handle")

    def stale(*_: object) -> bytes:
        raise error

    monkeypatch.setattr("pathlib.Path.read_bytes", stale)
    with pytest.raises(FaultAfterSteps, match="the last was 3"):
        start(tmp_path, 3, error)
