"""Tests that a process that hangs, and one whose peer died, end within their limits and write their stacks and steps."""

import faulthandler
import re
import signal
import subprocess
import sys
import time

import pytest

from jaxasr.scale.watchdog import STUCK, Watchdog
from tests.processes import read_until
from tests.scale.multi_process import ROOT, ended, several

JOB = """
    import os, time
    from pathlib import Path
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather
    from jaxasr.scale import hosts
    from jaxasr.scale.watchdog import Watchdog
    def train_step(step):
        if "APART" not in os.environ:
            process_allgather(np.float32(step))
        time.sleep(0.05)
    with hosts.distributed(), Watchdog(Path(os.environ["FOLDER"]), limit_s=2.0, grace_s=60.0) as watchdog:
        for step in range(10_000):
            train_step(step)
            watchdog.beat(step + 1)
            if step == 5:
                print("runs", flush=True)
"""


def wait_until_they_run(processes: list[subprocess.Popen[str]]):
    for process in processes:
        read_until(process, "runs\n")


def last_step(text: str) -> int:
    return int(re.findall(r"last finished step +(\d+) at 20", text)[-1])


def test_when_one_hangs_the_others_end_and_say_where_they_were(tmp_path):
    """Stops the second process by a signal, like one that waits for a lost disk. Later it resumes, and ends as well."""
    with several(JOB, FOLDER=str(tmp_path), JAXASR_HEARTBEAT_S="30") as (first, second):
        wait_until_they_run([first, second])
        second.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        [waited] = ended([first], timeout_s=30)
        assert time.monotonic() - began < 2.0 + 20.0  # of which a busy machine may take the most
        second.send_signal(signal.SIGCONT)
        [stopped] = ended([second], timeout_s=30)
    assert waited.status == STUCK
    assert stopped.status != 0
    assert "process 0 of 2: no step for 2 s after step" in waited.err
    texts = [(tmp_path / "hosts" / f"host-{number}.txt").read_text() for number in range(2)]
    assert "in train_step\n" in texts[0]
    assert 'File "<string>", line ' in texts[1]  # the signal stopped it anywhere in a step, or between two
    assert min(last_step(text) for text in texts) >= 6
    assert abs(last_step(texts[0]) - last_step(texts[1])) <= 1
    assert f"{STUCK}; the stacks of its threads are in {tmp_path}" in waited.err


def test_when_one_dies_the_other_ends_within_the_heartbeat(tmp_path):
    """Checks a process that does not wait for the other in a collective: JAX's client aborts it."""
    with several(JOB, FOLDER=str(tmp_path), APART="1", JAXASR_HEARTBEAT_S="2") as (first, second):
        wait_until_they_run([first, second])
        second.kill()
        began = time.monotonic()
        [survivor] = ended([first], timeout_s=30)
        assert time.monotonic() - began < 2.0 + 20.0
    assert survivor.status == -signal.SIGABRT
    text = (tmp_path / "hosts" / "host-0.txt").read_text()
    assert "Fatal Python error: Aborted" in text
    assert 'File "<string>", line ' in text
    assert last_step(text) > 6


ALONE = """
import sys, time
from pathlib import Path
from jaxasr.scale.watchdog import Watchdog
with Watchdog(Path(sys.argv[1]), limit_s=0.2, grace_s=30.0) as watchdog:
    watchdog.beat(41)
    with watchdog.pause():
        time.sleep(0.5)
    print("paused", flush=True)
    with watchdog.pause(0.2):
        time.sleep(60.0)
"""


def test_a_pause_has_its_own_limit(tmp_path):
    attempt = subprocess.run(
        [sys.executable, "-c", ALONE, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (attempt.returncode, attempt.stdout) == (STUCK, "paused\n")
    assert "process 0 of 1: no step for 0.2 s after step 41" in attempt.stderr


def test_every_attempt_is_kept_and_an_error_is_written_down(tmp_path):
    was_enabled = faulthandler.is_enabled()

    def fails():
        with Watchdog(tmp_path, limit_s=60.0, grace_s=60.0) as watchdog:
            watchdog.beat(3)
            watchdog.beat(4)
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        fails()
    with Watchdog(tmp_path, limit_s=60.0, grace_s=60.0) as watchdog:
        watchdog.beat(5)
    text = watchdog.path.read_text()
    assert [int(step) for step in re.findall(r"last finished step +(\d+)", text)] == [4, 5]
    assert text.count("process 0 of 1 on ") == 2
    assert "RuntimeError: the disk is full" in text
    assert faulthandler.is_enabled() == was_enabled


def test_others_can_read_where_a_run_is_and_tell_its_attempts_apart(tmp_path):
    assert (Watchdog.last_step(tmp_path), Watchdog.size(tmp_path)) == (0, 0)
    with Watchdog(tmp_path, limit_s=60.0, grace_s=60.0) as watchdog:
        watchdog.beat(4_000_000)
    before = Watchdog.size(tmp_path)
    assert (Watchdog.last_step(tmp_path), Watchdog.last_step(tmp_path, beyond=before)) == (4_000_000, 0)
    with Watchdog(tmp_path, limit_s=60.0, grace_s=60.0) as watchdog:
        assert Watchdog.last_step(tmp_path) == 0
        watchdog.beat(7)
        assert (Watchdog.last_step(tmp_path), Watchdog.last_step(tmp_path, beyond=before)) == (7, 7)


def test_a_beat_costs_next_to_nothing(tmp_path):
    with Watchdog(tmp_path, limit_s=60.0, grace_s=60.0) as watchdog:
        began = time.process_time()
        for step in range(1_000):
            watchdog.beat(step)
        assert (time.process_time() - began) / 1_000 < 1e-3


@pytest.mark.parametrize("limits", [(0.0, 1.0), (1.0, -1.0)])
def test_limits_are_positive(tmp_path, limits):
    with pytest.raises(ValueError, match="both must be positive"):
        Watchdog(tmp_path, *limits)
